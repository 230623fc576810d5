"""EXPUNGE, UID EXPUNGE, and when others hear of it (RFC 9051 §6.4.3, §6.4.9, §7.5.1)."""

from __future__ import annotations

from tests.transcripts.imap.dialogue import Imap


def test_expunge(imap: Imap) -> None:
    """RFC 3501 §6.4.3: each number counts after the ones before it."""
    imap.fill(11, deleted={3, 4, 7, 11})
    imap.sign_in(select="INBOX")
    imap.transcript("""
        C: A202 EXPUNGE
        S: * 3 EXPUNGE
        S: * 3 EXPUNGE
        S: * 5 EXPUNGE
        S: * 8 EXPUNGE
        S: A202 OK EXPUNGE completed
        C: b EXPUNGE
        S: b OK EXPUNGE completed
        C: c FETCH 3:* UID
        S: * 3 FETCH (UID 5)
        S: * 4 FETCH (UID 6)
        S: * 5 FETCH (UID 8)
        S: * 6 FETCH (UID 9)
        S: * 7 FETCH (UID 10)
        S: c OK FETCH completed
        """)


def test_uid_expunge(imap: Imap) -> None:
    """RFC 4315 §2.1: only those named, and of them only the deleted."""
    imap.fill(5, deleted={1, 3, 5})
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: A101 UID EXPUNGE 3000:3002
        S: A101 OK EXPUNGE completed
        C: A102 UID EXPUNGE 2:3
        S: * 3 EXPUNGE
        S: A102 OK EXPUNGE completed
        C: A103 UID FETCH 1:* FLAGS
        S: * 1 FETCH (UID 1 FLAGS (\Deleted))
        S: * 2 FETCH (UID 2 FLAGS ())
        S: * 3 FETCH (UID 4 FLAGS ())
        S: * 4 FETCH (UID 5 FLAGS (\Deleted))
        S: A103 OK FETCH completed
        """)


def test_other_session_keeps_its_sequence_numbers_until_noop(imap: Imap) -> None:
    """The server must not announce EXPUNGE while it answers FETCH (RFC 9051 §7.5.1)."""
    imap.select_in_two_sessions("INBOX", messages=3, deleted={2})
    imap.transcript("""
        C1: a1 EXPUNGE
        S1: * 2 EXPUNGE
        S1: a1 OK EXPUNGE completed

        # session 2 still counts three
        C2: b1 FETCH 3 (UID)
        S2: * 3 FETCH (UID 3)
        S2: b1 OK FETCH completed
        C2: b2 SEARCH ALL
        S2: * SEARCH 1 3
        S2: b2 OK SEARCH completed

        # NOOP may carry the news; from then on the third message is the second
        C2: b3 NOOP
        S2: * 2 EXPUNGE
        S2: b3 OK Completed
        C2: b4 FETCH 2 (UID)
        S2: * 2 FETCH (UID 3)
        S2: b4 OK FETCH completed
        """)


def test_new_messages_while_removed_ones_wait(imap: Imap) -> None:
    """EXISTS counts those that the client still counts."""
    imap.select_in_two_sessions("INBOX", messages=3, deleted={1})
    imap.clients["1"].run("EXPUNGE")
    imap.append(b"Subject: new\r\n\r\n")
    imap.transcript("""
        C2: b1 FETCH 2 (UID)
        S2: * 2 FETCH (UID 2)
        S2: * 4 EXISTS
        S2: b1 OK FETCH completed
        C2: b2 FETCH 2:4 (UID)
        S2: * 2 FETCH (UID 2)
        S2: * 3 FETCH (UID 3)
        S2: * 4 FETCH (UID 4)
        S2: b2 OK FETCH completed
        C2: b3 NOOP
        S2: * 1 EXPUNGE
        S2: b3 OK Completed
        C2: b4 FETCH 3 (UID)
        S2: * 3 FETCH (UID 4)
        S2: b4 OK FETCH completed
        """)


def test_all_news_at_once(imap: Imap) -> None:
    imap.select_in_two_sessions("INBOX", messages=4, deleted={2})
    one = imap.clients["1"]
    one.run("EXPUNGE")
    one.run(r"STORE 3 +FLAGS.SILENT (\Flagged)")
    imap.append(b"Subject: new\r\n\r\n", b"Subject: newer\r\n\r\n")
    imap.transcript(r"""
        C2: b1 NOOP
        S2: * 2 EXPUNGE
        S2: * 5 EXISTS
        S2: * 3 FETCH (UID 4 FLAGS (\Flagged))
        S2: b1 OK Completed
        """)


def test_pipelined_commands_are_answered_in_order(imap: Imap) -> None:
    imap.fill(3, deleted={1})
    client = imap.sign_in(select="INBOX")
    answer = client.ask(b"a FETCH 1 UID\r\nb EXPUNGE\r\nc FETCH 1 UID\r\nd UID FETCH 1:* UID\r\n")
    assert answer == (
        b"* 1 FETCH (UID 1)\r\na OK FETCH completed\r\n"
        b"* 1 EXPUNGE\r\nb OK EXPUNGE completed\r\n"
        b"* 1 FETCH (UID 2)\r\nc OK FETCH completed\r\n"
        b"* 1 FETCH (UID 2)\r\n* 2 FETCH (UID 3)\r\nd OK FETCH completed\r\n"
    )
