"""Which messages nothing may answer by itself (RFC 3834 §2, RFC 5230 §4.6), and whom a message names as recipients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mailcore.message.addresses import parse_addresses
from mailcore.message.headers import find_all, first_values, names_pattern

_LOOKED_AT: Final = names_pattern((b"auto-submitted", b"precedence", b"x-auto-response-suppress", b"content-type"))
_LIST_FIELD: Final = re.compile(rb"\n(?:list-[a-z-]++|mailing-list|x-mailing-list|x-loop)[ \t]*:")
_BULK: Final = frozenset({b"bulk", b"list", b"junk"})
_SUPPRESSED: Final = re.compile(rb"\b(?:all|oof|autoreply)\b")
_RECIPIENT_FIELDS: Final = (b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc")
_MACHINE: Final = re.compile(
    r"(?:mailer-daemon|postmaster|listserv|majordomo|bounces?|no-?reply|do-?not-?reply)(?:[+=._-].*)?"
    r"|owner-.*|.*-(?:owner|request|bounces?|no-?reply)(?:[+=].*)?|prvs=mailer-daemon.*",
    re.IGNORECASE | re.DOTALL,
)
"""Local parts behind which nobody reads answers: RFC 5230 §4.6 names most of them."""


def is_machine(reverse_path: str) -> bool:
    """Whether nobody reads what is sent to a reverse-path: it is null, a list's, or a program's."""
    return not reverse_path or _MACHINE.fullmatch(reverse_path.rpartition("@")[0]) is not None


def forbids_answers(header: bytes) -> str | None:
    """Return why a message must not be answered automatically: the name of the field that says so, or None."""
    values = first_values(header, _LOOKED_AT)
    submitted = values.get(b"auto-submitted")
    if submitted is not None and submitted.partition(b";")[0].strip().lower() != b"no":
        return "Auto-Submitted"
    if values.get(b"precedence", b"").lower() in _BULK:
        return "Precedence"
    if _SUPPRESSED.search(values.get(b"x-auto-response-suppress", b"").lower()):
        return "X-Auto-Response-Suppress"
    if values.get(b"content-type", b"").lower().startswith(b"multipart/report"):
        return "Content-Type"
    if _LIST_FIELD.search(b"\n" + header.lower()):
        return "List-Id"
    return None


def named_recipients(header: bytes) -> Iterator[str]:
    """The addresses that To, Cc, Bcc and their Resent- kin name, as written."""
    for name in _RECIPIENT_FIELDS:
        for value in find_all(header, name):
            for each in parse_addresses(value):
                yield each.address
