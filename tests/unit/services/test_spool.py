"""What lies in a file reads like bytes, and is stored as they are."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcore.errors import MessageTooLarge
from mailcore.message.split import CHUNK_BYTES
from mailcore.model.limits import ScanLimits
from mailcore.services.content import spool as spool_module
from mailcore.services.content.prepared import PreparedMessage, prepare_message
from mailcore.services.content.spool import Spool, gathered
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import chunk_count
from mailcore.store.message.skeleton import SkeletonCodec


def spooled(data: bytes) -> Spool:
    made = Spool()
    made.write(data)
    return made


@pytest.fixture(params=[7, 64])
def small_windows(request: pytest.FixtureRequest) -> Iterator[None]:
    """Windows so small that everything crosses their edges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "WINDOW_BYTES", request.param)
        patch.setattr(spool_module, "LOOK_BACK_BYTES", 3)
        yield


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=9), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_answers_as_bytes_do(small_windows: None, data: bytes, wanted: bytes, draw: st.DataObject) -> None:
    made = spooled(data)
    assert len(made) == len(data)
    for _ in range(5):
        start, end = (draw.draw(st.integers(0, len(data) + 3)) for _ in range(2))
        assert made[start:end] == data[start:end]
        assert made.find(wanted, start, end) == data.find(wanted, start, end)
        assert made.count(wanted[:1], start, end) == data.count(wanted[:1], start, end)
        if start < len(data):
            assert made[start] == data[start]
    assert made.find(wanted) == data.find(wanted)
    inside = data[len(data) // 3 : len(data) // 2]
    assert made.find(inside) == data.find(inside)


def attached(data: bytes, width: int, end: bytes) -> bytes:
    text = base64.b64encode(data)
    lines = end.join(text[at : at + width] for at in range(0, len(text), width))
    return (
        b'Content-Type: multipart/mixed; boundary="b-b"\r\n\r\n--b-b\r\n\r\n- text -\r\n--b-b\r\nContent-Type: x/y\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n" + lines + b"\r\n--b-b--\r\n"
    )


BIG = os.urandom(3 * CHUNK_BYTES + 12_345)
CASES = {
    "usual": attached(BIG, 76, b"\r\n"),
    "short lines": attached(BIG, 60, b"\n"),
    "padding": attached(BIG[:-1], 72, b"\r\n"),
    "one line": attached(BIG[:60_001], 100_000_000, b""),
    "odd line": attached(BIG, 76, b"\r\n").replace(b"\r\n", b"\r\n\r\n", 30_000),
    "not base64": attached(BIG, 76, b"\r\n").replace(b"A", b"*"),
    "padding inside": attached(BIG[:-1], 76, b"\r\n").replace(b"AAAA", b"AA=="),
    "binary": attached(b"", 76, b"\r\n").replace(b"base64\r\n\r\n", b"binary\r\n\r\n" + BIG),
    "text": b"Subject: x\r\n\r\n" + b"word and word\r\n" * 60_000,
    "no header end": b"Subject: x\r\n" * 100_000,
    "header": b"X: y\r\n" * 100_000 + b"\r\nbody",
    "empty": b"",
}


@pytest.mark.parametrize("raw", CASES.values(), ids=CASES)
def test_it_is_prepared_as_bytes_are(raw: bytes) -> None:
    """Equal in all that is stored, chunk by chunk."""
    check_prepared_alike(raw)


def check_prepared_alike(raw: bytes) -> None:
    codec = SkeletonCodec()
    one, other = prepare_message(raw, ScanLimits(), codec), prepare_message(spooled(raw), ScanLimits(), codec)
    assert parts_of(one) == parts_of(other)
    assert len(one.blobs) == len(other.blobs)
    for mine, theirs in zip(one.blobs, other.blobs, strict=True):
        assert (mine.cut.start, mine.cut.end, mine.cut.codec) == (theirs.cut.start, theirs.cut.end, theirs.cut.codec)
        assert len(mine.data) == len(theirs.data)
        assert blob_address(b"key", mine.data) == blob_address(b"key", theirs.data)
        for number in range(chunk_count(len(mine.data))):
            chunk = slice(number * CHUNK_BYTES, (number + 1) * CHUNK_BYTES)
            assert mine.data[chunk] == theirs.data[chunk]
        assert mine.data[5:7] == theirs.data[5:7]
        assert mine.data[1000:100_001] == theirs.data[1000:100_001]


def parts_of(prepared: PreparedMessage) -> tuple[object, ...]:
    return (
        prepared.tree.parts,
        prepared.raw_sha256,
        prepared.skeleton,
        prepared.envelope,
        prepared.body_structure,
        prepared.search_text,
        prepared.preview,
        prepared.size_bytes,
    )


def test_a_proof_that_looks_at_the_first_piece_only_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: what is no regular base64 further on is taken for it."""
    raw = CASES["usual"]
    damaged = raw[:3_000_000] + b"*" + raw[3_000_001:]
    check_prepared_alike(damaged)
    monkeypatch.setattr("mailcore.message.split._is_proven_by_pieces", lambda *_: True)
    with pytest.raises((AssertionError, ValueError)):
        check_prepared_alike(damaged)


def test_what_is_gathered_is_bounded() -> None:
    assert gathered([b"a", b"b"], 2) == b"ab"
    large = gathered([bytes(700_000)] * 3, 3 << 20)
    assert isinstance(large, Spool)
    assert len(large) == 2_100_000
    with pytest.raises(MessageTooLarge):
        gathered([b"abc"], 2)
