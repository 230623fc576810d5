"""Header values as text: encoded words (RFC 2047) and raw 8-bit (RFC 6532, and worse)."""

from __future__ import annotations

import binascii
import re

import pybase64

from mailcore.message.charset import decode_text

MAX_VALUE_BYTES = 64 * 1024
"""Longer values are decoded to here."""

_WORD = re.compile(rb"=\?([!-)+->@-~]{1,60})(?:\*[A-Za-z0-9-]{0,40})?\?([bBqQ])\?([^?]*+)\?=")


def decode_header(value: bytes) -> str:
    """A header value as text: unfolded, encoded words decoded, in any charset; never fails.

    Encoded words side by side are joined before their charset is applied, because many senders split characters.
    Control characters become blanks.
    """
    value = value[:MAX_VALUE_BYTES]
    if b"=?" not in value:
        return clean(decode_text(value, None))
    pieces: list[str] = []
    run: list[bytes] = []
    run_charset = b""
    position = 0
    for match in _WORD.finditer(value):
        between = value[position : match.start()]
        charset = match[1].lower()
        adjacent = position > 0 and not between.strip()
        if run and not (adjacent and charset == run_charset):
            pieces.append(decode_text(b"".join(run), run_charset.decode("ascii")))
            run = []
        if between and not adjacent:
            pieces.append(decode_text(between, None))
        run_charset = charset
        run.append(_decode_word(match[2], match[3]))
        position = match.end()
    if run:
        pieces.append(decode_text(b"".join(run), run_charset.decode("ascii")))
    pieces.append(decode_text(value[position:], None))
    return clean("".join(pieces))


def clean(text: str) -> str:
    """Without line breaks and control characters, which no header value can mean."""
    if not text.isprintable():
        text = _CONTROLS.sub(" ", _FOLDS.sub("", text))
    return text.strip()


def encode_header(text: str, name: str) -> bytes:
    """A header field with that name and text, lines folded at 78 octets, with its CRLF (RFC 5322 §2.2.3, RFC 2047).

    Text beyond ASCII, and words too long for a line, become encoded words. Control characters become blanks.
    """
    text = clean(text)
    if text.isascii() and text.isprintable() and "=?" not in text and len(max(text.split(), key=len, default="")) < 900:
        pieces = _BLANK_AND_WORD.findall(f" {text}")
    else:
        pieces = [f" =?utf-8?b?{pybase64.b64encode(chunk).decode('ascii')}?=" for chunk in _chunks(text)]
    lines = [f"{name}:"]
    for piece in pieces:
        if (len(lines[-1]) + len(piece) > 78 and len(lines[-1].strip()) > len(name) + 1) or len(lines[-1]) > 900:
            lines.append("")
        lines[-1] += piece
    return "\r\n".join(lines).encode("ascii") + b"\r\n"


def _chunks(text: str) -> list[bytes]:
    """UTF-8 in pieces of whole characters that fit into encoded words of 75 octets."""
    chunks = [b""]
    for character in text:
        encoded = character.encode("utf-8", "replace")
        if len(chunks[-1]) + len(encoded) > 45:
            chunks.append(b"")
        chunks[-1] += encoded
    return chunks


_BLANK_AND_WORD = re.compile(r" *[^ ]+| +\Z")
_FOLDS = re.compile(r"\r?\n(?=[ \t])")
_BASE64_RUN = re.compile(rb"([^=]++)(=*+)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


def _decode_word(encoding: bytes, text: bytes) -> bytes:
    """The bytes of one encoded word; what is malformed is left out."""
    if encoding in b"qQ":
        return binascii.a2b_qp(text, header=True)
    return decode_loose_base64(text)


def decode_loose_base64(data: bytes) -> bytes:
    """Decode base64 with whatever is in between, as far as it makes sense (RFC 2045 §6.8)."""
    try:
        return pybase64.b64decode(data, ignorechars=b" \t\r\n")
    except binascii.Error:
        pass
    out: list[bytes] = []
    for match in _BASE64_RUN.finditer(data.translate(None, _NOT_BASE64)):  # some senders pad every line
        run, padding = match.groups()
        is_whole = (len(run) + len(padding)) % 4 == 0
        if not is_whole and out:
            break  # something else behind the end, such as the footer of a mailing list
        kept = run[:-1] if len(run) % 4 == 1 else run
        if kept:
            out.append(pybase64.b64decode(kept + b"=" * (-len(kept) % 4)))
        if not is_whole:
            break
    return b"".join(out)


_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
