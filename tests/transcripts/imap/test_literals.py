"""A literal, of either form (RFC 7888), may stand wherever RFC 9051 §9 has `string`, `astring` or `mailbox`."""

from __future__ import annotations

import pytest

from tests.transcripts.imap.dialogue import Imap

COMMANDS = [
    "CREATE «new»",
    "SUBSCRIBE «new»",
    "UNSUBSCRIBE «new»",
    "RENAME «new» «newer»",
    "STATUS «newer» (MESSAGES)",
    "LIST «» «new*»",
    "LIST «» («new%» «INBOX») RETURN (STATUS (MESSAGES))",
    "LSUB «» «*»",
    "SELECT «newer» (CONDSTORE)",
    "EXAMINE «newer»",
    "SELECT «INBOX»",
    "SEARCH CHARSET «UTF-8» SUBJECT «number» HEADER «Subject» «1»",
    "SEARCH RETURN (COUNT) BODY «Text» NOT TEXT «zzz» FROM «a@» TO «x» CC «x» BCC «x»",
    "SEARCH EMAILID «Mx» THREADID «Tx»",
    "UID SORT (SUBJECT) «UTF-8» SUBJECT «number»",
    "THREAD REFERENCES «US-ASCII» TEXT «number»",
    "FETCH 1 BODY.PEEK[HEADER.FIELDS («Subject» «From»)]",
    "COPY 1 «newer»",
    "UID MOVE 2 «newer»",
    "APPEND «newer» (\\Seen) «x: y\r\n\r\nz»",
    "ID («name» «x»)",
    "DELETE «newer»",
]


@pytest.mark.parametrize("plus", ["+", ""])
def test_strings_as_literals(imap: Imap, plus: str) -> None:
    imap.fill(3)
    client = imap.sign_in(select="INBOX")
    for command in COMMANDS:
        first, *rest = command.split("«")
        pieces = [first]
        for piece in rest:
            text, _, after = piece.partition("»")
            pieces += [f"{{{len(text)}{plus}}}\r\n", text + after]
        client.take()
        if plus:
            client.send(f"t {''.join(pieces)}\r\n".encode())
        else:
            line = "t "
            for piece in pieces:
                line += piece
                if piece.endswith("}\r\n"):
                    client.send(line.encode())
                    assert client.take() == b"+ OK\r\n", command
                    line = ""
            client.send(line.encode() + b"\r\n")
        answer = client.take()
        assert b"t OK" in answer, (command, answer)
