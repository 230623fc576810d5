"""APPEND (RFC 9051 §6.3.12, RFC 4315, RFC 6855 §4, RFC 7889)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.imap.commands import append
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from tests.builders import OPERATOR
from tests.corpus import iter_corpus
from tests.transcripts.imap.dialogue import Client, Imap


def _append(client: Client, raw: bytes, arguments: bytes = b"INBOX") -> bytes:
    assert client.ask(b"a APPEND " + arguments + b" {%d}\r\n" % len(raw)) == b"+ OK\r\n"
    return client.ask(raw + b"\r\n")


def _body(client: Client, uid: int) -> bytes:
    answer = client.run(f"UID FETCH {uid} (RFC822.SIZE BODY.PEEK[])")
    start = answer.index(b"}\r\n") + 3
    size = int(answer[answer.rindex(b"{", 0, start) + 1 : start - 3])
    assert b"RFC822.SIZE %d " % size in answer[:start]
    assert answer[start + size :].startswith(b")\r\nt OK")
    return answer[start : start + size]


def test_flags_and_date_are_kept(imap: Imap) -> None:
    """RFC 3501 §6.3.11."""
    client = imap.sign_in()
    raw = b"From: Fred Foobar <foobar@Blurdybloop.COM>\r\nSubject: afternoon meeting\r\n\r\nHello Joe\r\n"
    answer = _append(client, raw, rb'INBOX (\Seen $Work) "17-Jul-1996 02:44:25 -0700"')
    assert answer.startswith(b"a OK [APPENDUID ")
    assert answer.endswith(b" 1] APPEND completed\r\n")
    client.run("SELECT INBOX")
    imap.transcript(r"""
        C: b FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)
        S: * 1 FETCH (FLAGS (\Seen $Work) INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE 85)
        S: b OK FETCH completed
        """)


def test_message_appears_in_the_selected_mailbox(imap: Imap) -> None:
    client = imap.sign_in(select="INBOX")
    assert _append(client, b"Subject: x\r\n\r\n").startswith(b"* 1 EXISTS\r\na OK [APPENDUID ")
    assert _append(client, b"Subject: x\r\n\r\n", b"Drafts").startswith(b"a OK [APPENDUID ")


def test_refusals(imap: Imap) -> None:
    client = imap.sign_in()
    assert _append(client, b"x", b"nowhere") == b"a NO [TRYCREATE] No such mailbox, create it first\r\n"
    assert _append(client, b"") == b"a NO [CANNOT] An empty message cannot be stored\r\n"
    assert client.ask(b"a APPEND INBOX {2+}\r\nhi)\r\n").startswith(b"a BAD ")
    assert client.ask(b"a APPEND INBOX (\\Nothing) {2+}\r\nhi\r\n").startswith(b"a BAD ")
    assert client.ask(b'a APPEND INBOX "32-Jul-1996 02:44:25 -0700" {2+}\r\nhi\r\n').startswith(b"a BAD ")
    assert b"MESSAGES 0" in client.run("STATUS INBOX (MESSAGES)")


def test_over_quota(imap: Imap) -> None:
    imap.services.users.set_quota(OPERATOR, imap.user.user_id, 1000)
    client = imap.sign_in()
    assert _append(client, b"Subject: x\r\n\r\n" + b"x" * 2000).startswith(b"a NO [OVERQUOTA]")


ODD = [
    pytest.param(b"x", id="one byte"),
    pytest.param(b"\r\n", id="only a line end"),
    pytest.param(b"A: b\nC: d\n\nbare\nlines\n", id="bare line feeds"),
    pytest.param(b"A: b\rC: d\r\rbare\r", id="bare carriage returns"),
    pytest.param(b"A: b\r\n\r\nno end of line", id="no line end"),
    pytest.param(b"A: b\r\n\r\nzero\0byte\r\n", id="NUL"),
    pytest.param(b"A: \xff\xfe\r\n\r\n\x80\x81\r\n", id="8-bit"),
    pytest.param("Subject: Grüße 📧\r\n\r\nÄ\r\n".encode(), id="UTF-8 header"),
    pytest.param(b"A: b\r\n\r\n" + b"x" * 300_000 + b"\r\n.\r\n", id="long line"),
    pytest.param(b" leading space\r\n\r\n)\r\na OK\r\n", id="what looks like the end of FETCH"),
]


@pytest.mark.parametrize("raw", ODD)
def test_bytes_come_back_as_they_came(imap: Imap, raw: bytes) -> None:
    """P2."""
    client = imap.sign_in(select="INBOX")
    assert b"a OK [APPENDUID " in _append(client, raw)
    assert _body(client, 1) == raw
    client.run("FETCH 1 (ENVELOPE BODYSTRUCTURE BODY)")


def test_corpus_comes_back_as_it_came(imap: Imap) -> None:
    """P2 on what others have seen."""
    client = imap.sign_in(select="INBOX")
    for number, (name, raw) in enumerate(iter_corpus(), 1):
        if number > 60:
            break
        assert b"a OK [APPENDUID " in _append(client, raw), name
        assert _body(client, number) == raw, name


def test_utf8_append(imap: Imap) -> None:
    """RFC 6855 §4."""
    client = imap.sign_in()
    raw = "Subject: ü\r\n\r\n".encode()
    refused = client.ask(b"a APPEND INBOX UTF8 (~{%d+}\r\n%b)\r\n" % (len(raw), raw))
    assert refused.startswith(b"a BAD ")
    client.run("ENABLE UTF8=ACCEPT")
    assert client.ask(b"b APPEND INBOX UTF8 (~{%d}\r\n" % len(raw)) == b"+ OK\r\n"
    assert client.ask(raw + b")\r\n").startswith(b"b OK [APPENDUID ")
    client.run("SELECT INBOX")
    assert _body(client, 1) == raw
    assert client.ask(b"c APPEND INBOX UTF8 ({2+}\r\nhi)\r\n").startswith(b"c BAD ")


def test_input_in_pieces(imap: Imap) -> None:
    client = imap.sign_in()
    raw = b"Subject: pieces\r\n\r\nx\r\n"
    for byte in b"a APPEND INBOX (\\Draft) {%d+}\r\n%b\r\n" % (len(raw), raw):
        client.send(bytes((byte,)))
    assert client.take().startswith(b"a OK [APPENDUID ")


# -- what was done is answered OK ---------------------------------------------------------------


def _do_behind(monkeypatch: pytest.MonkeyPatch, method: str, action: Callable[[], object]) -> None:
    """Have something happen right after something was done."""
    done = getattr(Messages, method)

    def and_then(self: Messages, *arguments: Any, **named: Any) -> Any:
        result = done(self, *arguments, **named)
        action()
        return result

    monkeypatch.setattr(Messages, method, and_then)


def _check_done_is_ok(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    client = imap.sign_in()
    client.run("CREATE Notes")
    client.run("SELECT Notes")
    _do_behind(monkeypatch, "append", lambda: imap.services.mailboxes.delete(imap.user.user_id, OPERATOR, "Notes"))
    assert b"a OK [APPENDUID " in _append(client, b"Subject: x\r\n\r\n", b"Notes")
    assert b"a OK [APPENDUID " not in client.ask(b"b NOOP\r\n")


def test_what_was_appended_is_answered_ok_though_the_selected_mailbox_is_gone(
    imap: Imap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise P7: whoever is told NO stores it again."""
    _check_done_is_ok(imap, monkeypatch)


def test_news_that_spoil_the_answer_would_be_seen(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of P7."""
    monkeypatch.setattr(append, "show_appended", lambda session, _: session.refresh())
    with pytest.raises(AssertionError):
        _check_done_is_ok(imap, monkeypatch)


def test_an_upload_to_sent_is_ok_though_our_copy_cannot_be_looked_for(
    imap: Imap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise P7: the shard is away when our own copy of the message is looked for."""

    def away(*_: object) -> None:
        raise StoreUnavailable

    client = imap.sign_in(select="INBOX")
    _do_behind(monkeypatch, "commit_rows", lambda: monkeypatch.setattr(Mailboxes, "refresh", away))
    assert b"a OK [APPENDUID " in _append(client, b"Message-ID: <1@here.test>\r\n\r\n", b'"Sent Mail"')
    assert client.ask(b"b NOOP\r\n").startswith(b"b NO [UNAVAILABLE]")
