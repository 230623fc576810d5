"""STORE (RFC 9051 §6.4.6)."""

from __future__ import annotations

from mailcore import fault
from mailcore.model.uid_set import UidSet
from mailcore.services.wiring import connect
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Imap


def test_store(imap: Imap) -> None:
    """RFC 3501 §6.4.6."""
    imap.fill(4)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: A003 STORE 2:4 +FLAGS (\Deleted)
        S: * 2 FETCH (FLAGS (\Deleted))
        S: * 3 FETCH (FLAGS (\Deleted))
        S: * 4 FETCH (FLAGS (\Deleted))
        S: A003 OK STORE completed
        C: a STORE 4 FLAGS \Seen
        S: * 4 FETCH (FLAGS (\Seen))
        S: a OK STORE completed
        C: b UID STORE 3:4 -FLAGS (\Deleted)
        S: * 3 FETCH (UID 3 FLAGS ())
        S: * 4 FETCH (UID 4 FLAGS (\Seen))
        S: b OK STORE completed
        C: c STORE 2 FLAGS ()
        S: * 2 FETCH (FLAGS ())
        S: c OK STORE completed
        C: d STORE 1 +FLAGS.SILENT (\Answered \Flagged)
        S: d OK STORE completed
        C: e STORE 1 +FLAGS (\Recent)
        S: * 1 FETCH (FLAGS (\Answered \Flagged))
        S: e OK STORE completed
        C: f UID STORE 99 +FLAGS (\Seen)
        S: f OK STORE completed, nothing to do
        C: g STORE 9 +FLAGS (\Seen)
        S: g BAD No such message number
        C: h STORE 1 FLAGSX (\Seen)
        S: h BAD FLAGS expected
        C: i STORE 1 +FLAGS (\Strange)
        S: i BAD unknown system flag
        """)


def test_keywords(imap: Imap) -> None:
    imap.fill(2)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a STORE 1 +FLAGS ($Forwarded Work)
        S: * 1 FETCH (FLAGS ($Forwarded Work))
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Forwarded Work)
        S: * OK [PERMANENTFLAGS (… $Forwarded Work \*)] Flags permitted
        S: a OK STORE completed
        C: b STORE 2 +FLAGS (WORK \Seen)
        S: * 2 FETCH (FLAGS (\Seen Work))
        S: b OK STORE completed
        C: c SEARCH KEYWORD work
        S: * SEARCH 1 2
        S: c OK SEARCH completed
        """)


def test_keywords_run_out(imap: Imap) -> None:
    imap.fill(1)
    client = imap.sign_in(select="INBOX")
    client.run("STORE 1 +FLAGS (" + " ".join(f"k{number}" for number in range(56)) + ")")
    imap.transcript(r"""
        C: a STORE 1 +FLAGS (one-more)
        S: a NO [LIMIT] The mailbox has as many keywords as may be
        """)
    answer = client.run("SELECT INBOX")
    assert answer.count(b" k") == 2 * 56
    assert b"\\*" not in answer


def test_another_session_is_told(imap: Imap) -> None:
    imap.select_in_two_sessions("INBOX", 2)
    imap.transcript(r"""
        C1: a STORE 1 +FLAGS.SILENT (\Seen)
        S1: a OK STORE completed
        C2: b NOOP
        S2: * 1 FETCH (UID 1 FLAGS (\Seen))
        S2: b OK Completed
        # silent about its own change, not about that of others
        C2: c STORE 1 +FLAGS (\Flagged)
        S2: * 1 FETCH (FLAGS (\Seen \Flagged))
        S2: c OK STORE completed
        C1: d STORE 1 +FLAGS.SILENT (\Answered)
        S1: * 1 FETCH (UID 1 FLAGS (\Seen \Answered \Flagged))
        S1: d OK STORE completed
        """)


def test_removed_message_keeps_its_number_until_told(imap: Imap) -> None:
    imap.select_in_two_sessions("INBOX", 3, {2})
    imap.transcript(r"""
        C1: a EXPUNGE
        S1: * 2 EXPUNGE
        S1: a OK EXPUNGE completed
        C2: b STORE 1:3 +FLAGS (\Seen)
        S2: * 1 FETCH (FLAGS (\Seen))
        S2: * 3 FETCH (FLAGS (\Seen))
        S2: b NO [EXPUNGEISSUED] Some of the messages are gone
        C2: c STORE 3 -FLAGS (\Seen)
        S2: * 3 FETCH (FLAGS ())
        S2: c OK STORE completed
        C2: d NOOP
        S2: * 2 EXPUNGE
        S2: d OK Completed
        C1: e NOOP
        S1: * 1 FETCH (UID 1 FLAGS (\Seen))
        S1: e OK Completed
        """)


def test_silent_store_says_nothing_of_a_message_that_somebody_removes_meanwhile(imap: Imap) -> None:
    """Its MODSEQ would be that of another message, under its number (RFC 7162 §3.1.3)."""
    imap.fill(3)
    client = imap.sign_in(select="INBOX")
    client.run("ENABLE CONDSTORE")
    other = connect(imap.services.settings)
    inbox = imap.services.mailboxes.find(imap.user.user_id, "INBOX").id

    def meanwhile() -> None:
        fault.install({})
        other.messages.expunge(imap.user.user_id, OPERATOR, inbox, UidSet.of([1]), only_deleted=False)

    other.messages.copy(imap.user.user_id, OPERATOR, inbox, UidSet.of([3]), "INBOX")  # so that the view is read anew
    fault.install({"commit.after_push": meanwhile})
    try:
        answer = client.ask(b"a UID STORE 1:2 +FLAGS.SILENT (\\Seen)\r\n")
    finally:
        fault.install({})
        other.close()
    assert b"* 1 FETCH" not in answer
    assert answer.startswith(b"* 2 FETCH (UID 2 MODSEQ (")
    assert b"* 1 EXPUNGE\r\n" in answer
