"""`reject` and `ereject` (RFC 5429)."""

from __future__ import annotations

from mailcore.sieve.actions import Reject
from mailcore.sieve.call import Call, text_value
from mailcore.sieve.forms import Extension, Form, Kind, Step
from mailcore.sieve.run import Run

_REASON_CHARACTERS = 4000


def _reject(call: Call) -> Step:
    """Refuse the message; cancels the implicit keep."""
    reason, extended = call.text(0), call.form.name == "ereject"

    def reject(run: Run) -> None:
        run.implicit_keep = False
        run.do(Reject(text_value(reason, run)[:_REASON_CHARACTERS], extended))

    return reject


REJECT = Extension("reject", forms=(Form("reject", _reject, (Kind.STRING,)),))
EREJECT = Extension("ereject", forms=(Form("ereject", _reject, (Kind.STRING,)),))
