"""ENVELOPE as IMAP bytes (RFC 9051 §7.5.2), and what else is read from a message's header."""

from __future__ import annotations

import re

from mailcore.message.addresses import HeaderAddress, ListedAddress, list_addresses, parse_addresses
from mailcore.message.dates import header_date, header_day
from mailcore.message.encoded_words import MAX_VALUE_BYTES, decode_header
from mailcore.message.headers import find_first, first_values, names_pattern
from mailcore.message.imap_string import imap_nstring, imap_string

__all__ = [
    "HeaderAddress",
    "decode_header",
    "header_date",
    "header_day",
    "message_ids",
    "parse_addresses",
    "serialize_envelope",
]

SENDER_LIST_BYTES = 16 * 1024
RECIPIENT_LIST_BYTES = 64 * 1024
"""Address lists end where they would grow beyond these; a thousand recipients fit."""

_NAMES = (b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"in-reply-to", b"message-id")
_PATTERN = names_pattern(_NAMES)
_SAFE = re.compile(rb"[ !#-\[\]-~]{0,1000}+")
_MESSAGE_ID = re.compile(rb"<[^<>]{1,995}>")


def serialize_envelope(raw_header: bytes) -> bytes:
    """The envelope of a header, in parentheses; valid for any header (rule `envelope`).

    Encoded words stay as they are. Sender and Reply-To default to From. A field that is there several times
    counts once, the first time. NUL is left out; long values and lists are cut.
    """
    values = first_values(raw_header, _PATTERN)
    get = values.get
    sender = _serialize_list(get(b"from"), SENDER_LIST_BYTES)
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        imap_nstring(get(b"date")),
        imap_nstring(get(b"subject")),
        sender,
        _serialize_list(get(b"sender"), SENDER_LIST_BYTES, sender),
        _serialize_list(get(b"reply-to"), SENDER_LIST_BYTES, sender),
        _serialize_list(get(b"to"), RECIPIENT_LIST_BYTES),
        _serialize_list(get(b"cc"), RECIPIENT_LIST_BYTES),
        _serialize_list(get(b"bcc"), RECIPIENT_LIST_BYTES),
        imap_nstring(get(b"in-reply-to")),
        imap_nstring(get(b"message-id")),
    )


def message_ids(raw_header: bytes, name: bytes) -> list[bytes]:
    """The message identifiers `<...>` of a Message-ID, In-Reply-To or References field, in order, without repeats."""
    value = find_first(raw_header, name)
    if not value:
        return []
    return list(dict.fromkeys(b"".join(found.split()) for found in _MESSAGE_ID.findall(value[:MAX_VALUE_BYTES])))


def _serialize_list(value: bytes | None, limit: int, default: bytes = b"NIL") -> bytes:
    """Rule `env-from` and its like; no more than `limit` bytes and the end of a group."""
    if not value:
        return default
    size = 0
    items: list[bytes] = []
    in_group = False
    for address in list_addresses(value):
        item = _serialize_address(address)
        size += len(item)
        if size > limit:
            if in_group:
                items.append(b"(NIL NIL NIL NIL)")
            break
        if address.domain is None:
            in_group = address.local is not None
        items.append(item)
    return b"(" + b"".join(items) + b")" if items else default


def _serialize_address(address: ListedAddress) -> bytes:
    """Rule `address`."""
    name, route, local, domain = address
    if route is None and local is not None and domain is not None and _SAFE.fullmatch(local + domain):
        if name is None:
            return b'(NIL NIL "' + local + b'" "' + domain + b'")'
        if _SAFE.fullmatch(name):
            return b'("' + name + b'" NIL "' + local + b'" "' + domain + b'")'
    return b"(%b %b %b %b)" % (
        imap_nstring(name or None),
        imap_nstring(route),
        imap_nstring(local),
        b"NIL" if domain is None else imap_string(domain),
    )
