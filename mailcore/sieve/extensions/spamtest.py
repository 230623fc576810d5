"""`spamtest`: what the spam filter found, on a scale that all servers share (RFC 5235)."""

from __future__ import annotations

from collections.abc import Sequence

from mailcore.sieve.call import Call
from mailcore.sieve.environment import Environment
from mailcore.sieve.forms import MATCHING, Extension, Form, Kind, TagForm, Test
from mailcore.sieve.run import Run

_CERTAIN = 2.0
"""So many times the limit of what is called spam is spam beyond doubt."""


def _spamtest(call: Call) -> Test:
    """The normalized result matches; without a verdict it is "0" and counts for nothing (RFC 5235 §3.2)."""
    match = call.match(0)
    counts, in_percent = call.tag("match-type") == "count", call.has("percent")

    def values(run: Run) -> Sequence[str]:
        percent = _percent(run.environment)
        if percent is None:
            return () if counts else ("0",)
        return (str(percent) if in_percent else str(1 + percent * 9 // 100),)

    return lambda run: match(run, values(run))


def _percent(environment: Environment) -> int | None:
    """How sure it is that this is spam, 0 to 100: half where it begins to be called so."""
    if environment.spam_score is None:
        return None
    limit = max(environment.spam_limit, 0.1)
    return int(100 * min(max(environment.spam_score / (limit * _CERTAIN), 0.0), 1.0))


_FORM = Form("spamtest", _spamtest, (Kind.STRING,), groups=MATCHING, is_test=True)

SPAMTEST = Extension("spamtest", forms=(_FORM,))
SPAMTESTPLUS = Extension("spamtestplus", forms=(_FORM,), tags={"spamtest": (TagForm("percent"),)})
