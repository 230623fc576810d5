"""What becomes of a selected mailbox that is renamed or deleted by somebody else, and of numbers at the edges."""

from __future__ import annotations

from tests.transcripts.imap.dialogue import Imap


def test_renamed_it_stays_selected(imap: Imap) -> None:
    imap.sign_in("2").run("CREATE x")
    imap.fill(2, mailbox="x")
    imap.sign_in("1", "x")
    imap.transcript(r"""
        C2: a RENAME x y
        S2: a OK RENAME completed
        C1: a STORE 1 +FLAGS (\Deleted)
        S1: * 1 FETCH (FLAGS (\Deleted))
        S1: a OK STORE completed
        C1: b EXPUNGE
        S1: * 1 EXPUNGE
        S1: b OK EXPUNGE completed
        C1: c FETCH 1 (UID BODY.PEEK[TEXT])
        S1: * 1 FETCH (UID 2 BODY[TEXT] {8}
        S1: Text 2
        S1: )
        S1: c OK FETCH completed
        C2: b STATUS y (MESSAGES)
        S2: * STATUS y (MESSAGES 1)
        S2: b OK STATUS completed
        """)


def test_deleted_and_made_again_it_is_another(imap: Imap) -> None:
    imap.sign_in("2").run("CREATE x")
    imap.fill(2, mailbox="x")
    imap.sign_in("1", "x")
    imap.transcript(r"""
        C2: a DELETE x
        S2: a OK DELETE completed
        C2: b CREATE x
        S2: b OK [MAILBOXID …] CREATE completed
        C1: a NOOP
        S1: a NO [NONEXISTENT] The mailbox was deleted
        C1: b STORE 1 +FLAGS (\Seen)
        S1: b NO [NONEXISTENT] The mailbox was deleted
        C1: c EXPUNGE
        S1: c NO [NONEXISTENT] The mailbox was deleted
        C1: d CLOSE
        S1: d OK CLOSE completed
        C1: e STATUS x (MESSAGES UIDNEXT)
        S1: * STATUS x (MESSAGES 0 UIDNEXT 1)
        S1: e OK STATUS completed
        """)


def test_sets_with_a_star(imap: Imap) -> None:
    """RFC 9051 §9 seq-range: ends in any order, `*` is the last message, whatever the other end."""
    imap.fill(5)
    client = imap.sign_in(select="INBOX")
    client.run(r"STORE 5 +FLAGS.SILENT (\Deleted)")
    client.run("EXPUNGE")
    for number, (uids, found) in enumerate(
        [("*", "4"), ("9:*", "4"), ("*:9", "4"), ("*:3", "3 4"), ("5", ""), ("5:9", ""), ("4294967295:*", "4"),
         ("2:1,*", "1 2 4"), ("1:*,2", "1 2 3 4")]
    ):  # fmt: skip
        answer = client.ask(f"t{number} UID FETCH {uids} (UID)\r\n".encode())
        told = [line.split()[1].decode() for line in answer.split(b"\r\n") if line.startswith(b"* ")]
        assert " ".join(told) == found, uids
        answer = client.ask(f"u{number} UID SEARCH UID {uids}\r\n".encode())
        assert answer.split(b"\r\n")[0].decode().removeprefix("* SEARCH").strip() == found, uids


def test_numbers_with_pipelined_commands(imap: Imap) -> None:
    """Numbers mean what they meant when the client sent them, until it is told otherwise (RFC 9051 §5.5)."""
    imap.select_in_two_sessions("INBOX", 4, {1})
    imap.clients["2"].run("EXPUNGE")
    answer = imap.clients["1"].ask(b"a FETCH 2 (UID)\r\nb STORE 3 +FLAGS.SILENT ($x)\r\nc FETCH 1 (UID)\r\nd NOOP\r\n")
    assert b"* 2 FETCH (UID 2)" in answer
    assert b"c NO [EXPUNGEISSUED]" in answer
    assert answer.index(b"* 1 EXPUNGE") > answer.index(b"c NO")
    imap.clients["2"].run("NOOP")
    assert b"* SEARCH 2" in imap.clients["2"].run("SEARCH KEYWORD $x")


def test_partial_fetches_at_the_edges(imap: Imap) -> None:
    """RFC 9051 §6.4.5: from beyond the end there is nothing, and the size told is what BODY[] gives."""
    imap.append(b"Subject: x\r\n\r\n0123456789")
    client = imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a FETCH 1 (RFC822.SIZE BODY.PEEK[TEXT]<0.10> BODY.PEEK[TEXT]<0.11> BODY.PEEK[TEXT]<9.5>)
        S: * 1 FETCH (RFC822.SIZE 24 BODY[TEXT]<0> {10}
        S: 0123456789 BODY[TEXT]<0> {10}
        S: 0123456789 BODY[TEXT]<9> {1}
        S: 9)
        S: a OK FETCH completed
        C: b FETCH 1 (BODY.PEEK[TEXT]<10.1> BODY.PEEK[]<4294967295.1> BODY.PEEK[HEADER.FIELDS (SUBJECT)]<99.1>)
        S: * 1 FETCH (BODY[TEXT]<10> "" BODY[]<4294967295> "" BODY[HEADER.FIELDS (SUBJECT)]<99> "")
        S: b OK FETCH completed
        C: c FETCH 1 BODY.PEEK[]<0.0>
        S: c BAD partial count must not be zero
        """)
    assert b"BODY[] {24}\r\n" in client.run("FETCH 1 BODY.PEEK[]")
