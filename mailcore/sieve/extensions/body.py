"""`body` (RFC 5173)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mailcore.sieve.call import Call, text_value
from mailcore.sieve.forms import MATCHING, Extension, Form, Kind, TagForm, Test
from mailcore.sieve.message_view import MARKUP
from mailcore.sieve.run import Run

_CONTENT_TYPE = re.compile(r"[^/]*(?:/[^/]+)?")
_DECODING = 7
"""Decoding 2 to the power of this many octets is a step."""


def _body(call: Call) -> Test:
    """The body matches; wildcards set no variables (RFC 5173 §6)."""
    match, values = call.match(0), _values(call)

    def test(run: Run) -> bool:
        if not run.message.has_body:
            return False
        kept = run.matched
        found = match(run, values(run))
        run.matched = kept
        return found

    return test


def _values(call: Call) -> Callable[[Run], Sequence[str]]:
    """The texts to look through, by the transform; `:text` if none is given (RFC 5173 §5)."""
    transform = call.tag("body-transform") or "text"
    wanted = call.tag_texts("body-transform")

    def pay(run: Run, what: object, source: int = 1) -> int:
        run.meter.pay_once(what, min(run.message.size_bytes, run.limits.body_bytes * source) >> _DECODING)
        return run.limits.body_bytes

    def raw(run: Run) -> Sequence[str]:
        return (run.message.raw_text(pay(run, transform)),)

    def content(run: Run) -> Sequence[str]:
        types = tuple(each for text in wanted if _CONTENT_TYPE.fullmatch(each := text_value(text, run).lower()))
        run.spend(len(run.message.tree.parts))
        return run.message.contents(types, pay(run, types))

    def text(run: Run) -> Sequence[str]:
        return run.message.texts(pay(run, transform, MARKUP))

    return {"raw": raw, "content": content, "text": text}[transform]


EXTENSION = Extension(
    "body",
    forms=(
        Form(
            "body",
            _body,
            (Kind.STRINGS,),
            tags=(
                TagForm("raw", group="body-transform"),
                TagForm("content", Kind.STRINGS, group="body-transform"),
                TagForm("text", group="body-transform"),
            ),
            groups=MATCHING,
            is_test=True,
        ),
    ),
)
