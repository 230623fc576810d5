"""Every error has its reply, and no reply shows what an exception says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailcore import errors
from mailcore.errors import MailError
from mailcore.managesieve.replies import REPLIES, UNEXPECTED, reply_to


def _kinds(kind: type[MailError]) -> Iterator[type[MailError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _kinds(child)


OWN_WORDS = {errors.SyntaxFault, errors.ValueInvalid, errors.ScriptInvalid}
"""What says itself what is wrong with the client's input."""


@pytest.mark.parametrize("kind", list(_kinds(MailError)), ids=lambda kind: kind.__name__)
def test_every_error_has_a_reply(kind: type[MailError]) -> None:
    reply = reply_to(kind("secret detail"))
    assert reply is not UNEXPECTED
    line = reply.encode()
    assert line.startswith(b"NO ")
    assert line.count(b"\r\n") == 1
    assert (b"secret" in line) == (kind in OWN_WORDS)


@pytest.mark.parametrize("kind", [errors.Unavailable, *_kinds(errors.Unavailable)], ids=lambda kind: kind.__name__)
def test_temporary_trouble_says_so(kind: type[MailError]) -> None:
    """P12: NO (TRYLATER) (RFC 5804 §1.3)."""
    assert reply_to(kind()).code == "TRYLATER"


def test_temporary_trouble_that_says_nothing_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of P12."""
    monkeypatch.setitem(REPLIES, errors.StoreUnavailable, REPLIES[errors.AuthenticationFailed])
    with pytest.raises(AssertionError):
        test_temporary_trouble_says_so(errors.StoreUnavailable)
