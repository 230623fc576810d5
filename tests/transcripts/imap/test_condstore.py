"""CONDSTORE (RFC 7162 §3.1): the RFC's examples, with this server's numbers."""

from __future__ import annotations

from tests.transcripts.imap.dialogue import Imap


def _two_sessions(imap: Imap, messages: int = 3) -> None:
    """Session 1 has told the server that it knows CONDSTORE, session 2 has not."""
    imap.fill(messages)  # one change: MODSEQ 2
    imap.sign_in("1").run("SELECT INBOX (CONDSTORE)")
    imap.sign_in("2", "INBOX")


def test_select_tells_highestmodseq(imap: Imap) -> None:
    """§3.1.2.1; an empty mailbox has one too, and it is not 0 (§7)."""
    imap.fill(1)
    imap.sign_in()
    imap.transcript(r"""
        C: a SELECT INBOX (CONDSTORE)
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 1 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 2] Predicted next UID
        S: * OK [HIGHESTMODSEQ 2] Highest
        S: * OK [MAILBOXID («id2»)] Its id
        S: * OK [UNSEEN 1] First unseen
        S: a OK [READ-WRITE] SELECT completed
        C: b SELECT Drafts
        S: * OK [CLOSED] Previous mailbox is closed
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 1] Predicted next UID
        S: * OK [HIGHESTMODSEQ 1] Highest
        S: * OK [MAILBOXID («id1»)] Its id
        S: b OK [READ-WRITE] SELECT completed
        C: c SELECT Drafts (CONDSTORE CONDSTORE)
        S: c BAD the same parameter twice
        C: d SELECT Drafts (NONSENSE)
        S: d BAD unknown SELECT parameter
        C: e SELECT Drafts ()
        S: e BAD atom expected
        """)


def test_flags_are_told_with_modseq_to_who_asked(imap: Imap) -> None:
    _two_sessions(imap)
    imap.transcript(r"""
        C2: a STORE 2 +FLAGS (\Seen)
        S2: * 2 FETCH (FLAGS (\Seen))
        S2: a OK STORE completed
        C1: a NOOP
        S1: * 2 FETCH (UID 2 FLAGS (\Seen) MODSEQ (3))
        S1: a OK Completed
        C1: b STORE 1 +FLAGS (\Flagged)
        S1: * 1 FETCH (FLAGS (\Flagged) MODSEQ (4))
        S1: b OK STORE completed
        C1: c UID STORE 1 -FLAGS.SILENT (\Flagged)
        S1: * 1 FETCH (UID 1 MODSEQ (5))
        S1: c OK STORE completed
        C1: d STORE 3 +FLAGS.SILENT ()
        S1: d OK STORE completed
        C2: b NOOP
        S2: b OK Completed
        """)


def test_modseq_is_fetched(imap: Imap) -> None:
    """§3.1.4.2; the first use of it enables CONDSTORE and tells where the mailbox stands."""
    imap.fill(2)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a STORE 1 +FLAGS (\Seen)
        S: * 1 FETCH (FLAGS (\Seen))
        S: a OK STORE completed
        C: b FETCH 1:2 (MODSEQ)
        S: * OK [HIGHESTMODSEQ 3] Highest
        S: * 1 FETCH (MODSEQ (3))
        S: * 2 FETCH (MODSEQ (2))
        S: b OK FETCH completed
        C: c STORE 1 -FLAGS (\Seen)
        S: * 1 FETCH (FLAGS () MODSEQ (4))
        S: c OK STORE completed
        """)


def test_changedsince(imap: Imap) -> None:
    """§3.1.4.1, example 13."""
    _two_sessions(imap)
    imap.transcript(r"""
        C1: s100 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 2)
        S1: s100 OK FETCH completed
        C1: s101 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)
        S1: * 1 FETCH (UID 1 FLAGS () MODSEQ (2))
        S1: * 2 FETCH (UID 2 FLAGS () MODSEQ (2))
        S1: * 3 FETCH (UID 3 FLAGS () MODSEQ (2))
        S1: s101 OK FETCH completed
        C2: a STORE 2 +FLAGS.SILENT ($MDNSent)
        S2: * FLAGS …
        S2: * OK [PERMANENTFLAGS …
        S2: a OK STORE completed
        C1: s102 FETCH 1:3 FLAGS (CHANGEDSINCE 2)
        S1: * FLAGS …
        S1: * OK [PERMANENTFLAGS …
        S1: * 2 FETCH (UID 2 FLAGS ($MDNSent) MODSEQ (3))
        S1: s102 OK FETCH completed
        C1: s104 FETCH 1:3 FLAGS (CHANGEDSINCE 2)
        S1: * 2 FETCH (FLAGS ($MDNSent) MODSEQ (3))
        S1: s104 OK FETCH completed
        C1: e1 FETCH 1 FLAGS (CHANGEDSINCE)
        S1: e1 BAD space expected
        C1: e2 FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 1)
        S1: e2 BAD the same modifier twice
        C1: e3 FETCH 1 FLAGS (CHANGEDSINCE 0)
        S1: * 1 FETCH (FLAGS () MODSEQ (2))
        S1: e3 OK FETCH completed
        """)


def test_unchangedsince(imap: Imap) -> None:
    """§3.1.3, examples 5 to 11: what somebody else has changed stays as it is and is named by MODIFIED."""
    _two_sessions(imap, 5)
    imap.transcript(r"""
        C2: a STORE 2,4 +FLAGS.SILENT (\Flagged)
        S2: a OK STORE completed
        C1: d105 STORE 1:4 (UNCHANGEDSINCE 2) +FLAGS.SILENT (\Deleted)
        S1: * 1 FETCH (UID 1 MODSEQ (4))
        S1: * 3 FETCH (UID 3 MODSEQ (4))
        S1: * 2 FETCH (UID 2 FLAGS (\Flagged) MODSEQ (3))
        S1: * 4 FETCH (UID 4 FLAGS (\Flagged) MODSEQ (3))
        S1: d105 OK [MODIFIED 2,4] Conditional STORE failed
        C1: d106 UID STORE 2:3 (UNCHANGEDSINCE 3) +FLAGS (\Seen)
        S1: * 2 FETCH (UID 2 FLAGS (\Seen \Flagged) MODSEQ (5))
        S1: d106 OK [MODIFIED 3] Conditional STORE failed
        C1: d107 STORE 5 (UNCHANGEDSINCE 0) +FLAGS (\Seen)
        S1: d107 OK [MODIFIED 5] Conditional STORE failed
        C1: d108 FETCH 5 FLAGS
        S1: * 5 FETCH (FLAGS ())
        S1: d108 OK FETCH completed
        C1: e1 STORE 5 (NONSENSE 0) +FLAGS (\Seen)
        S1: e1 BAD unknown STORE modifier
        """)


def test_unchangedsince_of_a_message_that_is_gone(imap: Imap) -> None:
    """§3.1.3, example 12."""
    _two_sessions(imap)
    imap.clients["2"].run(r"STORE 2 +FLAGS.SILENT (\Deleted)")
    imap.clients["2"].run("EXPUNGE")
    imap.transcript(r"""
        C1: b STORE 1:3 (UNCHANGEDSINCE 2) +FLAGS (\Seen)
        S1: * 1 FETCH (FLAGS (\Seen) MODSEQ (5))
        S1: * 3 FETCH (FLAGS (\Seen) MODSEQ (5))
        S1: b NO [MODIFIED 2] Some of the messages are gone
        C1: c NOOP
        S1: * 2 EXPUNGE
        S1: c OK Completed
        """)


def test_status_and_enable(imap: Imap) -> None:
    """§3.1.7, §3.1.8."""
    imap.fill(1)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a STATUS Drafts (HIGHESTMODSEQ)
        S: * OK [HIGHESTMODSEQ 2] Highest
        S: * STATUS Drafts (HIGHESTMODSEQ 1)
        S: a OK STATUS completed
        C: b ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: b OK ENABLE completed
        """)
    client = imap.sign_in("2", "INBOX")
    assert client.ask(b"a ENABLE CONDSTORE\r\n") == (
        b"* ENABLED CONDSTORE\r\n* OK [HIGHESTMODSEQ 2] Highest\r\na OK ENABLE completed\r\n"
    )


def test_highestmodseq_of_an_expunge(imap: Imap) -> None:
    """§3.2.7: only after it has all been told; CLOSE tells none (§3.2.8)."""
    imap.fill(3, deleted={2})
    imap.sign_in().run("SELECT INBOX (CONDSTORE)")
    imap.transcript(r"""
        C: a EXPUNGE
        S: * 2 EXPUNGE
        S: a OK [HIGHESTMODSEQ 3] EXPUNGE completed
        C: b EXPUNGE
        S: b OK EXPUNGE completed
        C: c STORE 1 +FLAGS.SILENT (\Deleted)
        S: * 1 FETCH (UID 1 MODSEQ (4))
        S: c OK STORE completed
        C: d CLOSE
        S: d OK CLOSE completed
        """)
