"""Which parts become blobs, and that their bytes come back."""

from __future__ import annotations

import base64
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcore.message.mime_tree import scan
from mailcore.message.split import (
    BLOB_BYTES,
    CHUNK_BYTES,
    SKELETON_BYTES,
    TEXT_BLOB_BYTES,
    Codec,
    Cut,
    blob_span,
    choose_blobs,
    decode,
    encode,
    encode_chunks,
)
from tests.hostile import HOSTILE


def _lines(data: bytes, length: int = 76, line_end: bytes = b"\r\n") -> bytes:
    encoded = base64.b64encode(data)
    return line_end.join(encoded[at : at + length] for at in range(0, len(encoded), length))


def _message(body: bytes, fields: str = "Content-Type: image/png\r\nContent-Transfer-Encoding: base64") -> bytes:
    return fields.encode() + b"\r\n\r\n" + body


def _noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _cut(body: bytes) -> Cut:
    raw = _message(body)
    (cut,) = choose_blobs(scan(raw), raw)
    part = raw[cut.start : cut.end]
    stored = replace(cut, decoded=None)
    assert encode(decode(part, cut), cut) == part
    assert decode(part, stored) == decode(part, cut)
    return cut


EXACT = [
    pytest.param(_lines(_noise(40_000)), 76, b"\r\n", id="usual"),
    pytest.param(_lines(_noise(39_999)), 76, b"\r\n", id="whole last line"),
    pytest.param(_lines(_noise(40_001)), 76, b"\r\n", id="padded"),
    pytest.param(_lines(_noise(39_900)) + b"\r\n", 76, b"\r\n", id="line end behind"),
    pytest.param(_lines(_noise(40_000)) + b"\r\n\r\n\n", 76, b"\r\n", id="blank lines behind"),
    pytest.param(_lines(_noise(40_000), 60), 60, b"\r\n", id="60"),
    pytest.param(_lines(_noise(40_000), 72, b"\n"), 72, b"\n", id="72, LF"),
    pytest.param(_lines(_noise(40_000), 4), 4, b"\r\n", id="4"),
    pytest.param(_lines(_noise(40_000), 1000), 1000, b"\r\n", id="1000"),
    pytest.param(base64.b64encode(_noise(40_000)), 53_336, b"", id="one line"),
    pytest.param(b"AAAA" * 10_000, 40_000, b"", id="one line without padding"),
]


@pytest.mark.parametrize(("body", "length", "line_end"), EXACT)
def test_exact_base64_is_stored_decoded(body: bytes, length: int, line_end: bytes) -> None:
    cut = _cut(body)
    assert (cut.codec, cut.line_length, cut.line_end) == (Codec.BASE64, length, line_end)


USUAL = _lines(_noise(40_000))
INEXACT = [
    pytest.param(_lines(_noise(40_000), 73), id="lines not of whole quanta"),
    pytest.param(USUAL.replace(b"\r\n", b"\n", 1), id="mixed line ends"),
    pytest.param(USUAL[:78] + USUAL[80:], id="a shorter line"),
    pytest.param(USUAL[:156] + b"\r\n" + USUAL[156:], id="a blank line"),
    pytest.param(USUAL.replace(b"\r\n", b" \r\n"), id="blanks at line ends"),
    pytest.param(b"!" + USUAL[1:], id="foreign character"),
    pytest.param(b"-" + USUAL[1:], id="the other alphabet"),
    pytest.param(USUAL[:40] + b"\r\n" + USUAL[42:], id="line end within a line"),
    pytest.param(USUAL[:40] + b"=" + USUAL[41:], id="padding within"),
    pytest.param(_lines(_noise(40_000)).rstrip(b"="), id="padding missing"),
    pytest.param(USUAL[:-4] + b"QR==", id="padding bits"),
    pytest.param(USUAL + b"\r\nQUJD", id="more behind a short line"),
    pytest.param(b"\r\n" + USUAL, id="blank line first"),
    pytest.param(b"A" * 40_001, id="not of whole quanta"),
    pytest.param(b"=" * 40_000, id="padding only"),
    pytest.param(_noise(40_000), id="not base64"),
]


@pytest.mark.parametrize("body", INEXACT)
def test_inexact_base64_is_stored_as_it_is(body: bytes) -> None:
    """Promise P2: only what was proven is decoded."""
    assert _cut(body).codec is Codec.IDENTITY


def test_encoder_that_assumes_76_is_found_out() -> None:
    """Negative control: the usual re-encoding would change some of the bodies above."""
    changed = [case.id for case in EXACT if _lines(base64.b64decode(case.values[0])) != case.values[0]]
    assert {"60", "4", "1000", "one line"} <= set(changed)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(BLOB_BYTES, BLOB_BYTES + 300),
    length=st.sampled_from([4, 8, 60, 64, 72, 76, 100]),
    line_end=st.sampled_from([b"\r\n", b"\n"]),
    faults=st.lists(st.tuples(st.integers(0, 60_000), st.binary(max_size=3)), max_size=3),
)
def test_any_base64_comes_back(size: int, length: int, line_end: bytes, faults: list[tuple[int, bytes]]) -> None:
    body = bytearray(_lines(_noise(size), length, line_end))
    for at, put in faults:
        body[at % len(body) : at % len(body) + 1] = put
    cut = _cut(bytes(body))
    assert faults or cut.codec is Codec.BASE64


@pytest.mark.parametrize("length", [60, 64, 72, 76, 100])
@pytest.mark.parametrize("chunk", [1, 56, 57, 1000, 5700, CHUNK_BYTES])
def test_chunks_of_any_size_give_the_same(length: int, chunk: int) -> None:
    data = _noise(12_345)
    cut = Cut(0, 0, 0, Codec.BASE64, length, b"\r\n")
    chunks = [data[at : at + chunk] for at in range(0, len(data), chunk)]
    assert b"".join(encode_chunks(chunks, cut)) == _lines(data, length)
    assert b"".join(encode_chunks(chunks, Cut(0, 0, 0))) == data


def test_chunks_are_whole_lines() -> None:
    """Each chunk of the usual line lengths is encoded by itself, without copying what is left over."""
    assert CHUNK_BYTES <= 1 << 20
    assert [CHUNK_BYTES % (length // 4 * 3) for length in (76, 72, 64, 60)] == [0, 0, 0, 0]


@pytest.mark.parametrize("length", [60, 76])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_range_of_a_blob(length: int, line_end: bytes) -> None:
    """BODY[]<partial> needs a few lines of the blob, not all of it."""
    data = _noise(3000)
    encoded = _lines(data, length, line_end)
    cut = Cut(0, 0, len(encoded), Codec.BASE64, length, line_end)
    rng = random.Random(5)
    for _ in range(300):
        start = rng.randrange(len(encoded))
        end = rng.randrange(start + 1, len(encoded) + 1)
        span = blob_span(cut, start, end, len(data))
        lines = encode(data[span.start : span.end], cut)
        assert lines[span.skip : span.skip + end - start] == encoded[start:end]
        assert span.end - span.start <= (end - start) + 3 * length
    assert blob_span(Cut(0, 0, 9), 3, 7, 9).start == 3


def test_sizes_decide() -> None:
    """DESIGN section 3.6: 32 KB, text 256 KB."""

    def parts(kind: str, size: int) -> int:
        raw = _message(b"x" * size, f"Content-Type: {kind}")
        return len(choose_blobs(scan(raw), raw))

    assert [parts("image/png", size) for size in (BLOB_BYTES - 1, BLOB_BYTES)] == [0, 1]
    assert [parts("text/plain", size) for size in (TEXT_BLOB_BYTES - 1, TEXT_BLOB_BYTES)] == [0, 1]


def test_skeleton_stays_below_its_limit_largest_first() -> None:
    """1,000 inline images of 31 KB: as many become blobs as must."""
    raw = next(message for message in HOSTILE if message.name == "inline-images-1000-of-31-kb").build()
    tree = scan(raw)
    cuts = choose_blobs(tree, raw)
    left = len(raw) - sum(cut.size for cut in cuts)
    assert SKELETON_BYTES - 32 * 1024 < left <= SKELETON_BYTES
    assert all(cut.codec is Codec.BASE64 for cut in cuts)
    sizes = [(b"--b\r\nContent-Type: a/b\r\n\r\n" + b"x" * size + b"\r\n") for size in (2000, 30_000, 500, 31_000)]
    small = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(sizes) + b"--b--"
    assert [cut.part_index for cut in choose_blobs(scan(small), small, skeleton_bytes=40_000)] == [4]
    assert [cut.part_index for cut in choose_blobs(scan(small), small, skeleton_bytes=10)] == [1, 2, 4]
