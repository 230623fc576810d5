"""`vacation` (RFC 5230) and `:seconds` (RFC 6131): an answer that nobody is there."""

from __future__ import annotations

import hashlib

from mailcore.message.addresses import parse_addresses
from mailcore.message.encoded_words import clean
from mailcore.message.headers import header_size, iter_fields
from mailcore.sieve.actions import Vacation
from mailcore.sieve.call import Call, prepared, text_value
from mailcore.sieve.core.actions import check_address
from mailcore.sieve.forms import Extension, Form, Kind, Step, TagForm
from mailcore.sieve.run import Run, Text

_DAY_S = 86400
_DEFAULT_DAYS = 7
_SUBJECT_CHARACTERS = 500
_ADDRESSES = 100


def _vacation(call: Call) -> Step:
    """Answer; the implicit keep stays. Whether this sender is to be answered is for whoever acts on it to find."""
    written, subject, given_handle = call.text(0), call.tag_text("subject"), call.tag_text("handle")
    sender = prepared(call, call.tag_texts("from"), _check_sender)
    addresses = call.tag_texts("addresses")[:_ADDRESSES]
    seconds, mime = _seconds(call), call.has("mime")
    reason = prepared(call, (written,), _check_entity if mime else str)
    own_handle = digest(*map(_unexpanded, (written, subject, call.tag_text("from"))), str(mime))

    def vacation(run: Run) -> None:
        told = text_value(given_handle, run) if given_handle is not None else None
        run.do(
            Vacation(
                reason=reason(run)[0],
                seconds=seconds,
                handle=own_handle if told is None else digest("handle", told),
                subject=clean(text_value(subject, run))[:_SUBJECT_CHARACTERS] if subject is not None else None,
                sender=next(iter(sender(run)), None),
                addresses=tuple(text_value(address, run) for address in addresses),
                mime=mime,
            )
        )

    return vacation


def _unexpanded(text: Text | None) -> str | None:
    """What tells this argument from others whatever its variables are in a run (RFC 5230 §4.2)."""
    return text if text is None or isinstance(text, str) else repr(text)


def _seconds(call: Call) -> int:
    """The period within the limits; a day at least if it is said in days (RFC 5230 §4.1)."""
    given = call.tag_number("period")
    if call.tag("period") == "seconds" and given is not None:
        return min(max(given, call.limits.vacation_least_s), call.limits.vacation_most_s)
    days = _DEFAULT_DAYS if given is None else max(given, 1)
    return min(days * _DAY_S, call.limits.vacation_most_s)


def digest(*texts: str | None) -> str:
    """What tells answers apart, of one length whatever they are (RFC 5230 §4.2)."""
    joined = "\0".join("" if text is None else f"={text}" for text in texts)
    return hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()[:32]


def _check_entity(text: str) -> str:
    """A MIME entity: what stands in front of its first blank line are fields of its content (RFC 5230 §4.4, §5).

    Raises:
        ValueError: it has other fields, or letters beyond ASCII in them.
    """
    header = text.encode("utf-8", "replace")
    header = header[: header_size(header)]
    if not header.isascii() or not all(field.name.startswith(b"content-") for field in iter_fields(header)):
        raise ValueError('With ":mime" the text begins with fields such as "Content-Type", in ASCII, and a blank line.')
    return text


def _check_sender(text: str) -> str:
    """One address, with a name or without.

    Raises:
        ValueError: it is something else.
    """
    found = parse_addresses(clean(text).encode("utf-8", "replace"))
    if len(found) != 1:
        raise ValueError(f'":from" takes one address, not "{text[:100]}".')
    check_address(found[0].address)
    return clean(text)


VACATION = Extension(
    "vacation",
    forms=(
        Form(
            "vacation",
            _vacation,
            (Kind.STRING,),
            tags=(
                TagForm("days", Kind.NUMBER, group="period"),
                TagForm("subject", Kind.STRING),
                TagForm("from", Kind.STRING),
                TagForm("addresses", Kind.STRINGS),
                TagForm("mime"),
                TagForm("handle", Kind.STRING),
            ),
        ),
    ),
)
VACATION_SECONDS = Extension(
    "vacation-seconds",
    tags={"vacation": (TagForm("seconds", Kind.NUMBER, group="period"),)},
    implies=("vacation",),
)
