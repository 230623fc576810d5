"""Negative controls: with one function replaced, each promise is broken, so the tests of it can fail."""

from __future__ import annotations

import pytest

from mailcore.pop3 import commands, replies, wire
from mailcore.pop3.connection import Pop3Connection
from mailcore.pop3.maildrop import Maildrop
from mailcore.pop3.session import Session
from mailcore.pop3.wire import LineReader, Reply
from tests.transcripts.pop3.dialogue import Pop3
from tests.transcripts.pop3.test_maildrop import exists, raw

DOTS = b"A: b\r\n\r\n...\r\n..\r\nend\r\n"


def _injection_is_not_answered(pop3: Pop3) -> bool:
    client = pop3.connect(offers_stls=True)
    client.ask(b"STLS\r\nCAPA\r\n")
    return client.is_closed and not client.wants_tls


def test_input_behind_stls_kept(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N1."""
    assert _injection_is_not_answered(pop3)
    monkeypatch.setattr(LineReader, "holds_input", property(lambda _self: False))
    assert not _injection_is_not_answered(pop3)


def _forgets_user_at_stls(pop3: Pop3) -> bool:
    client = pop3.connect(offers_stls=True)
    client.ask(f"USER {pop3.user.address}\r\n".encode())
    client.ask(b"STLS\r\n")
    client.start_tls()
    return client.ask(f"PASS {pop3.user.password}\r\n".encode()).startswith(b"-ERR")


def test_state_from_before_tls_kept(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N1."""
    assert _forgets_user_at_stls(pop3)
    monkeypatch.setattr(Session, "forget", lambda _self: None)
    assert not _forgets_user_at_stls(pop3)


def _password_is_refused_in_clear(pop3: Pop3) -> bool:
    client = pop3.connect(local=False)
    return client.ask(b"USER x\r\n").startswith(b"-ERR") and b"SASL" not in client.ask(b"CAPA\r\n")


def test_plaintext_allowed_everywhere(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N2."""
    assert _password_is_refused_in_clear(pop3)
    monkeypatch.setattr(Session, "may_sign_in", property(lambda _self: True))
    assert not _password_is_refused_in_clear(pop3)


def _long_line_takes_no_memory(pop3: Pop3) -> bool:
    client = pop3.connect()
    for _ in range(100):
        client.ask(b"x" * 65536)
    held = len(client.connection._reader._buffer)  # type: ignore[attr-defined]
    return held < 100_000 and client.ask(b"\r\n") == b"-ERR Line is too long\r\n"


def test_lines_without_limit(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N5: of a command line, and of a response to AUTH."""
    assert _long_line_takes_no_memory(pop3)
    begin = LineReader.__init__
    monkeypatch.setattr(LineReader, "__init__", lambda self, _limit: begin(self, 1 << 40))
    assert not _long_line_takes_no_memory(pop3)


def _silence_is_limited(pop3: Pop3) -> bool:
    client = pop3.connect()
    return any(deadline.total and deadline.seconds <= 60 for deadline in client.deadlines)


def test_deadline_that_each_byte_moves(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N7."""
    assert _silence_is_limited(pop3)
    monkeypatch.setattr(Pop3Connection, "greeting", lambda _self: iter(()))
    assert not _silence_is_limited(pop3)


def _texts_are_fixed(pop3: Pop3) -> bool:
    return b"d41d8" not in pop3.sign_in().ask(b"RETR 5\r\n")


def test_exception_text_told(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N11."""
    assert _texts_are_fixed(pop3)
    monkeypatch.setattr(replies, "reply_to", lambda error: Reply(False, f"{error!r} d41d8"))
    assert not _texts_are_fixed(pop3)


def _state_is_kept_apart(pop3: Pop3) -> bool:
    pop3.fill(1)
    client = pop3.connect()
    return client.ask(b"RETR 1\r\n") == b"-ERR Command is not allowed now\r\n"


def test_command_in_any_state(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N12: it would end in an assertion, which is an internal fault."""
    assert _state_is_kept_apart(pop3)
    monkeypatch.setattr(Pop3Connection, "_refusal", lambda _self, _name: None)
    assert not _state_is_kept_apart(pop3)


def _drop_deletes_nothing(pop3: Pop3) -> bool:
    before = exists(pop3)
    client = pop3.sign_in()
    client.run("DELE 1")
    client.close()
    return exists(pop3) == before


def test_deletion_without_quit(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N13."""
    pop3.fill(2)
    assert _drop_deletes_nothing(pop3)
    mark = Maildrop.mark

    def at_once(self: Maildrop, number: int) -> None:
        mark(self, number)
        self.expunge_marked(pop3.clients[""].connection.session.actor)

    monkeypatch.setattr(Maildrop, "mark", at_once)
    assert not _drop_deletes_nothing(pop3)


def _ids_are_not_given_again(pop3: Pop3) -> bool:
    pop3.append(raw(1))
    client = pop3.sign_in()
    (before,) = client.lines("UIDL")
    client.run("DELE 1")
    client.run("QUIT")
    pop3.append(raw(1))
    client = pop3.sign_in()
    (after,) = client.lines("UIDL")
    client.run("DELE 1")
    client.run("QUIT")
    return before != after


def test_unique_id_made_of_the_content(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """N13: what RFC 1939 §7 allows, and few clients can work with."""
    assert _ids_are_not_given_again(pop3)
    monkeypatch.setattr(Maildrop, "unique_ids", lambda self: iter([b"1 %d\r\n" % self.size_of(1)]))
    assert not _ids_are_not_given_again(pop3)


def _end_cannot_be_smuggled(pop3: Pop3) -> bool:
    answer = pop3.sign_in().ask(b"RETR 1\r\n")
    return b"\n.\n" not in answer


def test_dot_behind_a_bare_line_feed_sent_as_it_is(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    pop3.append(b"A: b\n\n.\n-ERR forged\r\n")
    assert _end_cannot_be_smuggled(pop3)
    assert commands.wire is wire
    monkeypatch.setattr(wire, "stuffed", lambda pieces: (piece.replace(b"\r\n.", b"\r\n..") for piece in pieces))
    assert not _end_cannot_be_smuggled(pop3)


def _octets_come_out_as_they_went_in(pop3: Pop3) -> bool:
    return pop3.sign_in().retrieve(1) == DOTS


def test_dots_sent_as_they_are(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2."""
    pop3.append(DOTS)
    assert _octets_come_out_as_they_went_in(pop3)
    monkeypatch.setattr(wire, "stuffed", iter)
    assert not _octets_come_out_as_they_went_in(pop3)
