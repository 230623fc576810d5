"""Replies of other servers, whole and in pieces (RFC 5321 §4.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import SyntaxFault
from mailcore.smtp.wire.replies import Reply
from mailcore.smtp.wire.reply_reader import ReplyReader

CASES = [
    pytest.param(b"250 OK\r\n", Reply(250, "", ("OK",)), id="plain"),
    pytest.param(b"250 2.1.5 OK\r\n", Reply(250, "2.1.5", ("OK",)), id="enhanced"),
    pytest.param(b"250\r\n", Reply(250, "", ("",)), id="bare code"),
    pytest.param(b"550-5.1.1 No\r\n550 5.1.1 such\r\n", Reply(550, "5.1.1", ("No", "such")), id="two lines"),
    pytest.param(b"550 4.1.1 contradicts\r\n", Reply(550, "", ("4.1.1 contradicts",)), id="class differs"),
    pytest.param(b"421 bare LF\n", Reply(421, "", ("bare LF",)), id="bare LF"),
    pytest.param(b"550 a\x1b[2Jb\xff\r\n", Reply(550, "", ("a [2Jb�",)), id="nothing that moves a cursor"),
]


@pytest.mark.parametrize(("wire", "reply"), CASES)
def test_reply_is_read_however_it_is_cut(wire: bytes, reply: Reply) -> None:
    whole, single = ReplyReader(), ReplyReader()
    whole.feed(wire + b"2")
    assert whole.next() == reply
    assert whole.next() is None
    for at in range(len(wire)):
        assert single.next() is None
        single.feed(wire[at : at + 1])
    assert single.next() == reply
    assert single.is_empty


@pytest.mark.parametrize(
    "wire",
    [b"hello\r\n", b"999 x\r\n", b"25 x\r\n", b"250x\r\n", b"250-a\r\n550 b\r\n", b"a" * 5000, b"250-x\r\n" * 201],
    ids=["word", "class", "short", "letter", "two codes", "endless line", "endless reply"],
)
def test_what_is_no_reply_is_refused(wire: bytes) -> None:
    reader = ReplyReader()
    reader.feed(wire)
    with pytest.raises(SyntaxFault):
        reader.next()


@given(st.binary(max_size=200))
def test_any_input_is_a_reply_or_a_syntax_fault(data: bytes) -> None:
    reader = ReplyReader()
    reader.feed(data)
    try:
        while reader.next() is not None:
            pass
    except SyntaxFault:
        pass
