"""IMAP4rev2 (RFC 9051 appendix E): what is told otherwise once it is enabled."""

from __future__ import annotations

from tests.transcripts.imap.dialogue import Imap


def test_enabled_changes_what_is_told(imap: Imap) -> None:
    imap.fill(3, deleted={2})
    imap.sign_in()
    imap.transcript(r"""
        C: a1 ENABLE imap4rev2
        S: * ENABLED IMAP4rev2
        S: a1 OK ENABLE completed
        C: a2 SELECT INBOX
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 3 EXISTS
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 4] Predicted next UID
        S: * OK [HIGHESTMODSEQ 2] Highest
        S: * OK [MAILBOXID …
        S: * LIST () "/" INBOX
        S: a2 OK [READ-WRITE] SELECT completed
        C: a3 SEARCH UNDELETED
        S: * ESEARCH (TAG "a3") ALL 1,3
        S: a3 OK SEARCH completed
        C: a4 UID SEARCH CHARSET UTF-8 FLAGGED
        S: * ESEARCH (TAG "a4") UID
        S: a4 OK SEARCH completed
        C: a5 STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE)
        S: * STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY … UNSEEN 3 DELETED 1 SIZE …)
        S: a5 OK STATUS completed
        C: a6 SELECT Drafts
        S: * OK [CLOSED] Previous mailbox is closed
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 1] Predicted next UID
        S: * OK [HIGHESTMODSEQ 1] Highest
        S: * OK [MAILBOXID …
        S: * LIST () "/" Drafts
        S: a6 OK [READ-WRITE] SELECT completed
        """)


def test_names_are_utf8(imap: Imap) -> None:
    """RFC 9051 §5.1; RFC 9051 §6.3.6: RENAME tells the new name with the old one."""
    imap.sign_in().run("ENABLE IMAP4rev2")
    imap.transcript("""
        C: a1 CREATE "Grüße"
        S: a1 OK [MAILBOXID …] CREATE completed
        C: a2 RENAME "Grüße" plain
        S: * LIST () "/" plain ("OLDNAME" ("Grüße"))
        S: a2 OK RENAME completed
        C: a3 RENAME plain "Größe"
        S: * LIST () "/" "Größe" ("OLDNAME" (plain))
        S: a3 OK RENAME completed
        """)
    imap.sign_in("2")
    imap.transcript("""
        C2: b1 LIST "" Gr*
        S2: * LIST (\\HasNoChildren) "/" Gr&APYA3w-e
        S2: b1 OK LIST completed
        C2: b2 RENAME Gr&APYA3w-e other
        S2: b2 OK RENAME completed
        """)


def test_names_that_were_written_otherwise(imap: Imap) -> None:
    """RFC 9051 §6.3.9.7: what a name that is not in its one form has become is told."""
    imap.sign_in().run("ENABLE IMAP4rev2")
    imap.names["written"] = "Gru\u0308\u00dfe"
    imap.transcript(r"""
        C: a1 CREATE "«written»"
        S: * LIST () "/" "Grüße" ("OLDNAME" ("«written»"))
        S: a1 OK [MAILBOXID …] CREATE completed
        C: a2 CREATE "other/"
        S: a2 OK [MAILBOXID …] CREATE completed
        C: a3 DELETE "«written»"
        S: * LIST (\NonExistent) "/" "Grüße" ("OLDNAME" ("«written»"))
        S: a3 OK DELETE completed
        """)
    assert b'* LIST () "/" INBOX ("OLDNAME" (inbox))\r\n' in imap.clients[""].run("SELECT inbox")
    imap.sign_in("2")
    imap.transcript("""
        C2: b1 CREATE inbox/x
        S2: b1 OK [MAILBOXID …] CREATE completed
        """)


def test_searches_of_the_older_kind_stay(imap: Imap) -> None:
    """Who enables nothing is answered as RFC 3501 says."""
    imap.fill(2)
    client = imap.sign_in()
    assert b"* 0 RECENT\r\n" in client.run("SELECT INBOX")
    assert client.run("SEARCH ALL") == b"* SEARCH 1 2\r\nt OK SEARCH completed\r\n"
