"""`encoded-character`: ${hex: 40} and ${unicode: 40} in strings (RFC 5228 §2.4.2.4)."""

from __future__ import annotations

import re

from mailcore.sieve.forms import Extension

_HEX = r"hex:[ \t\r\n]*+[0-9a-f]{1,2}(?:[ \t\r\n]++[0-9a-f]{1,2})*[ \t\r\n]*"
_UNICODE = r"unicode:[ \t\r\n]*+[0-9a-f]{1,40}(?:[ \t\r\n]++[0-9a-f]{1,40})*[ \t\r\n]*"
_ENCODED = re.compile(r"(?:\$\{(?:" + _HEX + "|" + _UNICODE + r")\})+", re.IGNORECASE | re.ASCII)
_ONE = re.compile(r"\$\{(hex|unicode):([^}]*)\}", re.IGNORECASE)


def _decode(text: str) -> str:
    """Replace what is encoded, once: what comes out is not looked at again.

    Raises:
        ValueError: no Unicode character, or octets that are not UTF-8.
    """
    return _ENCODED.sub(_decode_run, text)


def _decode_run(match: re.Match[str]) -> str:
    """Neighbours together, for a character's octets may be apart."""
    octets = bytearray()
    for kind, digits in _ONE.findall(match[0]):
        for number in digits.split():
            code = int(number, 16)
            if kind.lower() == "hex":
                octets.append(code)
            elif code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise ValueError(f"There is no Unicode character {number[:20]}.")
            else:
                octets += chr(code).encode()
    try:
        decoded = octets.decode()
    except UnicodeDecodeError as error:
        raise ValueError('What stands in "${hex:...}" must be UTF-8.') from error
    if "\0" in decoded:
        raise ValueError("A string may not hold the character NUL.")
    return decoded


EXTENSION = Extension("encoded-character", decode=_decode)
