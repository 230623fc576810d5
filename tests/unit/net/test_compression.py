"""Compressed connections: what arrives is what was sent, bombs end them, and waiting takes little (N8)."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.net import compression
from mailcore.net.compression import PIECE_BYTES, Inflater, StreamRefused, deflate
from tests.unit.net.echo import read, serving, until


class Sender:
    """The client's half: one stream for the whole connection, as clients do it."""

    def __init__(self, level: int = 6) -> None:
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, -15)

    def send(self, data: bytes) -> bytes:
        """Return `data` compressed and flushed."""
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


@given(
    st.lists(st.binary(max_size=200) | st.sampled_from([b"a FETCH 1:* (FLAGS)\r\n", b"x" * 5000]), max_size=12),
    st.sampled_from([1, 3, 1000]),
    st.booleans(),
)
def test_input_is_what_was_sent(words: list[bytes], piece: int, rests: bool) -> None:
    """However it is cut, and though the inflater is thrown away whenever the client pauses."""
    sender, inflater = Sender(), Inflater()
    got = b""
    for word in words:
        data = sender.send(word)
        for start in range(0, len(data), piece):
            got += b"".join(inflater.inflate(data[start : start + piece]))
        if rests:
            inflater.rest()
            assert inflater.is_at_rest
    assert got == b"".join(words)


def test_history_reaches_back_over_rests() -> None:
    """A client may refer to anything in its last 32 KiB."""
    noise = random.Random(1).randbytes(30_000)
    sender, inflater = Sender(9), Inflater()
    for _ in range(3):
        data = sender.send(noise)
        assert b"".join(inflater.inflate(data)) == noise
        inflater.rest()
    assert len(data) < 1000


def test_rest_waits_for_a_flush() -> None:
    """In the middle of a block the state is kept."""
    inflater = Inflater()
    data = Sender().send(b"hello " * 100)
    list(inflater.inflate(data[:-2]))
    inflater.rest()
    assert not inflater.is_at_rest
    list(inflater.inflate(data[-2:]))
    inflater.rest()
    assert inflater.is_at_rest


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6))
def test_output_is_one_stream(writes: list[bytes]) -> None:
    """Writes deflated apart are read by one inflater."""
    reader = zlib.decompressobj(-15)
    for data in writes:
        assert reader.decompress(deflate(data)) == data


def test_output_refers_to_no_earlier_output() -> None:
    """The length of a response says nothing of another."""
    secret = random.Random(2).randbytes(40).hex().encode()
    assert len(deflate(secret)) == len(deflate(secret))
    assert len(deflate(b"guess: " + secret)) > len(secret) // 2


def _bomb(size: int) -> bytes:
    return Sender(9).send(b"x" * size)


def test_a_bomb_is_refused() -> None:
    inflater = Inflater()
    taken = 0
    tracemalloc.start()
    with pytest.raises(StreamRefused):
        for piece in inflater.inflate(_bomb(64 << 20)):
            assert len(piece) <= PIECE_BYTES
            taken += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 12 << 20
    assert peak < 65 << 20  # the bomb's own making is in it


def test_bomb_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: all of it would come out."""
    monkeypatch.setattr(compression, "MAX_RATIO", 1 << 30)
    assert sum(map(len, Inflater().inflate(_bomb(16 << 20)))) == 16 << 20


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", zlib.compress(b"x"), b"a NOOP\r\n" * 3])
def test_what_is_no_stream_is_refused(data: bytes) -> None:
    with pytest.raises(StreamRefused):
        list(Inflater().inflate(data + b"\xff" * 20))


@given(st.binary(max_size=400))
def test_no_input_raises_anything_else(data: bytes) -> None:
    inflater = Inflater()
    try:
        for byte in data:
            list(inflater.inflate(bytes((byte,))))
            inflater.rest()
    except StreamRefused:
        pass


def test_the_client_ends_its_stream() -> None:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    with pytest.raises(StreamRefused):
        list(Inflater().inflate(compressor.compress(b"x") + compressor.flush(zlib.Z_FINISH)))


def test_a_compressed_dialogue() -> None:
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        client.sendall(b"DEFLATE\r\n")
        read(client, b"packed\r\n")
        sender, reader = Sender(), zlib.decompressobj(-15)
        for _ in range(3):
            for byte in sender.send(b"one\r\ntwo\r\n"):
                client.sendall(bytes((byte,)))
            answer = b""
            while answer.count(b"\n") < 2:
                answer += reader.decompress(client.recv(1000))
            assert answer == b"one\r\ntwo\r\n"
        (pump,) = served.listener._pumps
        until(lambda: not pump._running)
        assert pump._inflater is not None
        assert pump._inflater.is_at_rest


def test_a_bomb_ends_the_connection_with_a_word() -> None:
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        client.sendall(b"DEFLATE\r\n")
        read(client, b"packed\r\n")
        client.sendall(_bomb(256 << 20)[: 200 << 10])
        answer = b""
        try:
            while data := client.recv(65536):
                answer += data
        except ConnectionResetError:
            pass  # it closed while we were still sending
        assert zlib.decompressobj(-15).decompress(answer) == b"too much\r\n"
        assert served.connections[0].size < 40 << 20
        until(lambda: not served.listener.connections)
