"""Attack M2: no header, address list, encoded word, date, parameter or text takes the square of its length.

Counted are the lines of Python that run for n and for 2 n. What runs within one call of C is not counted so: that
is timed in soak, and here fed with 1 MB, where anything quadratic would exceed the time limit of a test.
"""

# ruff: noqa: E501 - tables of messages

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from mailcore.errors import MessageMalformed
from mailcore.message.addresses import list_addresses
from mailcore.message.body_structure import body_from_body_structure, serialize_body_structure
from mailcore.message.dates import parse_date
from mailcore.message.encoded_words import decode_header
from mailcore.message.envelope import message_ids, serialize_envelope
from mailcore.message.headers import filter_fields, find_first, iter_fields, light_header_block
from mailcore.message.html_text import visible_text
from mailcore.message.mime_tree import scan
from mailcore.message.outgoing import Outgoing, parse_mailboxes
from mailcore.message.parameters import parse_parameterized
from mailcore.message.text import normalize
from mailcore.model.dkim import DkimAlgorithm
from mailcore.services.inbound.arc import arc_set
from mailcore.services.outbound.dkim_private_keys import new_key
from mailcore.services.outbound.dkim_signatures import Signer, signature_fields
from mailcore.services.outbound.sender_check import _in_name

MIB = 1024 * 1024
GROWTH = 2.6
RSA_KEY = new_key(DkimAlgorithm.RSA)


def _structure(raw: bytes) -> bytes:
    return body_from_body_structure(serialize_body_structure(scan(raw), raw))


def _bytes_of(piece: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: before + piece * (size // len(piece)) + after


def _text_of(piece: str) -> Callable[[int], str]:
    return lambda size: piece * (size // len(piece))


def _all_fields(raw: bytes) -> int:
    """Keeps none: a list of them would time the garbage collector, which walks what is kept again and again."""
    return sum(1 for _ in iter_fields(raw))


def _outgoing(raw: bytes) -> object:
    try:
        return Outgoing.read(raw)
    except MessageMalformed as malformed:
        return malformed


def _signed(raw: bytes) -> bytes:
    return signature_fields(raw, "b.c", [Signer("s", DkimAlgorithm.ED25519, base64.b64encode(bytes(32)))])


def _sealed(raw: bytes) -> bytes:
    return arc_set(raw, "b.c", Signer("s", DkimAlgorithm.RSA, RSA_KEY.private_key.reveal()), "b.c")


def _multiparts(size: int) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(size // 50))


CASES: list[Any] = [
    *[
        pytest.param(list_addresses, _bytes_of(piece), id=f"addresses {piece!r}")
        for piece in (b"<", b">", b"(", b")", b'"', b"\\", b'"\\', b",", b";", b":", b"@", b"g:", b"a ", b"<@", b"<a@b", b"a@b,", b"(\\", b"[", b"<@a,", b'"a" ')
    ],
    *[
        pytest.param(decode_header, _bytes_of(piece), id=f"encoded words {piece!r}")
        for piece in (b"=?", b"=?utf-8?q?", b"=?utf-8?q?a?= ", b"=?u?b?", b"?", b"=", b" \r\n ", b"\xe9", b"=?utf-8?b?w6k=?=")
    ],
    *[
        pytest.param(parse_parameterized, _bytes_of(piece, b"a/b; "), id=f"parameters {piece!r}")
        for piece in (b";", b"=", b'"', b"\\", b"a", b"a=", b"a=b;", b"f*0=x;", b"f*=x;", b"(", b'x="', b" ", b"'", b"%", b";a", b"\xe9=\xe9;")
    ],
    *[
        pytest.param(parse_date, _bytes_of(piece), id=f"date {piece!r}") for piece in (b"1 ", b"Wed, ", b":", b" ", b"(", b"+", b"\xff")
    ],
    *[
        pytest.param(function, _bytes_of(piece), id=f"{function.__name__} {piece!r}")
        for function in (scan, serialize_envelope, light_header_block, _all_fields)
        for piece in (b"A: b\r\n", b"To: a@b,\r\n ", b"\r\n ", b"\n", b" ", b":", b"Content-Type: a/b; c=d\r\n", b"subject", b"\nTo:")
    ],
    pytest.param(lambda raw: filter_fields(raw, (b"a", b"b")), _bytes_of(b"A: b\r\n B: c\r\nB"), id="filter"),
    pytest.param(lambda raw: find_first(raw, b"subject"), _bytes_of(b"subject\n"), id="find"),
    pytest.param(lambda raw: message_ids(raw, b"references"), _bytes_of(b"<", b"References: "), id="message ids <"),
    pytest.param(lambda raw: message_ids(raw, b"references"), _bytes_of(b"<a@b> ", b"References: "), id="message ids"),
    *[
        pytest.param(scan, _bytes_of(piece, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"), id=f"scan multipart {piece!r}")
        for piece in (b"--b\r\n", b"--b\r\n\r\n", b"--bb\r\n", b"--b\r\nA: b\r\n", b"-", b"\n--", b"--b", b"--b--\r\n", b"--b\r\nContent-Type: message/rfc822\r\n\r\n")
    ],
    *[
        pytest.param(parse_mailboxes, _bytes_of(piece), id=f"senders {piece!r}")
        for piece in (b"<", b'"', b"a ", b"a.", b"a@b,", b'"a" ', b'\\"', b"(", b"a@b (c),")
    ],
    *[pytest.param(_in_name, _text_of(piece), id=f"name {piece!r}") for piece in ("a", "@", "a@", "a@b.", "a.", " @.")],
    *[pytest.param(_outgoing, _bytes_of(piece), id=f"outgoing {piece!r}") for piece in (b"a:b\r\n", b"a:\r\n b\r\n", b"a", b":")],
    pytest.param(_sealed, _bytes_of(b" y\r\n", b"Authentication-Results: b.c; arc=none\r\nFrom: a@b.c\r\nSubject: x\r\n"), id="sealed"),
    *[
        pytest.param(_signed, _bytes_of(piece, b"From: a@b.c\r\nSubject: x\r\n"), id=f"signed {piece!r}")
        for piece in (b" y\r\n", b"\t\t", b"resent-to:b\r\n", b"\r\nbody")
    ],
    pytest.param(scan, _multiparts, id="scan nested"),
    pytest.param(_structure, _bytes_of(b"--b\r\n\r\nx\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"), id="structure wide"),
    pytest.param(_structure, _multiparts, id="structure deep"),
    pytest.param(_structure, _bytes_of(b"Content-Type: message/rfc822\r\n\r\n"), id="structure messages"),
    *[
        pytest.param(visible_text, _text_of(piece), id=f"html {piece!r}")
        for piece in ("<", ">", "<a ", "<!--", "<!-- -->", "<script>", "<script></script>", "</script", "<p>", "&", "&#", "&amp", "&#9", "<a '", '<a "', "'", "\n ", "</")
    ],
    *[pytest.param(normalize, _text_of(piece), id=f"normalize {piece!a}") for piece in ("\u0301", "\u0316\u0301", "\u0301\uff9e", "\ufdfa", "e\u0301", "…", "\u0345\u0300")],
]  # fmt: skip


def lines_run(function: Callable[[Any], object], argument: object) -> int:
    """How many lines of Python a call runs."""
    count = 0

    def local(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return local

    before = sys.gettrace()
    sys.settrace(lambda _frame, _event, _argument: local)
    try:
        function(argument)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(("function", "make"), CASES)
def test_twice_the_input_is_twice_the_steps(function: Callable[[Any], object], make: Callable[[int], Any]) -> None:
    function(make(100))  # what is cached afterwards
    few, many = lines_run(function, make(4000)), lines_run(function, make(8000))
    assert many < GROWTH * few + 50


def test_count_finds_a_quadratic_parser() -> None:
    """Negative control."""

    def comments(value: bytes) -> int:
        found = 0
        while b"(" in value:
            found += sum(1 for byte in value if byte == 40)
            value = value[1:]
        return found

    few, many = lines_run(comments, b"(" * 200), lines_run(comments, b"(" * 400)
    assert many >= GROWTH * few


@pytest.mark.parametrize(("function", "make"), CASES)
def test_a_megabyte_ends(function: Callable[[Any], object], make: Callable[[int], Any]) -> None:
    function(make(MIB))


def seconds(function: Callable[[Any], object], value: object) -> float:
    """Return the CPU time of a call, the best of five."""
    best = 1e9
    for _ in range(5):
        start = time.process_time()
        function(value)
        best = min(best, time.process_time() - start)
    return best


def takes_the_square(function: Callable[[Any], object], make: Callable[[int], Any]) -> bool:
    """Whether time grows by 2.6 or more as the input doubles to 1 MB: by the last step and by the mean of two.

    One step may leave a cache; another passes the size from which the allocator gives memory back after each call, so
    that the next faults in every page again. A square goes on past both, so what grew is looked at up to 4 MB.
    """

    def grows(*sizes: int) -> bool:
        *before, last = (seconds(function, make(size)) for size in sizes)
        return all(last - 0.002 >= GROWTH**steps * time for steps, time in enumerate(reversed(before), 1))

    return grows(MIB // 4, MIB // 2, MIB) and grows(MIB, 2 * MIB, 4 * MIB)


@pytest.mark.soak
@pytest.mark.parametrize(("function", "make"), CASES)
def test_twice_the_input_is_twice_the_time(function: Callable[[Any], object], make: Callable[[int], Any]) -> None:
    """Attack M2: time(2n)/time(n) < 2.6."""
    assert not takes_the_square(function, make)


@pytest.mark.soak
def test_time_finds_what_is_quadratic_within_c() -> None:
    """Negative control: each concatenation copies what there is already."""

    def joined(value: bytes) -> bytes:
        found = b""
        for at in range(0, len(value), 1024):
            found += value[at : at + 1024]
        return found

    assert takes_the_square(joined, _bytes_of(b"a"))
