"""Every error has its reply, and no reply shows what an exception says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailcore import errors
from mailcore.errors import MailError
from mailcore.pop3.replies import REPLIES, reply_to


def _kinds(kind: type[MailError]) -> Iterator[type[MailError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _kinds(child)


@pytest.mark.parametrize("kind", list(_kinds(MailError)), ids=lambda kind: kind.__name__)
def test_every_error_has_a_row(kind: type[MailError]) -> None:
    assert kind in REPLIES
    if kind is errors.SyntaxFault:
        return  # the grammar's own texts
    line = reply_to(kind("secret detail")).encode()
    assert b"secret" not in line
    assert line.startswith(b"-ERR ")
    assert line.count(b"\r\n") == 1


@pytest.mark.parametrize("kind", [errors.Unavailable, *_kinds(errors.Unavailable)], ids=lambda kind: kind.__name__)
def test_temporary_trouble_says_so(kind: type[MailError]) -> None:
    """P12: -ERR [SYS/TEMP] (RFC 3206)."""
    assert reply_to(kind()).code == "SYS/TEMP"


def test_temporary_trouble_that_says_nothing_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of P12."""
    monkeypatch.setitem(REPLIES, errors.StoreUnavailable, REPLIES[errors.AuthenticationFailed])
    with pytest.raises(AssertionError):
        test_temporary_trouble_says_so(errors.StoreUnavailable)


@pytest.mark.parametrize("kind", [errors.AuthenticationFailed, errors.UserDisabled])
def test_trouble_with_credentials_says_so(kind: type[MailError]) -> None:
    assert reply_to(kind()).code == "AUTH"


def test_an_unknown_leaf_is_answered_as_its_category() -> None:
    class Later(errors.Unavailable):
        pass

    assert reply_to(Later()).code == "SYS/TEMP"
