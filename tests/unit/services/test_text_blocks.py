"""Text blocks find what a look into each message finds, and nothing across their borders."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mailcore.errors import StoreDamaged
from mailcore.model.content import SearchableText
from mailcore.services.search.text_blocks import MAX_TEXT_BYTES, BlockText, TextBlock, block_text, merge

HEADER = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <J@Example.com>\r\nSubject:   Hello\r\n\tWorld \r\nX-Odd : \x01y\r\n"
    b"DKIM-Signature: v=1; secret\r\nsubject: second\r\nno field\r\n\r\n"
)


def test_headers_become_one_line_each() -> None:
    text = block_text(SearchableText(HEADER, "Straße\0 ﬁn", is_whole=True))
    lines = ["", "from: jürgen <j@example.com>", "subject: hello world", "x-odd: y", "subject: second", ""]
    assert text.header.decode() == "\n".join(lines)
    assert text.body.decode() == "strasse  fin"


def _block(*texts: tuple[bytes, bytes]) -> TextBlock:
    return TextBlock.of((uid, BlockText(header, body, is_whole=True)) for uid, (header, body) in enumerate(texts, 1))


def test_fields_are_told_apart() -> None:
    block = _block(
        (b"\nfrom: subject\nsubject: one\n", b""),
        (b"\nfrom: one\nsubject: two one\n", b""),
        (b"\nx-subject: one\n", b""),
        (b"\n", b""),
    )
    assert block.field_contains(b"subject", b"one").tolist() == [True, True, False, False]
    assert block.field_contains(b"from", b"one").tolist() == [False, True, False, False]
    assert block.field_contains(b"subject", b"subject").tolist() == [False] * 4
    assert block.field_contains(b"subject", b"").tolist() == [True, True, False, False]
    assert block.field_contains(b"subject", b"one\nsub").tolist() == [False] * 4


def test_nothing_is_found_across_two_messages() -> None:
    block = _block((b"\na: b\n", b"foo"), (b"\nc: d\n", b"bar"), (b"\n", b""), (b"\n", b"foobar"))
    assert block.body_contains(b"foobar").tolist() == [False, False, False, True]
    assert block.body_contains(b"").tolist() == [True] * 4
    assert block.header_contains(b"b\n\nc").tolist() == [False] * 4


@pytest.mark.parametrize("seed", range(20))
def test_as_a_look_into_each_message(seed: int) -> None:
    chance = random.Random(seed)
    texts = [
        (
            b"\n"
            + b"".join(
                chance.choice([b"a", b"ab", b"b"]) + b": " + bytes(chance.choices(b"ab:", k=3)) + b"\n"
                for _ in range(3)
            ),
            bytes(chance.choices(b"ab", k=chance.randrange(6))),
        )
        for _ in range(30)
    ]
    block = TextBlock.unpack(_block(*texts).pack())
    for _ in range(40):
        needle = bytes(chance.choices(b"ab:", k=chance.randrange(1, 4)))
        assert block.body_contains(needle).tolist() == [needle in body for _, body in texts]
        assert block.header_contains(needle).tolist() == [needle in header for header, _ in texts]
        for name in (b"a", b"ab"):
            expected = [
                any(line.startswith(name + b": ") and needle in line[len(name) + 2 :] for line in header.split(b"\n"))
                for header, _ in texts
            ]
            assert block.field_contains(name, needle).tolist() == expected, (needle, name)


def test_merging_keeps_what_lives_and_what_fits() -> None:
    first = TextBlock.of([(1, BlockText(b"\n", b"one", True)), (3, BlockText(b"\n", b"three", True))])
    large = BlockText(b"\n", b"x" * (MAX_TEXT_BYTES - 4), False)
    second = TextBlock.of([(2, BlockText(b"\n", b"two", True)), (4, large)])
    merged = merge([first, second], np.array([2, 3, 4], np.uint32))
    assert [(uid, text.body) for uid, text in merged.entries()] == [(2, b"two"), (3, b"three")]
    assert merge([second], np.array([4], np.uint32)).cut.tolist() == [True]


def test_damage_is_noticed() -> None:
    stored = _block((b"\n", b"x")).pack()
    for broken in (b"", stored[:-3], b"\xff" + stored[1:], stored[:10]):
        with pytest.raises(StoreDamaged):
            TextBlock.unpack(broken)
