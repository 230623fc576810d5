"""COPY and MOVE (RFC 9051 §6.4.7, §6.4.8; RFC 4315 COPYUID; RFC 6851)."""

from __future__ import annotations

import pytest

from mailcore import fault
from mailcore.errors import MailboxChanged
from mailcore.model.flags import SEEN, FlagSet
from mailcore.model.ids import MailboxId
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Imap


def test_copy(imap: Imap) -> None:
    imap.fill(4)
    imap.append(b"Subject: already there\r\n\r\n", mailbox="Archive")
    client = imap.sign_in(select="INBOX")
    client.run(r"STORE 2 +FLAGS (\Flagged $Work)")
    imap.transcript(r"""
        C: A003 COPY 2:4 MEETING
        S: A003 NO [TRYCREATE] No such mailbox, create it first
        C: A004 COPY 2:4 Archive
        S: A004 OK [COPYUID «validity» 2:4 2:4] COPY completed
        C: A005 UID COPY 1,4 Archive
        S: A005 OK [COPYUID «validity» 1,4 5:6] COPY completed
        C: A006 UID COPY 99 Archive
        S: A006 OK COPY completed, nothing to do
        C: A007 COPY 9 Archive
        S: A007 BAD No such message number
        C: A008 COPY 1 INBOX
        S: * 5 EXISTS
        S: A008 OK [COPYUID … 1 5] COPY completed
        C: A009 FETCH 5 (UID BODY.PEEK[TEXT])
        S: * 5 FETCH (UID 5 BODY[TEXT] {8}
        S: Text 1
        S: )
        S: A009 OK FETCH completed
        """)
    client.run("SELECT Archive")
    imap.transcript(r"""
        C: B1 FETCH 2 (FLAGS INTERNALDATE BODY.PEEK[TEXT])
        S: * 2 FETCH (FLAGS (\Flagged $Work) INTERNALDATE "14-Nov-2023 22:13:22 +0000" BODY[TEXT] {8}
        S: Text 2
        S: )
        S: B1 OK FETCH completed
        """)


def test_move(imap: Imap) -> None:
    """RFC 6851 §3: COPYUID first, then EXPUNGE."""
    imap.fill(4)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a UID MOVE 2,4 Archive
        S: * OK [COPYUID «validity» 2,4 1:2] Moved
        S: * 2 EXPUNGE
        S: * 3 EXPUNGE
        S: a OK MOVE completed
        C: b MOVE 2 nowhere
        S: b NO [TRYCREATE] No such mailbox, create it first
        C: c MOVE 2 Archive
        S: * OK [COPYUID «validity» 3 3] Moved
        S: * 2 EXPUNGE
        S: c OK MOVE completed
        C: d STATUS Archive (MESSAGES)
        S: * STATUS Archive (MESSAGES 3)
        S: d OK STATUS completed
        C: e UID MOVE 4711 Archive
        S: e OK MOVE completed, nothing to do
        """)


def check_moved_though_its_mailbox_is_deleted(imap: Imap) -> None:
    """What was taken is there, so the MOVE is done; that the mailbox is gone the client hears afterwards."""
    imap.services.mailboxes.create(imap.user.user_id, OPERATOR, "Old")
    imap.fill(2, mailbox="Old")
    imap.sign_in(select="Old")

    def delete() -> None:
        fault.install({})
        imap.services.mailboxes.delete(imap.user.user_id, OPERATOR, "Old")

    fault.install({"move.after_copy": delete})
    imap.transcript(r"""
        C: a UID MOVE 1:2 Archive
        S: * OK [COPYUID «validity» 1:2 1:2] Moved
        S: a OK MOVE completed
        """)


def test_a_move_is_done_though_its_mailbox_is_deleted_in_between(imap: Imap) -> None:
    check_moved_though_its_mailbox_is_deleted(imap)
    assert b"* 2 EXISTS" in imap.sign_in("2").run("SELECT Archive")
    assert b"\r\nb BAD" not in imap.clients[""].ask(b"b NOOP\r\n")


def test_control_a_move_that_is_refused_for_that_is_seen(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_transfers: object, _user_id: object, _actor: object, mailbox_id: MailboxId, *_: object) -> None:
        raise MailboxChanged(mailbox_id)

    monkeypatch.setattr("mailcore.services.mailboxes.transfers.Transfers._expunge_taken", refuses)
    with pytest.raises(AssertionError):
        check_moved_though_its_mailbox_is_deleted(imap)


def test_messages_that_another_session_removed(imap: Imap) -> None:
    imap.select_in_two_sessions("INBOX", 2, {1, 2})
    imap.clients["1"].run("EXPUNGE")
    imap.transcript("""
        C2: a COPY 1:2 Archive
        S2: * 1 EXPUNGE
        S2: * 1 EXPUNGE
        S2: a NO [EXPUNGEISSUED] Some of the messages are gone
        C2: b STATUS Archive (MESSAGES)
        S2: * STATUS Archive (MESSAGES 0)
        S2: b OK STATUS completed
        """)


def test_keywords_without_room_stay_behind(imap: Imap) -> None:
    """A mailbox with as many keywords as may be still takes messages (RFC 9051 §6.4.7: flags SHOULD be preserved)."""
    names = tuple(f"k{number}" for number in range(55))
    imap.append(NewMessage(b"Subject: full\r\n\r\n", FlagSet(0, names)), mailbox="Trash")
    for _ in range(2):
        imap.append(NewMessage(b"Subject: much\r\n\r\n", FlagSet(SEEN, ("k7", "First", "Second"))))
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a COPY 1 Trash
        S: a OK [COPYUID … 1 2] COPY completed
        C: b MOVE 1:2 Trash
        S: * OK [COPYUID … 1:2 3:4] Moved
        S: * 1 EXPUNGE
        S: * 1 EXPUNGE
        S: b OK MOVE completed
        """)
    client = imap.sign_in("2", "Trash")
    assert (
        client.run("FETCH 2:4 FLAGS")
        == b"".join(b"* %d FETCH (FLAGS (\\Seen k7 First))\r\n" % number for number in (2, 3, 4))
        + b"t OK FETCH completed\r\n"
    )
