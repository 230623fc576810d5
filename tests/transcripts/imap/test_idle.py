"""IDLE (RFC 2177)."""

from __future__ import annotations

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.services.mailboxes import notices as notices_module
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.wiring import connect
from mailcore.store.mailbox.heads import Heads
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Imap

MESSAGE = NewMessage(b"Subject: new\r\n\r\n")


def test_changes_are_told_as_they_happen(imap: Imap) -> None:
    imap.select_in_two_sessions("INBOX", 3, {2})
    imap.transcript(r"""
        C1: a IDLE
        S1: + idling
        C2: b EXPUNGE
        S2: * 2 EXPUNGE
        S2: b OK EXPUNGE completed
        S1: * 2 EXPUNGE
        C2: c STORE 1 +FLAGS ($Work)
        S2: * 1 FETCH (FLAGS ($Work))
        S2: * FLAGS …
        S2: * OK [PERMANENTFLAGS …
        S2: c OK STORE completed
        S1: * FLAGS (… $Work)
        S1: * OK [PERMANENTFLAGS …
        S1: * 1 FETCH (UID 1 FLAGS ($Work))
        C1: DONE
        S1: a OK IDLE completed
        C2: d STORE 1 -FLAGS ($Work)
        S2: * 1 FETCH (FLAGS ())
        S2: d OK STORE completed
        C1: e NOOP
        S1: * 1 FETCH (UID 1 FLAGS ())
        S1: e OK Completed
        """)


def test_what_happened_before_idle_is_told_at_once(imap: Imap) -> None:
    imap.select_in_two_sessions("INBOX", 1)
    imap.append(b"Subject: new\r\n\r\n")
    imap.transcript("""
        C1: a IDLE
        S1: + idling
        S1: * 2 EXISTS
        C1: done
        S1: a OK IDLE completed
        """)


def test_without_a_selected_mailbox(imap: Imap) -> None:
    imap.sign_in()
    imap.transcript("""
        C: a IDLE
        S: + idling
        C: DONE
        S: a OK IDLE completed
        C: b IDLE
        S: + idling
        C: c NOOP
        S: b BAD DONE expected
        """)


def test_deleted_mailbox_ends_the_connection(imap: Imap) -> None:
    imap.services.mailboxes.create(imap.user.user_id, OPERATOR, "Gone")
    client = imap.sign_in("1", "Gone")
    imap.sign_in("2")
    client.ask(b"a IDLE\r\n")
    imap.services.mailboxes.delete(imap.user.user_id, OPERATOR, "Gone")
    assert client.is_woken, "by the notice, not by the next poll"
    client.notice()
    assert client.take() == b"* BYE The mailbox was deleted\r\n"
    assert client.is_closed


def test_connection_is_kept_alive_and_ended_in_the_end(imap: Imap) -> None:
    client = imap.sign_in(select="INBOX")
    client.ask(b"a IDLE\r\n")
    ticks = 0
    while not client.is_closed:
        seconds = client.deadlines[-1].seconds
        answer = client.time_out()
        ticks += 1
        assert ticks < 100
        if not client.is_closed:
            assert answer == b"* OK Still here\r\n"
    assert answer.startswith(b"* BYE ")
    assert seconds * ticks >= DEFAULT_LIMITS.idle_timeout_s


def test_a_session_that_ends_is_forgotten(imap: Imap) -> None:
    client = imap.sign_in(select="INBOX")
    client.ask(b"a IDLE\r\n")
    client.close()
    imap.append(b"Subject: new\r\n\r\n")
    assert not client.is_woken


def append_elsewhere(imap: Imap) -> None:
    """Another process appends; it is told by no notice."""
    other = connect(imap.services.settings)
    other.messages.append(imap.user.user_id, OPERATOR, "INBOX", [MESSAGE])
    other.close()


def test_two_notices_at_once_are_both_heard(imap: Imap) -> None:
    """The first is known here when the session wakes; the second has to be read."""
    client = imap.sign_in(select="INBOX")
    client.ask(b"a IDLE\r\n")
    imap.append(MESSAGE)
    append_elsewhere(imap)
    inbox = imap.services.mailboxes.find(imap.user.user_id, "INBOX").id
    notice = notices_module._NOTICE.pack(imap.user.user_id.binary, inbox.binary, 2, b"somebody")
    imap.services.notices._received(notice)
    client.notice()
    assert client.take() == b"* 2 EXISTS\r\n"


def test_change_that_could_not_be_read_is_found_by_the_next_poll(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was woken while the shard was away must not wait for the change after."""
    client = imap.sign_in(select="INBOX")
    client.ask(b"a IDLE\r\n")
    append_elsewhere(imap)
    with monkeypatch.context() as away:
        away.setattr(Heads, "refresh", unavailable)
        imap.services.notices._poll()
        client.notice()
        assert client.take() == b""
    imap.services.notices._poll()
    client.notice()
    assert client.take() == b"* 1 EXISTS\r\n"
    imap.services.notices._poll()
    assert not client.is_woken


def unavailable(*_: object) -> None:
    raise StoreUnavailable("test")
