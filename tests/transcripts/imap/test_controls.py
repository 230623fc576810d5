"""Negative controls: with one function replaced, each attack succeeds, so the tests that refuse it can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailcore.imap import connection, running
from mailcore.imap.commands import COMMANDS
from mailcore.imap.session import ANY_STATE, Session
from mailcore.imap.wire import mailbox_name, responses, scanner
from mailcore.imap.wire.responses import ListResponse, No
from mailcore.imap.wire.scanner import Scanner
from mailcore.model import search
from mailcore.model.actions import SetDeadline
from tests.transcripts.imap.dialogue import Imap


def _large_literal_is_refused(imap: Imap) -> bool:
    return b" BAD " in imap.connect().ask(b"a LOGIN {99999999999}\r\n")


def test_literal_without_limit(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N5."""
    assert _large_literal_is_refused(imap)
    begin = Scanner.__init__
    monkeypatch.setattr(Scanner, "__init__", lambda self, _limit, append=0: begin(self, 1 << 62, append))
    assert not _large_literal_is_refused(imap)


def _deep_search_is_refused(imap: Imap) -> bool:
    client = imap.sign_in(select="INBOX")
    return client.ask(b"a SEARCH " + b"(" * 20_000 + b"\r\n").startswith(b"a BAD ")


def test_nesting_without_limit(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N6: it would end in a RecursionError, which is an internal fault."""
    assert _deep_search_is_refused(imap)
    monkeypatch.setattr(search, "MAX_DEPTH", 1 << 30)
    assert not _deep_search_is_refused(imap)


def _name_stays_in_its_line() -> bool:
    line = ListResponse(b"LIST", (), "x\r\n* BYE gone").encode(utf8=True)
    return line.startswith(b'* LIST () "/" {')


def test_names_written_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """N10."""
    assert _name_stays_in_its_line()
    monkeypatch.setattr(responses, "_QUOTABLE_UTF8", scanner.re.compile(b"(?s).*"))
    assert not _name_stays_in_its_line()


def _disguise_is_refused(imap: Imap) -> bool:
    return imap.sign_in().ask(b"a CREATE &AEE-\r\n").startswith(b"a NO [CANNOT]")


def test_names_in_any_spelling(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """W20."""
    assert _disguise_is_refused(imap)
    monkeypatch.setattr(mailbox_name, "encode_utf7", lambda name: b"&AEE-")
    assert not _disguise_is_refused(imap)


def _injection_is_not_answered(imap: Imap) -> bool:
    client = imap.connect(offers_starttls=True)
    answer = client.ask(b"a STARTTLS\r\nb NOOP\r\n")
    return client.is_closed and b"b OK" not in answer


def test_input_behind_starttls_kept(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N1."""
    assert _injection_is_not_answered(imap)
    monkeypatch.setattr(Scanner, "holds_input", property(lambda _self: False))
    assert not _injection_is_not_answered(imap)


def _password_in_clear_is_not_asked_for(imap: Imap) -> bool:
    client = imap.connect(local=False)
    return b"LOGINDISABLED" in client.greeting and b"+ " not in client.ask(b"a LOGIN {4}\r\n")


def test_password_in_clear(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N2."""
    assert _password_in_clear_is_not_asked_for(imap)
    monkeypatch.setattr(Session, "may_sign_in", property(lambda _self: True))
    assert not _password_in_clear_is_not_asked_for(imap)


def _fault_tells_nothing(imap: Imap) -> bool:
    client = imap.sign_in()
    answers = client.greeting + client.ask(b"a ID NIL\r\n") + client.ask(b'b SELECT "no-such-mailbox"\r\n')
    return not any(word in answers for word in (b"no-such-mailbox", b"MailboxNotFound", b"0.1", b"Python", b"gevent"))


def test_faults_told_as_they_are(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N11: texts are fixed; an error's own words stay in the log."""
    assert _fault_tells_nothing(imap)
    monkeypatch.setattr(running, "reply_to", lambda error: No(repr(error)))
    assert not _fault_tells_nothing(imap)


def _commands_wait_for_their_state(imap: Imap) -> bool:
    client = imap.connect()
    answers = client.ask(b"a SELECT INBOX\r\n") + client.ask(b"b FETCH 1 FLAGS\r\n") + client.ask(b"c IDLE\r\n")
    return answers.count(b" BAD ") == 3 and b"SERVERBUG" not in answers


def test_states_not_looked_at(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N12: a command before its time would find no user and no mailbox."""
    assert _commands_wait_for_their_state(imap)
    monkeypatch.setattr(connection, "refusal_of", lambda *_: None)
    assert not _commands_wait_for_their_state(imap)


def _silence_before_signing_in_ends(imap: Imap) -> bool:
    client = imap.connect()
    client.ask(b"a NOOP\r\nb CAPABILITY\r\n")
    return [deadline.total for deadline in client.deadlines] == [True]


def test_deadline_moved_by_any_command(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N7: the time to sign in counts from the greeting."""
    assert _silence_before_signing_in_ends(imap)
    monkeypatch.setattr(connection, "SetDeadline", lambda seconds, total=False: SetDeadline(seconds, total and False))
    assert not _silence_before_signing_in_ends(imap)


def _compression_waits_for_a_user(imap: Imap) -> bool:
    return b"a BAD " in imap.connect().ask(b"a COMPRESS DEFLATE\r\n")


def test_compression_for_anybody(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N8: before signing in it would compress a password, and cost a window."""
    assert _compression_waits_for_a_user(imap)
    row = COMMANDS["COMPRESS"]
    monkeypatch.setitem(COMMANDS, "COMPRESS", replace(row, states=ANY_STATE))
    assert not _compression_waits_for_a_user(imap)
