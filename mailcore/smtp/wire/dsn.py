"""Parameters of delivery reports: RET, ENVID, NOTIFY, ORCPT (RFC 3461 §4, RFC 6533 §3)."""

from __future__ import annotations

import re

from mailcore.errors import SyntaxFault
from mailcore.model.outbound import Notify, ReturnContent
from mailcore.smtp.wire.parameters import decode_xtext

LONGEST_ENVELOPE_ID = 100
LONGEST_ORIGINAL_RECIPIENT = 500
"""Characters with the address type (RFC 3461 §4.2)."""

_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
_UTF8_ADDRESS = re.compile(r"(?:[^\x00-\x20\x7f+=\\]|\\x\{[0-9A-F]{1,6}\})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{1,6})\}")


def parse_return_content(value: str | None) -> ReturnContent:
    """Read the value of RET.

    Raises:
        SyntaxFault: neither FULL nor HDRS.
    """
    try:
        return ReturnContent((value or "").lower())
    except ValueError:
        raise SyntaxFault("RET is FULL or HDRS") from None


def parse_envelope_id(value: str | None) -> str:
    """Read the value of ENVID: up to 100 printable characters as xtext.

    Raises:
        SyntaxFault: it is none.
    """
    return _printable(value, LONGEST_ENVELOPE_ID)


def parse_notify(value: str | None) -> frozenset[Notify]:
    """Read the value of NOTIFY; NEVER, which stands alone, is the empty set.

    Raises:
        SyntaxFault: it is none.
    """
    words = (value or "").lower().split(",")
    if words == ["never"]:
        return frozenset()
    try:
        return frozenset(Notify(word) for word in words)
    except ValueError:
        raise SyntaxFault("NOTIFY is NEVER, or SUCCESS, FAILURE, DELAY") from None


def parse_original_recipient(value: str | None) -> str:
    """Read the value of ORCPT: `type;address`, decoded.

    Raises:
        SyntaxFault: it is none.
    """
    address_type, separator, address = (value or "").partition(";")
    if not separator or _ADDRESS_TYPE.fullmatch(address_type) is None:
        raise SyntaxFault("ORCPT is a type, a semicolon and an address")
    if address_type.lower() == "utf-8":
        if len(address) > LONGEST_ORIGINAL_RECIPIENT or _UTF8_ADDRESS.fullmatch(address) is None:
            raise SyntaxFault("malformed address in ORCPT")
        try:
            decoded = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), address)
        except (ValueError, OverflowError):
            raise SyntaxFault("no character in ORCPT") from None
        if not decoded.isprintable():
            raise SyntaxFault("control character in ORCPT")
        return f"utf-8;{decoded}"
    return f"{address_type.lower()};{_printable(address, LONGEST_ORIGINAL_RECIPIENT)}"


def _printable(value: str | None, longest: int) -> str:
    text = decode_xtext(value or "")
    if not text or len(text) > longest or not text.isascii() or not text.isprintable():
        raise SyntaxFault(f"up to {longest} printable characters")
    return text
