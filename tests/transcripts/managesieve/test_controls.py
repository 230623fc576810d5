"""Negative controls: with one function replaced, each promise is broken, so the tests of it can fail."""

from __future__ import annotations

import pytest

from mailcore.managesieve import replies
from mailcore.managesieve.connection import ManageSieveConnection
from mailcore.managesieve.session import Session
from mailcore.managesieve.wire import CommandReader, no
from tests.transcripts.managesieve.dialogue import ManageSieve


def _injection_is_not_answered(sieve: ManageSieve) -> bool:
    client = sieve.connect(offers_starttls=True)
    client.ask(b"STARTTLS\r\nCAPABILITY\r\n")
    return client.is_closed and not client.wants_tls


def test_input_behind_starttls_kept(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """N1."""
    assert _injection_is_not_answered(sieve)
    monkeypatch.setattr(CommandReader, "holds_input", property(lambda _self: False))
    assert not _injection_is_not_answered(sieve)


def _password_is_refused_in_clear(sieve: ManageSieve) -> bool:
    client = sieve.connect(local=False)
    return b'"SASL" ""' in client.greeting and client.ask(b'AUTHENTICATE "PLAIN"\r\n').startswith(b"NO")


def test_plaintext_allowed_everywhere(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """N2."""
    assert _password_is_refused_in_clear(sieve)
    monkeypatch.setattr(Session, "may_sign_in", property(lambda _self: True))
    assert not _password_is_refused_in_clear(sieve)


def _literal_takes_no_memory(sieve: ManageSieve) -> bool:
    client = sieve.connect()
    client.send(b"CHECKSCRIPT {500000+}\r\n")
    for _ in range(7):
        client.send(b"x" * 65536)
    return client.connection._reader.held_bytes < 10_000  # type: ignore[attr-defined]


def test_literals_without_limit(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """N5."""
    assert _literal_takes_no_memory(sieve)
    begin = CommandReader.__init__
    monkeypatch.setattr(CommandReader, "__init__", lambda self, line, _literal: begin(self, line, 1 << 30))
    assert not _literal_takes_no_memory(sieve)


def _silence_is_limited(sieve: ManageSieve) -> bool:
    client = sieve.connect()
    return any(deadline.total and deadline.seconds <= 60 for deadline in client.deadlines)


def test_deadline_that_each_byte_moves(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """N7."""
    assert _silence_is_limited(sieve)
    monkeypatch.setattr(ManageSieveConnection, "greeting", lambda _self: iter(()))
    assert not _silence_is_limited(sieve)


def _texts_are_fixed(sieve: ManageSieve) -> bool:
    return b"d41d8" not in sieve.sign_in().ask(b'GETSCRIPT "d41d8"\r\n')


def test_exception_text_told(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """N11."""
    assert _texts_are_fixed(sieve)
    monkeypatch.setattr(replies, "reply_to", lambda error: no(f"{error!r} d41d8"))
    assert not _texts_are_fixed(sieve)


def _state_is_kept_apart(sieve: ManageSieve) -> bool:
    return sieve.connect().ask(b"LISTSCRIPTS\r\n") == b'NO "Command is not allowed now"\r\n'


def test_command_in_any_state(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """N12: it would end in an assertion, which is an internal fault."""
    assert _state_is_kept_apart(sieve)
    monkeypatch.setattr(ManageSieveConnection, "_refusal", lambda _self, _name: None)
    assert not _state_is_kept_apart(sieve)
