"""How many connections and how much traffic one user may have; what is refused, and that it can be had again."""

from __future__ import annotations

import pytest

from mailcore.imap.session import Session
from mailcore.services.accounts.connections import Connections, Lease, OfUser
from mailcore.services.accounts.usage import Usage
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Imap

TOO_MANY = b"a NO [LIMIT] Too many connections\r\n"
TOO_MUCH = b"NO [LIMIT] Too much for today, try again tomorrow\r\n"


def log_in(imap: Imap, number: str) -> bytes:
    client = imap.connect(number)
    return client.ask(
        f"a LOGIN {imap.user.address} {{{len(imap.user.password)}+}}\r\n{imap.user.password}\r\n".encode()
    )


def test_one_connection_too_many_is_refused_until_another_ends(imap: Imap) -> None:
    """Without Redis a process allows half of four."""
    imap.services.users.set_limit(OPERATOR, imap.user.user_id, "connections", 4)
    assert log_in(imap, "1").startswith(b"a OK")
    assert log_in(imap, "2").startswith(b"a OK")
    assert log_in(imap, "3") == TOO_MANY
    assert imap.clients["3"].ask(b"b NOOP\r\n") == b"b OK Completed\r\n", "still there, not signed in"
    assert imap.clients["3"].ask(b"c SELECT INBOX\r\n").startswith(b"c BAD")
    imap.clients["1"].close()
    assert log_in(imap, "4").startswith(b"a OK")
    assert log_in(imap, "5") == TOO_MANY
    imap.clients["2"].ask(b"d LOGOUT\r\n")
    imap.clients["2"].close()
    assert log_in(imap, "6").startswith(b"a OK")


def test_control_connections_that_are_not_counted(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connections, "open", lambda self, user_id, _limit: Lease(self, OfUser(user_id)))
    monkeypatch.setattr(Connections, "ended", lambda _self, _user_id: None)
    imap.services.users.set_limit(OPERATOR, imap.user.user_id, "connections", 1)
    for number in range(5):
        assert log_in(imap, str(number)).startswith(b"a OK")


def test_who_has_fetched_enough_for_today_may_do_all_else(imap: Imap) -> None:
    """Without Redis a process allows a fifth of what the user has."""
    imap.append(b"Subject: x\r\n\r\n" + b"x" * 3000)
    client = imap.sign_in(select="INBOX")
    imap.services.users.set_limit(OPERATOR, imap.user.user_id, "imap_download_bytes_per_day", 20_000)
    for _ in range(2):
        assert b"xxx" in client.ask(b"a UID FETCH 1:* BODY[]\r\n")
    assert client.ask(b"a UID FETCH 1:* BODY[]\r\n") == b"a " + TOO_MUCH
    assert client.ask(b"a FETCH 1 (FLAGS BINARY.PEEK[1])\r\n") == b"a " + TOO_MUCH
    assert client.ask(b"a FETCH 1 (FLAGS UID)\r\n") == b"* 1 FETCH (FLAGS (\\Seen) UID 1)\r\na OK FETCH completed\r\n"
    overview = b"a UID FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n"
    assert client.ask(overview).endswith(b"a OK FETCH completed\r\n")
    assert client.ask(b"a STORE 1 +FLAGS (\\Flagged)\r\n").endswith(b"a OK STORE completed\r\n")
    assert client.ask(b"a APPEND INBOX {3+}\r\nx\r\n\r\n").startswith(b"* 2 EXISTS\r\na OK")


def test_who_has_sent_enough_for_today_is_refused_before_the_literal(imap: Imap) -> None:
    client = imap.sign_in(select="INBOX")
    imap.services.users.set_limit(OPERATOR, imap.user.user_id, "imap_upload_bytes_per_day", 20_000)
    assert b"a OK" in client.ask(b"a APPEND INBOX {3000+}\r\n" + b"x" * 3000 + b"\r\n")
    assert b"a OK" in client.ask(b"a APPEND INBOX {500+}\r\n" + b"x" * 500 + b"\r\n")
    client.ask(b'a ID ("x" "' + b"y" * 800 + b'")\r\n')
    assert client.ask(b"a APPEND INBOX {3000}\r\n") == b"a " + TOO_MUCH
    assert client.ask(b"a FETCH 1 FLAGS\r\n").endswith(b"a OK FETCH completed\r\n")


def test_control_traffic_that_is_not_noted(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "note_traffic", lambda *_: None)
    imap.append(b"Subject: x\r\n\r\n" + b"x" * 3000)
    client = imap.sign_in(select="INBOX")
    imap.services.users.set_limit(OPERATOR, imap.user.user_id, "imap_download_bytes_per_day", 1)
    for _ in range(3):
        assert b"xxx" in client.ask(b"a UID FETCH 1:* BODY[]\r\n")


def test_traffic_costs_no_round_trip(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is added up in the process and told every few seconds."""
    monkeypatch.setattr(Usage, "flush", lambda _self: pytest.fail("flushed by a command"))
    imap.append(b"Subject: x\r\n\r\nx")
    client = imap.sign_in(select="INBOX")
    assert b"a OK" in client.ask(b"a UID FETCH 1:* BODY[]\r\n")
    monkeypatch.undo()
