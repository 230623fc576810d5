"""Content on the wire (RFC 5321 §4.5.2): CRLF only, dots doubled, however it is cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.smtp.wire import content
from mailcore.smtp.wire.content import wire_content
from mailcore.smtp.wire.data_reader import DataReader

SMUGGLED = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@y.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n")
ENDS += (b"\r\n.\x00\r\n", b"\r\n.\r\n")
LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def on_the_wire(message: bytes, cut: int = 0) -> bytes:
    pieces = [message] if not cut else [message[at : at + cut] for at in range(0, len(message), cut)]
    return b"".join(wire_content(pieces))


def ends(wire: bytes) -> int:
    """How often a server that takes only CRLF.CRLF sees the end of a message."""
    return (b"\r\n" + wire).count(b"\r\n.\r\n")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_nothing_is_smuggled_out(end: bytes, cut: int) -> None:
    """Attack N4: whatever a message holds, one end goes over the wire, no bare CR or LF."""
    wire = on_the_wire(b"Subject: x\r\n\r\nhello" + end + SMUGGLED, cut)
    assert ends(wire) == 1
    assert wire.endswith(b"\r\n.\r\n")
    assert LONE.search(wire) is None


def test_content_sent_as_it_is_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(content, "_LONE", re.compile(rb"(?!)"))
    wire = on_the_wire(b"Subject: x\r\n\r\nhello\n.\n" + SMUGGLED)
    assert LONE.search(wire) is not None


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\x00", b"..", b"\xff"])), st.integers(0, 4))
def test_what_arrives_is_what_was_sent(pieces: list[bytes], cut: int) -> None:
    """A reader of DATA gets the message with each line end made CRLF, and one at its end."""
    message = b"".join(pieces)
    wire = on_the_wire(message, cut)
    assert LONE.search(wire) is None
    reader = DataReader(1 << 20)
    assert reader.feed(wire) == b""
    expected = LONE.sub(b"\r\n", message)
    assert reader.message() == (expected if not expected or expected.endswith(b"\r\n") else expected + b"\r\n")
