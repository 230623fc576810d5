"""No text breaks the reader of addresses, and a canonical form is its own canonical form."""

from __future__ import annotations

import os
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailcore.errors import AddressInvalid
from mailcore.model.address import Address, canonical

REPOSITORY = Path(__file__).parents[3]
SHARED = Path(os.environ.get("EIDER_SHARED", REPOSITORY.parent / "shared"))
VECTORS = SHARED / "vectors/addresses/isemail-tests.xml"

LETTERS = st.text(st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S")), min_size=1, max_size=20)
TRICKY = st.sampled_from(
    "ßẞſςΣıİKÅǅŉΐᾳﬁａ．＋＠.+@\"\\-_'`\u0301\u0345\u0300\u200d\u202e\u05d0\u0627\u0660\U0001d538가각\u1100"
)
LOCALS = st.lists(st.one_of(LETTERS, TRICKY), min_size=1, max_size=8).map("".join)


def check(text: str) -> None:
    """Whatever the text: a clear refusal, or a stable canonical form."""
    try:
        address = Address.parse(text)
    except AddressInvalid:
        return
    key = address.canonical
    assert canonical(key) == key
    assert canonical(address.display) == key
    assert key == unicodedata.normalize("NFC", key)
    assert "+" not in address.base
    assert "." not in address.base
    assert address.domain.isascii()
    assert address.domain == address.domain.lower()
    assert len(address.base.encode()) <= 64
    assert canonical(f"{address.local.swapcase()}@{address.domain.upper()}") == key or not address.local.isascii()


@given(st.text(max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text(text: str) -> None:
    check(text)


@given(LOCALS, st.sampled_from(["example.com", "münchen.de", "例え.jp", "xn--mnchen-3ya.de"]))
@example("ΐᾳ" * 6, "example.com")
@example("a.\u0345", "example.com")
@settings(max_examples=1500, deadline=None)
def test_any_local_part(local: str, domain: str) -> None:
    check(f"{local}@{domain}")


@given(st.text(max_size=40))
@settings(max_examples=600, deadline=None)
def test_any_domain(domain: str) -> None:
    check(f"a@{domain}")


def test_every_character_alone() -> None:
    """Each assigned code point of Unicode, as a local part: refused or stable."""
    for point in range(0x110000):
        character = chr(point)
        name = unicodedata.name(character, "")
        if name and not name.startswith(("CJK UNIFIED", "HANGUL SYLLABLE", "TANGUT", "CUNEIFORM", "EGYPTIAN")):
            check(f"{character}@example.com")


def _vectors() -> list[tuple[str, str, str]]:
    if not VECTORS.is_file():
        return []
    tests = ET.parse(VECTORS).getroot().iter("test")
    return [
        (test.get("id", ""), _unpictured(test.findtext("address") or ""), test.findtext("category") or "")
        for test in tests
    ]


def _unpictured(text: str) -> str:
    """Replace the pictures of control characters (U+2400...) by the characters, as isemail's test runner does."""
    return "".join(
        chr(ord(character) - 0x2400) if 0x2400 <= ord(character) <= 0x241F else character for character in text
    )


@pytest.mark.skipif(not VECTORS.is_file(), reason=f"{VECTORS} is not here: set EIDER_SHARED")
def test_isemail_vectors() -> None:
    """isemail's cases: none crashes, what it finds malformed is refused, ordinary addresses are taken."""
    vectors = _vectors()
    assert len(vectors) >= 160
    for number, text, category in vectors:
        check(text)
        if category in {"ISEMAIL_ERR", "ISEMAIL_CFWS", "ISEMAIL_DEPREC"}:
            with pytest.raises(AddressInvalid):
                print(number, repr(text), category, canonical(text))
