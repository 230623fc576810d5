"""The end of DATA, dots, line ends and chunks; smuggling (attack N3)."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.smtp.wire.data_reader import ChunkReader, DataReader

END = b"\r\n.\r\n"


def read(wire: bytes, cut: int, limit: int = 1 << 20) -> tuple[bytes | None, bytes | None]:
    """Feed in two pieces cut at `cut`; return message and rest, both None if no end was found."""
    reader = DataReader(limit)
    for piece, after in ((wire[:cut], wire[cut:]), (wire[cut:], b"")):
        if not piece:
            continue
        rest = reader.feed(piece)
        if rest is not None:
            return reader.message(), rest + after
    return None, None


def read_bytewise(wire: bytes, limit: int = 1 << 20) -> tuple[bytes | None, bytes | None]:
    reader = DataReader(limit)
    for index in range(len(wire)):
        rest = reader.feed(wire[index : index + 1])
        if rest is not None:
            return reader.message(), rest + wire[index + 1 :]
    return None, None


CASES = [
    pytest.param(b".\r\n", b"", id="empty"),
    pytest.param(b"a\r\n.\r\n", b"a\r\n", id="one-line"),
    pytest.param(b"\r\n.\r\n", b"\r\n", id="one-empty-line"),
    pytest.param(b"..\r\n.\r\n", b".\r\n", id="first-line-a-dot"),
    pytest.param(b"a\r\n..\r\n...b\r\n.c\r\n.\r\n", b"a\r\n.\r\n..b\r\nc\r\n", id="stuffed"),
    pytest.param(b"a\r\n....\r\n..\r\n..\r\n.\r\n", b"a\r\n...\r\n.\r\n.\r\n", id="dots-in-a-row"),
    pytest.param(b"a.\r\n.\r\n", b"a.\r\n", id="dot-at-line-end"),
    pytest.param(b"a\x00b\r\n.\r\n", b"a\x00b\r\n", id="nul-kept"),
    pytest.param("grüße\r\n.\r\n".encode(), "grüße\r\n".encode(), id="8bit"),
]


@pytest.mark.parametrize(("wire", "message"), CASES)
def test_message_ends_at_the_dot_wherever_the_input_is_cut(wire: bytes, message: bytes) -> None:
    rest = b"MAIL FROM:<>\r\n"
    for cut in range(len(wire) + len(rest)):
        assert read(wire + rest, cut) == (message, rest)
    assert read_bytewise(wire + rest) == (message, rest)


SMUGGLES = [
    pytest.param(b"\n.\n", b"\r\n.\r\n", id="LF.LF"),
    pytest.param(b"\n.\r\n", b"\r\n.\r\n", id="LF.CRLF"),
    pytest.param(b"\r\n.\n", b"\r\n\r\n", id="CRLF.LF"),
    pytest.param(b"\r.\r", b"\r\n.\r\n", id="CR.CR"),
    pytest.param(b"\r.\r\n", b"\r\n.\r\n", id="CR.CRLF"),
    pytest.param(b"\r\n.\r", b"\r\n\r\n", id="CRLF.CR"),
    pytest.param(b"\n.\r", b"\r\n.\r\n", id="LF.CR"),
    pytest.param(b"\r.\n", b"\r\n.\r\n", id="CR.LF"),
    pytest.param(b"\r\n\x00.\r\n", b"\r\n\x00.\r\n", id="NUL-before-dot"),
    pytest.param(b"\r\n.\x00\r\n", b"\r\n\x00\r\n", id="NUL-behind-dot"),
    pytest.param(b"\r\n.\r\x00\n", b"\r\n\r\n\x00\r\n", id="NUL-in-CRLF"),
    pytest.param(b"\r\r\n.\n", b"\r\n\r\n\r\n", id="CRCRLF.LF"),
]


@pytest.mark.parametrize(("inside", "stored"), SMUGGLES)
def test_nothing_but_crlf_dot_crlf_ends_data(inside: bytes, stored: bytes) -> None:
    """Attack N3: what looks like an end to others stays content, and is stored with CRLF line ends."""
    head, tail = b"Subject: x\r\n\r\nhello", b"MAIL FROM:<evil@x.test>\r\nDATA\r\nsmuggled"
    wire = head + inside + tail + END
    expected = head + stored + tail + b"\r\n"
    for cut in range(len(wire)):
        assert read(wire, cut) == (expected, b"")
    assert read_bytewise(wire) == (expected, b"")


def test_negative_control_a_lenient_reader_is_fooled() -> None:
    """With the end that many servers took, every LF.LF variant would be found as an end."""
    wire = b"hello\n.\nMAIL FROM:<evil@x.test>\r\n.\r\n"
    lenient = wire.replace(b"\r\n", b"\n").find(b"\n.\n")
    assert lenient >= 0
    assert read(wire, 3) == (b"hello\r\n.\r\nMAIL FROM:<evil@x.test>\r\n", b"")


def model(wire: bytes) -> tuple[bytes, bytes] | None:
    """The rules spelled out byte by byte: what the reader must equal."""
    message, position, line_starts = bytearray(), 0, True
    while position < len(wire):
        if line_starts and wire[position : position + 3] == b".\r\n":
            return bytes(message), wire[position + 3 :]
        if line_starts and wire[position : position + 1] == b".":
            position += 1
            line_starts = False
            continue
        if wire[position : position + 2] == b"\r\n":
            message += b"\r\n"
            position += 2
            line_starts = True
            continue
        byte = wire[position : position + 1]
        message += b"\r\n" if byte in (b"\r", b"\n") else byte
        line_starts = False
        position += 1
    return None


def test_every_short_input_equals_the_rules() -> None:
    """All inputs of up to 7 octets over the alphabet that matters."""
    for length in range(8):
        for letters in product((b"\r", b"\n", b".", b"a"), repeat=length):
            wire = b"".join(letters)
            expected = model(wire + END)
            assert expected is not None
            assert read(wire + END, length) == expected, wire


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\x00", b"\r\n", b"\r\n."]), max_size=40), st.data())
def test_random_inputs_and_cuts_equal_the_rules(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(parts) + END + b"rest"
    cut = data.draw(st.integers(0, len(wire)))
    assert read(wire, cut) == model(wire)


def test_message_over_the_limit_is_read_on_in_bounded_memory() -> None:
    reader = DataReader(10_000)
    piece = b"x" * 998 + b"\r\n"
    for _ in range(1000):
        assert reader.feed(piece) is None
        assert len(reader._buffer) < 15_000
    assert reader.feed(b".\r\nQUIT\r\n") == b"QUIT\r\n"
    assert reader.message() is None
    assert reader.is_too_large


def test_limit_counts_what_will_be_stored() -> None:
    lines = 100
    wire = b"..\r\n" * lines + b".\r\n"  # 4 octets on the wire for 3
    assert read(wire, 7, limit=3 * lines) == (b".\r\n" * lines, b"")
    assert read(wire, 7, limit=3 * lines - 1) == (None, b"")
    grown = b"\n" * 50 + b"\r\n.\r\n"
    assert read(grown, 3, limit=102) == (b"\r\n" * 51, b"")
    assert read(grown, 3, limit=101) == (None, b"")


def test_chunks_keep_every_octet() -> None:
    content = bytes(range(256)) * 3 + b"\r\n.\r\nQUIT\r\n\n.\n"
    randomness = random.Random(7)
    for _ in range(50):
        reader = ChunkReader(10_000)
        position = 0
        while position < len(content):
            size = randomness.randint(1, 300)
            chunk = content[position : position + size]
            position += size
            reader.expect(len(chunk), position >= len(content))
            cut = randomness.randint(0, len(chunk) - 1)
            if cut:
                assert reader.feed(chunk[:cut]) is None
            assert reader.feed(chunk[cut:] + b"BDAT") == b"BDAT"
        assert reader.is_last
        assert reader.message() == content


def test_chunks_over_the_limit_are_thrown_away() -> None:
    reader = ChunkReader(100)
    reader.expect(60, is_last=False)
    assert reader.feed(b"x" * 60) == b""
    reader.expect(10**18, is_last=True)
    for _ in range(100):
        assert reader.feed(b"y" * 65536) is None
    assert len(reader._buffer) == 0
    assert reader.message() is None
