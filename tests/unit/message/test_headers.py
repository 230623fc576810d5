"""Header fields found, unfolded, filtered."""

from __future__ import annotations

import pytest

from mailcore.message.headers import (
    LIGHT_BLOCK_BYTES,
    LIGHT_NAMES,
    filter_fields,
    find_all,
    find_first,
    first_values,
    header_size,
    iter_fields,
    light_header_block,
    names_pattern,
    unfold,
)

HEADER = (
    b"Received: one\r\n\tfor two\r\nFrom: a@b\r\nTO : c@d,\r\n e@f\r\nnot a field\r\nreceived:three\r\n"
    b"Subject: \r\n folded =?utf-8?q?x?=\r\n\r\n"
)


@pytest.mark.parametrize(
    ("names", "invert", "expected"),
    [
        pytest.param((b"FROM", b"to"), False, b"From: a@b\r\nTO : c@d,\r\n e@f\r\n\r\n", id="some"),
        pytest.param(
            (b"Received",), False, b"Received: one\r\n\tfor two\r\nreceived:three\r\n\r\n", id="all of a name"
        ),
        pytest.param((b"X",), False, b"\r\n", id="none"),
        pytest.param((b"Rece", b"rom", b"ubject"), False, b"\r\n", id="no parts of names"),
        pytest.param((b"received", b"to", b"subject"), True, b"From: a@b\r\nnot a field\r\n\r\n", id="inverted"),
        pytest.param((b".*", b"fr[o]m"), False, b"\r\n", id="names are no patterns"),
    ],
)
def test_filter_gives_exact_bytes_and_a_blank_line(names: tuple[bytes, ...], *, invert: bool, expected: bytes) -> None:
    """BODY[HEADER.FIELDS ...], RFC 9051 §6.4.5."""
    assert filter_fields(HEADER, names, invert=invert) == expected
    assert filter_fields(HEADER[:-2], names, invert=invert) == expected
    many = tuple(b"x-%d" % number for number in range(100))
    assert filter_fields(HEADER, names + many, invert=invert) == expected


def test_filter_completes_a_header_that_breaks_off() -> None:
    assert filter_fields(b"A: b\r\nFrom: x", (b"from",)) == b"From: x\r\n\r\n"
    assert filter_fields(b"From: x\n fold\n\n", (b"from",)) == b"From: x\n fold\n\r\n"
    assert filter_fields(b"\r\n", (b"from",), invert=True) == b"\r\n"
    assert filter_fields(b"", (b"from",)) == b"\r\n"


def test_find() -> None:
    assert find_first(HEADER, b"received") == b"one\tfor two"
    assert find_all(HEADER, b"Received") == [b"one\tfor two", b"three"]
    assert find_first(HEADER, b"To") == b"c@d, e@f"
    assert find_first(HEADER, b"Subject") == b"folded =?utf-8?q?x?="
    assert find_first(HEADER, b"Sub") is None
    assert find_first(b"A:\r\n\r\n", b"a") == b""
    assert first_values(HEADER, names_pattern([b"received", b"to", b"cc"])) == {
        b"received": b"one\tfor two",
        b"to": b"c@d, e@f",
    }


def test_fields_lie_end_to_end() -> None:
    names = [HEADER[field.start : field.value_start] for field in iter_fields(HEADER)]
    assert names == [b"Received:", b"From:", b"TO :", b"", b"received:", b"Subject:"]
    assert [field.name for field in iter_fields(HEADER)] == [b"received", b"from", b"to", b"", b"received", b"subject"]


@pytest.mark.parametrize(
    ("raw", "size"),
    [(b"A: b\r\n\r\nc", 8), (b"A: b\n\nc", 6), (b"A: b\n\r\nc", 7), (b"\r\nc", 2), (b"\nc", 1), (b"A: b", 4), (b"", 0)],
)
def test_header_ends_behind_its_blank_line(raw: bytes, size: int) -> None:
    assert header_size(raw) == size


def test_unfold_takes_only_line_ends_away() -> None:
    """RFC 5322 §2.2.3."""
    assert unfold(b" a\r\n  b\n\tc \r\n") == b"a  b\tc"


def test_light_block_answers_like_the_header() -> None:
    """A field that the block lacks, the message lacks."""
    light = light_header_block(HEADER)
    assert light == b"From: a@b\r\nTO : c@d,\r\n e@f\r\nSubject: \r\n folded =?utf-8?q?x?=\r\n"
    assert light is not None
    for names in ((b"FROM", b"SUBJECT"), tuple(LIGHT_NAMES), (b"References",)):
        assert filter_fields(light, names) == filter_fields(HEADER, names)


def test_too_large_light_block_is_none() -> None:
    assert light_header_block(b"To: " + b"a@b, " * LIGHT_BLOCK_BYTES + b"\r\n\r\n") is None
    assert light_header_block(b"X-Spam: " + b"a@b, " * LIGHT_BLOCK_BYTES + b"\r\n\r\n") == b""


def test_light_names_are_those_that_clients_list() -> None:
    asked = b"FROM TO CC SUBJECT DATE MESSAGE-ID REFERENCES LIST-ID CONTENT-TYPE X-PRIORITY".lower().split()
    thunderbird = b"bcc priority newsgroups in-reply-to reply-to list-unsubscribe"
    assert {*asked, *thunderbird.split()} <= LIGHT_NAMES
