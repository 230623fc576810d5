"""`duplicate`: whether the same came before (RFC 7352)."""

from __future__ import annotations

import hashlib

from mailcore.sieve.actions import MarkDuplicate
from mailcore.sieve.call import Call, field_name, text_value
from mailcore.sieve.forms import Extension, Form, Kind, TagForm, Test
from mailcore.sieve.run import Run, Text

_DEFAULT_S = 7 * 86400
_MOST_S = 90 * 86400
_MESSAGE_ID = b"message-id"


def _duplicate(call: Call) -> Test:
    """Whether the id is remembered; it is from then on, if the script ends well (RFC 7352 §3)."""
    header, unique_id = call.tag_text("header"), call.tag_text("uniqueid")
    if header is not None and unique_id is not None:
        raise call.flaw('":header" and ":uniqueid" exclude each other: keep one.')
    handle = call.tag_text("handle") or ""
    given = call.tag_number("seconds")
    seconds = min(_DEFAULT_S if given is None else given, _MOST_S)
    extends = call.has("last")

    def duplicate(run: Run) -> bool:
        value = _unique(run, header, unique_id)
        if value is None or seconds == 0:
            return False
        told = f"{text_value(handle, run)}\0{value}".encode("utf-8", "replace")
        mark = MarkDuplicate(hashlib.sha256(told).digest()[:16], seconds)
        seen = run.duplicates.get(mark.id)
        if seen is None:
            seen = run.duplicates[mark.id] = run.look_up().is_duplicate(mark.id)
        if not seen or extends:
            run.do(mark)
        return seen

    return duplicate


def _unique(run: Run, header: Text | None, unique_id: Text | None) -> str | None:
    """What the message is known by; None if it has no such field."""
    if unique_id is not None:
        return text_value(unique_id, run)
    name = _MESSAGE_ID if header is None else field_name(text_value(header, run))
    texts = run.headers.texts(name) if name is not None else ()
    return texts[0] if texts else None


EXTENSION = Extension(
    "duplicate",
    forms=(
        Form(
            "duplicate",
            _duplicate,
            tags=(
                TagForm("handle", Kind.STRING),
                TagForm("header", Kind.STRING),
                TagForm("uniqueid", Kind.STRING),
                TagForm("seconds", Kind.NUMBER),
                TagForm("last"),
            ),
            is_test=True,
        ),
    ),
)
