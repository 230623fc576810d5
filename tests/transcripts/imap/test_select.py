"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2; RFC 3691)."""

from __future__ import annotations

from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Imap


def test_select_tells_what_there_is(imap: Imap) -> None:
    imap.fill(3)
    imap.sign_in()
    imap.transcript(r"""
        C: a1 SELECT inbox
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft)
        S: * OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft \*)] Flags permitted
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY «validity»] UIDs valid
        S: * OK [UIDNEXT 4] Predicted next UID
        S: * OK [HIGHESTMODSEQ 2] Highest
        S: * OK [MAILBOXID («id»)] Its id
        S: * OK [UNSEEN 1] First unseen
        S: a1 OK [READ-WRITE] SELECT completed
        C: a2 STORE 1:2 +FLAGS.SILENT (\Seen $Work)
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Work)
        S: * OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft $Work \*)] Flags permitted
        S: a2 OK STORE completed
        C: a3 EXAMINE INBOX
        S: * OK [CLOSED] Previous mailbox is closed
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Work)
        S: * OK [PERMANENTFLAGS ()] No permanent flags permitted
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY «validity»] UIDs valid
        S: * OK [UIDNEXT 4] Predicted next UID
        S: * OK [HIGHESTMODSEQ 3] Highest
        S: * OK [MAILBOXID («id»)] Its id
        S: * OK [UNSEEN 3] First unseen
        S: a3 OK [READ-ONLY] EXAMINE completed
        """)


def test_empty_mailbox(imap: Imap) -> None:
    imap.sign_in()
    imap.transcript(r"""
        C: a1 SELECT Drafts
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 1] Predicted next UID
        S: * OK [HIGHESTMODSEQ 1] Highest
        S: * OK [MAILBOXID («id»)] Its id
        S: a1 OK [READ-WRITE] SELECT completed
        C: a2 FETCH 1 FLAGS
        S: a2 BAD No such message number
        C: a3 FETCH * FLAGS
        S: a3 BAD No such message number
        C: a4 UID FETCH 1:* FLAGS
        S: a4 OK FETCH completed
        C: a5 SEARCH ALL
        S: * SEARCH
        S: a5 OK SEARCH completed
        C: a6 EXPUNGE
        S: a6 OK EXPUNGE completed
        """)


def test_failed_select_leaves_none_selected(imap: Imap) -> None:
    """RFC 9051 §6.3.2."""
    imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a1 SELECT nowhere
        S: * OK [CLOSED] Previous mailbox is closed
        S: a1 NO [NONEXISTENT] No such mailbox
        C: a2 CHECK
        S: a2 BAD Command is not allowed now
        """)


def test_read_only_changes_nothing(imap: Imap) -> None:
    imap.fill(2, deleted={1})
    imap.sign_in().run("EXAMINE INBOX")
    imap.transcript(r"""
        C: a1 STORE 1 +FLAGS (\Seen)
        S: a1 NO [NOPERM] Not allowed
        C: a2 EXPUNGE
        S: a2 NO [NOPERM] Not allowed
        C: a3 MOVE 1 Trash
        S: a3 NO [NOPERM] Not allowed
        C: a4 FETCH 2 (BODY[TEXT] FLAGS)
        S: * 2 FETCH (FLAGS () BODY[TEXT] {8}
        S: Text 2
        S: )
        S: a4 OK FETCH completed
        C: a5 COPY 2 Trash
        S: a5 OK [COPYUID …] COPY completed
        C: a6 CLOSE
        S: a6 OK CLOSE completed
        C: a7 STATUS INBOX (MESSAGES UNSEEN)
        S: * STATUS INBOX (MESSAGES 2 UNSEEN 2)
        S: a7 OK STATUS completed
        """)


def test_close_expunges_without_a_word_and_unselect_does_not(imap: Imap) -> None:
    imap.fill(3, deleted={2})
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a1 UNSELECT
        S: a1 OK UNSELECT completed
        C: a2 STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 3)
        S: a2 OK STATUS completed
        """)
    imap.clients[""].run("SELECT INBOX")
    imap.transcript(r"""
        C: a3 CLOSE
        S: a3 OK CLOSE completed
        C: a4 STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 2)
        S: a4 OK STATUS completed
        C: a5 FETCH 1 FLAGS
        S: a5 BAD Command is not allowed now
        """)


def test_mailbox_deleted_under_a_session(imap: Imap) -> None:
    imap.services.mailboxes.create(imap.user.user_id, OPERATOR, "Gone")
    imap.fill(2, mailbox="Gone")
    imap.sign_in("1", "Gone")
    imap.sign_in("2")
    imap.clients["2"].run("DELETE Gone")
    imap.transcript(r"""
        C1: a1 NOOP
        S1: a1 NO [NONEXISTENT] The mailbox was deleted
        C1: a2 STORE 1 +FLAGS (\Seen)
        S1: a2 NO [NONEXISTENT] The mailbox was deleted
        C1: a3 CLOSE
        S1: a3 OK CLOSE completed
        C1: a4 SELECT Gone
        S1: a4 NO [NONEXISTENT] No such mailbox
        """)


def test_a_mailbox_made_again_is_another_one(imap: Imap) -> None:
    imap.services.mailboxes.create(imap.user.user_id, OPERATOR, "Again")
    imap.sign_in("1", "Again")
    other = imap.sign_in("2")
    other.run("DELETE Again")
    other.run("CREATE Again")
    imap.transcript("""
        C1: a1 NOOP
        S1: a1 NO [NONEXISTENT] The mailbox was deleted
        """)
