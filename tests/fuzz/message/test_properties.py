"""Any bytes, and messages mutated at random, hold what a message must hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcore.message.addresses import list_addresses, parse_addresses
from mailcore.message.charset import decode_text
from mailcore.message.dates import parse_date
from mailcore.message.encoded_words import decode_header, decode_loose_base64
from mailcore.message.html_text import visible_text
from mailcore.message.imap_string import imap_string
from mailcore.message.parameters import parse_parameterized
from mailcore.message.text import normalize
from mailcore.model.limits import ScanLimits
from tests.corpus import corpus_as_crlf
from tests.hostile import HOSTILE
from tests.unit.message.checks import check_message
from tests.unit.message.imap_grammar import Reader

_TIGHT = ScanLimits(parts=5, depth=3, header_bytes=200)

_PIECES = st.sampled_from([
    *[bytes([byte]) for byte in b" \t\r\n:;\"\\()<>@,=-{}[]\0\xe9x"],
    *[b"\r\n", b"--", b"--b", b"--b--", b"--c", b"--bb", b"From: ", b"To: ", b"Subject: ", b"Date: "],
    *[b"Content-Type: ", b"message/rfc822", b"text/html", b"=?utf-8?q?", b"=?utf-8?b?w6k?="],
    *[b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/digest; boundary=bb\r\n"],
    *[b"Content-Type: message/rfc822\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n", b"QUJD"],
    *[b"Content-Disposition: x; ", b"filename*0*=", b"filename*1=", b"{3}", b"{3}\r\n"],
])  # fmt: skip
_MESSAGES = st.lists(st.one_of(_PIECES, st.binary(max_size=6)), max_size=60).map(b"".join)
_FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@_FEW
@given(raw=st.one_of(st.binary(max_size=300), _MESSAGES))
def test_any_bytes_are_a_message(raw: bytes) -> None:
    check_message(raw)
    check_message(raw, _TIGHT)


@_FEW
@given(value=_MESSAGES)
def test_any_bytes_are_a_header_value(value: bytes) -> None:
    """Strings for IMAP follow the grammar, and nothing raises."""
    reader = Reader(imap_string(value))
    reader.string()
    reader.end()
    for address in list_addresses(value):
        assert address.domain is not None or address.name is None
    parse_addresses(value)
    decode_header(value)
    parse_date(value)
    parse_parameterized(value)
    decode_loose_base64(value)


@_FEW
@given(
    text=st.text(max_size=200),
    markup=st.lists(st.sampled_from(["<", ">", "<p>", "<!--", "-->", "<script>", "</", "&amp;", "&#", "'", '"', "a"])),
)
def test_any_text_is_markup(text: str, markup: list[str]) -> None:
    visible_text(text + "".join(markup) + text)
    assert normalize(normalize(text)) == normalize(text)


@_FEW
@given(
    data=st.binary(max_size=100),
    charset=st.one_of(
        st.none(), st.text(max_size=20), st.sampled_from(["utf-8", "utf-7", "gb2312", "hz", "iso-2022-jp"])
    ),
)
def test_any_bytes_are_text(data: bytes, charset: str | None) -> None:
    assert isinstance(decode_text(data, charset), str)


def _mutate(raw: bytes, rng: random.Random) -> bytes:
    """A few cuts, copies and insertions."""
    out = bytearray(raw[:200_000])
    for _ in range(rng.randrange(1, 8)):
        at, length = rng.randrange(len(out) + 1), rng.choice([1, 2, 10, 100, 1000])
        match rng.randrange(5):
            case 0:
                del out[at : at + length]
            case 1:
                out[at:at] = out[rng.randrange(len(out) + 1) :][:length]
            case 2:
                out[at:at] = rng.choice(
                    [
                        b"\r\n\r\n",
                        b"\n",
                        b"\0",
                        b"--",
                        b'"',
                        b"(",
                        b"\xff",
                        b"Content-Type: multipart/mixed; boundary=\r\n",
                    ]
                )
            case 3:
                out[at : at + length] = rng.randbytes(min(length, 20))
            case _:
                del out[at:]
    return bytes(out)


def _sources() -> list[bytes]:
    return [raw for _, raw in corpus_as_crlf()] + [message.build() for message in HOSTILE if message.name in _SMALL]


_SMALL = {
    *["8-bit-headers", "nul-everywhere", "response-injection", "addresses-odd", "boundary-prefix-of-another"],
    *["boundary-in-header", "boundary-of-both-the-same", "content-types-malformed", "encodings-malformed"],
    *["message-in-base64", "line-ends-mixed", "outer-boundary-inside-message", "rfc2231-charset-unknown"],
    *["boundary-with-blanks-behind"],
}


def _fuzz(seed: int, rounds: int) -> None:
    rng = random.Random(seed)
    sources = _sources()
    for number in range(rounds):
        raw = _mutate(rng.choice(sources), rng)
        try:
            check_message(raw)
        except Exception as fault:
            fault.add_note(f"seed {seed}, round {number}: {raw[:2000]!r}")
            raise


def test_mutated_messages_hold_all_properties() -> None:
    _fuzz(seed=1, rounds=300)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_mutated_messages_hold_all_properties(seed: int) -> None:
    _fuzz(seed=seed, rounds=3000)
