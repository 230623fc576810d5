"""The mechanisms: PLAIN (RFC 4616), LOGIN, OAUTHBEARER (RFC 7628) and XOAUTH2.

Each is a generator that yields challenges, is sent responses, and returns what the client offers.
LOGIN has no RFC (draft-murchison-sasl-login); Outlook and many devices know nothing better.
XOAUTH2 is OAUTHBEARER as Google first had it; most clients still speak only that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.model.secret import Secret
from mailcore.sasl.offer import Offer, PasswordOffer, TokenOffer

MAX_USERNAME_BYTES = 1024
MAX_TOKEN_BYTES = 4096
MAX_PAIRS = 16

Steps = Generator[bytes, bytes, Offer]

_SEPARATOR = b"\x01"
_PAIR = re.compile(rb"([A-Za-z]+)=([\t\r\n\x20-\x7e\x80-\xff]*)")
_BEARER = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
_SASLNAME_ESCAPE = re.compile(r"=(2C|3D|)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One row of the table.

    Attributes:
        steps: begins an exchange; its first challenge is not sent if the client's response came along.
        failure: sent as a last challenge when the offer is refused, None where the mechanism has no such.
    """

    name: str
    steps: Callable[[], Steps]
    failure: bytes | None = None


def _plain() -> Steps:
    """Read `[authzid] NUL authcid NUL passwd` (RFC 4616 §2)."""
    parts = (yield b"").split(b"\0")
    if len(parts) != 3:
        raise SyntaxFault("Response is not that of PLAIN")
    authorize_as, username, password = parts
    return PasswordOffer(_text(username), Secret(password), _text(authorize_as))


def _login() -> Steps:
    """Ask for the user name, then for the password; clients look for nothing in the words."""
    username = _text((yield b"Username:"))
    password = yield b"Password:"
    if b"\0" in password:
        raise SyntaxFault("A password has no NUL")
    return PasswordOffer(username, Secret(password))


def _oauthbearer() -> Steps:
    """Read `gs2-header kvsep *(key "=" value kvsep) kvsep` (RFC 7628 §3.1); host and port are not looked at."""
    message = yield b""
    header, separator, pairs = message.partition(_SEPARATOR)
    flag, _, rest = header.partition(b",")
    identity, comma, behind = rest.partition(b",")
    if flag not in {b"n", b"y"} or not separator or not comma or behind:
        raise SyntaxFault("Response is not that of OAUTHBEARER")
    if identity and not identity.startswith(b"a="):
        raise SyntaxFault("Response is not that of OAUTHBEARER")
    return TokenOffer(_saslname(_text(identity[2:])), _bearer(_pairs(pairs, "OAUTHBEARER")))


def _xoauth2() -> Steps:
    """Read `"user=" name kvsep "auth=Bearer " token kvsep kvsep`."""
    pairs = _pairs((yield b""), "XOAUTH2")
    if b"user" not in pairs:
        raise SyntaxFault("Response is not that of XOAUTH2")
    return TokenOffer(_text(pairs[b"user"]), _bearer(pairs))


def _pairs(data: bytes, mechanism: str) -> dict[bytes, bytes]:
    """Read pairs that each end with kvsep, and the kvsep after the last."""
    pieces = data.split(_SEPARATOR, MAX_PAIRS + 2)
    if len(pieces) < 3 or len(pieces) > MAX_PAIRS + 2 or pieces[-2:] != [b"", b""]:
        raise SyntaxFault(f"Response is not that of {mechanism}")
    pairs: dict[bytes, bytes] = {}
    for piece in pieces[:-2]:
        match = _PAIR.fullmatch(piece)
        if match is None or match[1].lower() in pairs:
            raise SyntaxFault(f"Response is not that of {mechanism}")
        pairs[match[1].lower()] = match[2]
    return pairs


def _bearer(pairs: dict[bytes, bytes]) -> Secret:
    """Return the token of `auth` (RFC 6750 §2.1)."""
    match = _BEARER.fullmatch(pairs.get(b"auth", b"").strip())
    if match is None or len(match[1]) > MAX_TOKEN_BYTES:
        raise SyntaxFault("Response has no bearer token")
    return Secret(match[1])


def _saslname(text: str) -> str:
    """Undo `=2C` and `=3D` (RFC 5801 §4)."""

    def character(match: re.Match[str]) -> str:
        code = match[1].upper()
        if not code:
            raise SyntaxFault("Malformed name")
        return "," if code == "2C" else "="

    return _SASLNAME_ESCAPE.sub(character, text)


def _text(name: bytes) -> str:
    if len(name) > MAX_USERNAME_BYTES or b"\0" in name:
        raise SyntaxFault("Malformed name")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxFault("A name is UTF-8") from None


def _json(**fields: str) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


MECHANISMS: dict[str, Mechanism] = {
    row.name: row
    for row in (
        Mechanism("PLAIN", _plain),
        Mechanism("LOGIN", _login),
        Mechanism("OAUTHBEARER", _oauthbearer, _json(status="invalid_token", scope="mail")),
        Mechanism("XOAUTH2", _xoauth2, _json(status="401", schemes="bearer", scope="mail")),
    )
}
"""Announced in this order."""
