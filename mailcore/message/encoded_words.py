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
    return _CONTROLS.sub(" ", _FOLDS.sub("", text)).strip()


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
