"""`envelope`: addresses of the SMTP transaction (RFC 5228 §5.4)."""

from __future__ import annotations

from collections.abc import Sequence

from mailcore.sieve.call import Call, text_value
from mailcore.sieve.forms import ADDRESSES, Extension, Form, Kind, Test
from mailcore.sieve.run import Run

_PARTS = ("from", "to")


def _envelope(call: Call) -> Test:
    """The reverse-path ("from") or the forward-path ("to") matches.

    The null reverse-path is an empty text, and counts for nothing (RFC 5231 §4.2).
    """
    names, match, take = call.texts(0), call.match(1), call.address_part()
    counts = call.tag("match-type") == "count"
    for name in names:
        if isinstance(name, str) and name.lower() not in _PARTS:
            raise call.flaw(f'"envelope" knows "from" and "to", not "{name[:100]}".')

    def values(run: Run) -> Sequence[str]:
        found: list[str] = []
        for name in names:
            part = text_value(name, run).lower()
            if part in _PARTS:
                path = run.transaction.reverse_path if part == "from" else run.transaction.forward_path
                taken = path if take is None or not path else take(path)
                if taken is not None and (taken or not counts):
                    found.append(taken)
        return found

    return lambda run: match(run, values(run))


EXTENSION = Extension(
    "envelope",
    forms=(Form("envelope", _envelope, (Kind.STRINGS, Kind.STRINGS), groups=ADDRESSES, is_test=True),),
)
