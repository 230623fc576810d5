"""The actions of RFC 5228 §4 that need no `require`."""

from __future__ import annotations

import re

from mailcore.errors import DomainInvalid
from mailcore.model.address import domain_name
from mailcore.sieve.actions import Discard, Keep, Redirect
from mailcore.sieve.call import Call, prepared
from mailcore.sieve.forms import Form, Kind, Step
from mailcore.sieve.run import Run


def _keep(call: Call) -> Step:
    """Put it where it would go anyway (RFC 5228 §4.3)."""
    change = call.change()

    def keep(run: Run) -> None:
        action = Keep(flags=run.current_flags(), header=run.edited)
        run.implicit_keep = False
        run.do(action if change is None else change(run, action))

    return keep


def _discard(_: Call) -> Step:
    """Drop it, unless another action keeps it (RFC 5228 §4.4)."""

    def discard(run: Run) -> None:
        run.implicit_keep = False
        run.do(Discard())

    return discard


def _redirect(call: Call) -> Step:
    """Send it on (RFC 5228 §4.2); cancels the implicit keep, but for `:copy`."""
    address = prepared(call, (call.text(0),), check_address)
    change = call.change()

    def redirect(run: Run) -> None:
        action = Redirect(address=address(run)[0], header=run.edited)
        changed = action if change is None else change(run, action)
        assert isinstance(changed, Redirect)
        run.implicit_keep &= changed.copy
        run.do(changed)

    return redirect


def check_address(text: str) -> str:
    """An address that mail can be sent to.

    Raises:
        ValueError: it is none, with a sentence about it.
    """
    local, _, domain = text.rpartition("@")
    if not _LOCAL_PART.fullmatch(local) or not _is_domain(domain):
        raise ValueError(f'"{text[:100]}" is not an address that mail can be sent to.')
    return text


def _is_domain(text: str) -> bool:
    try:
        domain_name(text, allow_root=False)
    except DomainInvalid:
        return False
    return True


_LOCAL_PART = re.compile(r'[^\x00-\x20\x7f-\x9f<>()\[\],;:\\"@\ud800-\udfff]{1,64}')
"""Looser than what we host: others have addresses with dots wherever they like."""

FORMS = (
    Form("keep", _keep),
    Form("discard", _discard),
    Form("redirect", _redirect, (Kind.STRING,)),
)
