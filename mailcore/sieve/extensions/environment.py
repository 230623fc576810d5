"""`environment`: what is known of the server and of how the message came (RFC 5183)."""

from __future__ import annotations

from collections.abc import Sequence

from mailcore.sieve.call import Call, text_value
from mailcore.sieve.forms import MATCHING, Extension, Form, Kind, Test
from mailcore.sieve.run import Run

_ALWAYS = {"location": "MDA", "phase": "during", "name": "Eider"}


def _environment(call: Call) -> Test:
    """The item matches; one that is not known matches nothing, and an empty one counts for nothing (RFC 5183 §4)."""
    name, match = call.text(0), call.match(1)
    counts = call.tag("match-type") == "count"

    def values(run: Run) -> Sequence[str]:
        wanted = text_value(name, run).lower()
        value = run.environment.items.get(wanted, _ALWAYS.get(wanted))
        return () if value is None or (counts and not value) else (value,)

    return lambda run: match(run, values(run))


EXTENSION = Extension(
    "environment",
    forms=(Form("environment", _environment, (Kind.STRING, Kind.STRINGS), groups=MATCHING, is_test=True),),
)
