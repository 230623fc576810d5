"""QRESYNC (RFC 7162 §3.2): a client that comes back is told exactly what it has missed."""

from __future__ import annotations

import pytest

from tests.transcripts.imap.dialogue import Imap


def _prepared(imap: Imap) -> None:
    r"""Six messages at MODSEQ 2; 2 and 5 then go (\Deleted 3, expunged 4), 3 is \Seen at 5, 7 comes at 6."""
    imap.fill(6)
    client = imap.sign_in("0", "INBOX")
    client.run(r"STORE 2,5 +FLAGS.SILENT (\Deleted)")
    client.run("EXPUNGE")
    client.run(r"UID STORE 3 +FLAGS.SILENT (\Seen)")
    imap.append(b"Subject: new\r\n\r\nx\r\n")
    imap.names["validity"] = str(client.connection.session.mailbox.view.uid_validity)
    imap.sign_in().run("ENABLE QRESYNC")


SELECTED = r"""
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 5 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY «validity»] UIDs valid
        S: * OK [UIDNEXT 8] Predicted next UID
        S: * OK [HIGHESTMODSEQ 6] Highest
        S: * OK [MAILBOXID («id6»)] Its id
        S: * OK [UNSEEN 1] First unseen"""


def test_select_tells_what_was_missed(imap: Imap) -> None:
    """§3.2.5, example 14."""
    _prepared(imap)
    imap.transcript(rf"""
        C: a SELECT INBOX (QRESYNC («validity» 2))
        {SELECTED}
        S: * VANISHED (EARLIER) 2,5
        S: * 2 FETCH (UID 3 FLAGS (\Seen) MODSEQ (5))
        S: * 5 FETCH (UID 7 FLAGS () MODSEQ (6))
        S: a OK [READ-WRITE] SELECT completed
        C: b EXAMINE INBOX (QRESYNC («validity» 5))
        S: * OK [CLOSED] Previous mailbox is closed
        {SELECTED}
        S: * 5 FETCH (UID 7 FLAGS () MODSEQ (6))
        S: b OK [READ-ONLY] EXAMINE completed
        C: c SELECT INBOX (QRESYNC («validity» 6))
        S: * OK [CLOSED] Previous mailbox is closed
        {SELECTED}
        S: c OK [READ-WRITE] SELECT completed
        """)


def test_known_uids_narrow_it_down(imap: Imap) -> None:
    """§3.2.5.1: of the UIDs the client knows; §3.2.5.2: what both have under the same number vanished before."""
    _prepared(imap)
    imap.transcript(rf"""
        C: a SELECT INBOX (QRESYNC («validity» 2 4:6))
        {SELECTED}
        S: * VANISHED (EARLIER) 5
        S: a OK [READ-WRITE] SELECT completed
        C: b SELECT INBOX (QRESYNC («validity» 2 1:6 (1,2,4 1,3,6)))
        S: * OK [CLOSED] Previous mailbox is closed
        {SELECTED}
        S: * 2 FETCH (UID 3 FLAGS (\Seen) MODSEQ (5))
        S: b OK [READ-WRITE] SELECT completed
        C: c SELECT INBOX (QRESYNC («validity» 2 1:6 (1,3,6 1,3,6)))
        S: * OK [CLOSED] Previous mailbox is closed
        {SELECTED}
        S: * VANISHED (EARLIER) 2,5
        S: * 2 FETCH (UID 3 FLAGS (\Seen) MODSEQ (5))
        S: c OK [READ-WRITE] SELECT completed
        """)


def test_another_uidvalidity_means_from_the_start(imap: Imap) -> None:
    """§3.2.5."""
    _prepared(imap)
    imap.transcript(rf"""
        C: a SELECT INBOX (QRESYNC (1 2))
        {SELECTED}
        S: a OK [READ-WRITE] SELECT completed
        """)


@pytest.mark.parametrize(
    ("parameters", "answer"),
    [
        ("(QRESYNC (1))", b"space expected"),
        ("(QRESYNC (0 1))", b"number must not be zero"),
        ("(QRESYNC (1 0))", b"mod-sequence must not be zero"),
        ("(QRESYNC (1 1 1:*))", b"* is not allowed here"),
        ("(QRESYNC (1 1 $))", b"message set expected"),
        ("(QRESYNC (1 1 1:3 ))", b"( expected"),
        ("(QRESYNC (1 1 1:3(1:3 1:3)))", b") expected"),
        ("(QRESYNC (1 1(1:3 1:3)))", b") expected"),
        ("(QRESYNC (1 1 1:3 (1:2 1:3)))", b"numbers and UIDs do not match"),
        ("(QRESYNC (1 1 1:3 (1:4294967295 1:4294967295)))", b"numbers and UIDs do not match"),
    ],
)
def test_malformed_parameters(imap: Imap, parameters: str, answer: bytes) -> None:
    client = imap.sign_in()
    client.run("ENABLE QRESYNC")
    assert client.ask(b"a SELECT INBOX " + parameters.encode() + b"\r\n") == b"a BAD " + answer + b"\r\n"


def test_it_must_be_enabled(imap: Imap) -> None:
    """§3.2.3."""
    imap.sign_in()
    imap.transcript("""
        C: a SELECT INBOX (QRESYNC (1 2))
        S: a BAD ENABLE QRESYNC first
        C: b ENABLE QRESYNC CONDSTORE X-NONSENSE
        S: * ENABLED QRESYNC CONDSTORE
        S: b OK ENABLE completed
        """)
    client = imap.sign_in("2", "INBOX")
    assert client.ask(b"c UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)\r\n") == b"c BAD ENABLE QRESYNC first\r\n"


def test_expunges_are_told_by_vanished(imap: Imap) -> None:
    """§3.2.10: instead of EXPUNGE, never where that is not allowed, and 5 and 9 do not stand for 5 to 9."""
    imap.fill(9)
    imap.sign_in("1").run("ENABLE QRESYNC")
    imap.clients["1"].run("SELECT INBOX")
    imap.sign_in("2", "INBOX")
    imap.clients["2"].run(r"STORE 6:8 +FLAGS.SILENT (\Deleted)")
    imap.clients["2"].run("EXPUNGE")
    imap.clients["1"].run("NOOP")
    imap.clients["2"].run(r"STORE 1,5,6 +FLAGS.SILENT (\Deleted)")
    imap.transcript(r"""
        C1: i IDLE
        S1: + idling
        S1: * 1 FETCH (UID 1 FLAGS (\Deleted) MODSEQ (5))
        S1: * 5 FETCH (UID 5 FLAGS (\Deleted) MODSEQ (5))
        S1: * 6 FETCH (UID 9 FLAGS (\Deleted) MODSEQ (5))
        C2: a EXPUNGE
        S2: * 1 EXPUNGE
        S2: * 4 EXPUNGE
        S2: * 4 EXPUNGE
        S2: a OK EXPUNGE completed
        S1: * VANISHED 1,5,9
        C1: DONE
        S1: i OK IDLE completed
        C2: b STORE 1 +FLAGS.SILENT (\Deleted)
        S2: b OK STORE completed
        C2: c EXPUNGE
        S2: * 1 EXPUNGE
        S2: c OK EXPUNGE completed
        C1: d FETCH 2 (UID)
        S1: * 2 FETCH (UID 3)
        S1: d OK FETCH completed
        C1: e UID FETCH 4 (UID)
        S1: * 3 FETCH (UID 4)
        S1: * VANISHED 2
        S1: e OK FETCH completed
        C1: f UID STORE 3 +FLAGS.SILENT (\Deleted)
        S1: * 1 FETCH (UID 3 MODSEQ (9))
        S1: f OK STORE completed
        C1: g UID EXPUNGE 1:*
        S1: * VANISHED 3
        S1: g OK [HIGHESTMODSEQ 10] EXPUNGE completed
        C1: h UID MOVE 4 Trash
        S1: * OK [COPYUID …] Moved
        S1: * VANISHED 4
        S1: h OK [HIGHESTMODSEQ 11] MOVE completed
        """)


def test_fetch_vanished(imap: Imap) -> None:
    """§3.2.6, example 15: whatever the number of the last message, the set may name UIDs that are gone."""
    _prepared(imap)
    imap.clients[""].run("SELECT INBOX")
    imap.transcript(r"""
        C: s100 UID FETCH 1:500 (FLAGS) (CHANGEDSINCE 2 VANISHED)
        S: * VANISHED (EARLIER) 2,5
        S: * 2 FETCH (UID 3 FLAGS (\Seen) MODSEQ (5))
        S: * 5 FETCH (UID 7 FLAGS () MODSEQ (6))
        S: s100 OK FETCH completed
        C: s101 UID FETCH 5:* (UID) (VANISHED CHANGEDSINCE 2)
        S: * VANISHED (EARLIER) 5
        S: * 5 FETCH (UID 7 MODSEQ (6))
        S: s101 OK FETCH completed
        C: s102 FETCH 1:5 FLAGS (CHANGEDSINCE 2 VANISHED)
        S: s102 BAD VANISHED is for UID FETCH with CHANGEDSINCE
        C: s103 UID FETCH 1:5 FLAGS (VANISHED)
        S: s103 BAD VANISHED is for UID FETCH with CHANGEDSINCE
        """)
    other = imap.clients["0"]
    other.run(r"UID STORE 4 +FLAGS.SILENT (\Deleted)")
    other.run("UID EXPUNGE 4")
    # it still has its number here, so it is told by VANISHED without EARLIER, at the end
    imap.transcript(r"""
        C: s104 UID FETCH 1:6 (UID) (CHANGEDSINCE 5 VANISHED)
        S: * VANISHED 4
        S: s104 OK FETCH completed
        """)


def test_what_was_forgotten_is_answered_by_what_is_left(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the floor every UID that is not there is named, which §3.2.5.2 allows."""
    monkeypatch.setattr("mailcore.store.mailbox.fold.TRIM_EVERY", 1)
    monkeypatch.setattr("mailcore.store.mailbox.vanished.KEPT_CHANGES", 1)
    _prepared(imap)
    client = imap.clients["0"]
    for _ in range(3):
        imap.append(b"x\r\n\r\n")
        client.run("NOOP")
        client.run(r"STORE * +FLAGS.SILENT (\Deleted)")
        client.run("EXPUNGE")
        imap.services.messages.fold(imap.user.user_id, client.connection.session.mailbox.mailbox_id)
    answer = imap.clients[""].run(f"SELECT INBOX (QRESYNC ({imap.names['validity']} 6))")
    assert b"* VANISHED (EARLIER) 2,5,8:10\r\n" in answer, answer
