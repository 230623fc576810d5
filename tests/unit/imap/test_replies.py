"""Every error has its answer, and no answer shows what an exception says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailcore import errors
from mailcore.errors import MailError
from mailcore.imap.replies import REPLIES, reply_to
from mailcore.imap.wire.responses import No


def _leaves(kind: type[MailError]) -> Iterator[type[MailError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _leaves(child)


@pytest.mark.parametrize("kind", list(_leaves(MailError)), ids=lambda kind: kind.__name__)
def test_every_error_has_a_row(kind: type[MailError]) -> None:
    assert kind in REPLIES
    line = reply_to(kind("secret detail")).encode("a")
    assert b"secret" not in line
    assert line.startswith((b"a NO ", b"a BAD "))


@pytest.mark.parametrize("kind", [errors.Unavailable, *_leaves(errors.Unavailable)], ids=lambda kind: kind.__name__)
def test_temporary_trouble_says_so(kind: type[MailError]) -> None:
    """P12: NO [UNAVAILABLE] (RFC 5530)."""
    completion = reply_to(kind())
    assert isinstance(completion, No)
    assert completion.code == b"UNAVAILABLE"


def test_temporary_trouble_that_says_nothing_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of P12."""
    monkeypatch.setitem(REPLIES, errors.StoreUnavailable, REPLIES[errors.MailboxNotFound])
    with pytest.raises(AssertionError):
        test_temporary_trouble_says_so(errors.StoreUnavailable)


def test_an_unknown_leaf_is_answered_as_its_category() -> None:
    class Later(errors.Unavailable):
        pass

    assert reply_to(Later()).code == b"UNAVAILABLE"
