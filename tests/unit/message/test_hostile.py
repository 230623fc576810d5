"""Attack M1: messages built to hurt, held to everything that holds for a message."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from mailcore.message.body_structure import serialize_body_structure
from mailcore.message.envelope import serialize_envelope
from mailcore.message.mime_tree import scan
from mailcore.model.limits import ScanLimits
from tests.hostile import HOSTILE, MIB, HostileMessage
from tests.unit.message.checks import check_message, depth
from tests.unit.message.imap_grammar import imapclient_reads

_BY_NAME = {message.name: message for message in HOSTILE}


def _each(*, large: bool) -> list[object]:
    return [pytest.param(message, id=message.name) for message in HOSTILE if message.is_large == large]


@pytest.mark.parametrize("message", _each(large=False))
def test_hostile_message_is_understood_or_opaque(message: HostileMessage) -> None:
    check_message(message.build())


@pytest.mark.parametrize("message", _each(large=True))
def test_large_hostile_message_is_understood_or_opaque(message: HostileMessage) -> None:
    check_message(message.build())


@pytest.mark.parametrize("message", _each(large=False))
def test_second_parser_reads_what_hostile_messages_give(message: HostileMessage) -> None:
    """Attack N10: no header can make a response that a client reads otherwise."""
    raw = message.build()
    tree = scan(raw)
    envelope = imapclient_reads("ENVELOPE", serialize_envelope(raw[: tree.root.body_start]))
    assert envelope.message_id is None or isinstance(envelope.message_id, bytes)
    structure = imapclient_reads("BODYSTRUCTURE", serialize_body_structure(tree, raw))
    assert structure.is_multipart == tree.root.is_multipart


@pytest.mark.parametrize(
    ("name", "parts", "truncated"),
    [
        pytest.param("multiparts-10000-deep", 101, True, id="depth"),
        pytest.param("parts-100000", 10_000, True, id="parts"),
        pytest.param("messages-1000-nested", 101, True, id="messages"),
        pytest.param("header-of-3-mb-type-behind-the-limit", 1, True, id="header"),
        pytest.param("inline-images-1000-of-31-kb", 1002, False, id="images"),
        pytest.param("boundary-prefix-of-another", 7, False, id="prefix"),
        pytest.param("boundary-of-70000-characters", 3, False, id="boundary"),
    ],
)
def test_limits_end_the_structure(name: str, parts: int, *, truncated: bool) -> None:
    """DESIGN: 10,000 parts, depth 100, headers 1 MB; what is beyond is opaque."""
    tree = scan(_BY_NAME[name].build())
    assert (len(tree.parts), tree.truncated) == (parts, truncated)
    if truncated and parts > 1:
        assert (tree.parts[-1].type, tree.parts[-1].subtype) == ("application", "octet-stream")


def test_without_limits_the_same_messages_go_beyond_them() -> None:
    """Negative control: it is the limits that hold them."""
    none = ScanLimits(parts=10**9, depth=10**9, header_bytes=10**9)
    assert depth(scan(_BY_NAME["messages-1000-nested"].build(), none)) == 1001
    assert len(scan(_BY_NAME["parts-100000"].build(), none).parts) == 100_001
    assert scan(_BY_NAME["header-of-3-mb-type-behind-the-limit"].build(), none).root.is_multipart


_MEASURE = """
import re, sys
from pathlib import Path
from mailcore.message.mime_tree import scan
from mailcore.message.envelope import serialize_envelope
from mailcore.message.body_structure import serialize_body_structure
from mailcore.message.split import choose_blobs
from mailcore.message.text import searchable_text
import charset_normalizer

def kib(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

def parse(raw):
    tree = scan(raw)
    return tree, serialize_envelope(raw[:tree.root.body_start]), serialize_body_structure(tree, raw), \\
        choose_blobs(tree, raw), searchable_text(raw, tree, 65536)

def waste(raw):
    return [bytes(bytearray(raw)) for _ in range(4)], bytearray(b"x" * (24 << 20))

raw = sys.stdin.buffer.read(int(sys.argv[2]))
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = kib("VmRSS")
kept = globals()[sys.argv[1]](raw)
print(len(raw), (kib("VmHWM") - before) * 1024)
"""


def _bytes_used(function: str, raw: bytes) -> int:
    """Peak memory of a function of `_MEASURE` in a process of its own, the message included.

    Not ru_maxrss: that begins with the peak of the process which started this one.
    """
    command = [sys.executable, "-c", _MEASURE, function, str(len(raw))]
    done = subprocess.run(command, input=raw, capture_output=True, check=True)
    size, grown = map(int, done.stdout.split())
    assert size == len(raw)
    return size + grown


@pytest.mark.parametrize(
    "name",
    [
        *["parts-100000", "line-of-50-mb", "headers-100000", "multiparts-10000-deep", "inline-images-1000-of-31-kb"],
        *["addresses-100000", "messages-5000-with-many-recipients", "html-that-never-closes", "lines-1000000-empty"],
    ],
)
def test_memory_is_a_small_multiple_of_the_message(name: str) -> None:
    """Attack M1: less than four times the size and 20 MB."""
    raw = _BY_NAME[name].build()
    assert _bytes_used("parse", raw) < 4 * len(raw) + 20 * MIB


def test_measurement_sees_memory_that_is_wasted() -> None:
    """Negative control: four copies and 24 MB are found, large message or small."""
    for name in ("line-of-50-mb", "headers-100000"):
        raw = _BY_NAME[name].build()
        assert _bytes_used("waste", raw) >= 4 * len(raw) + 20 * MIB


@pytest.mark.soak
@pytest.mark.parametrize("message", _each(large=False) + _each(large=True))
def test_hostile_messages_cost_less_than_2_s_per_mb(message: HostileMessage) -> None:
    """Attack M1."""
    raw = message.build()
    start = time.process_time()
    tree = scan(raw)
    serialize_envelope(raw[: tree.root.body_start])
    serialize_body_structure(tree, raw)
    assert time.process_time() - start < 2 * max(len(raw) / MIB, 0.05)
