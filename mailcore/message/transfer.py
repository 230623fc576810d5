"""Content-Transfer-Encoding undone (RFC 2045 §6); broken encodings give what can be read."""

from __future__ import annotations

import binascii

from mailcore.message.encoded_words import decode_loose_base64

KNOWN_ENCODINGS = frozenset({"7bit", "8bit", "binary", "base64", "quoted-printable"})


def decode_transfer(data: bytes, encoding: str) -> bytes | None:
    """The bytes that were encoded.

    Args:
        data: a part's body.
        encoding: in lower case, as in Part.

    Returns:
        None for an encoding that is not known (UNKNOWN-CTE, RFC 3516 §4.3).
    """
    if encoding == "base64":
        return decode_loose_base64(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    return data if encoding in KNOWN_ENCODINGS else None
