"""DKIM signatures over bytes (RFC 6376, RFC 8463), made by dkimpy with the RSA of `cryptography`.

dkimpy computes RSA in Python: 7 ms a signature, where OpenSSL takes half of one; and it folds a field in the
square of its length. So its one function for each is replaced, for every caller in the process: ARC seals
(RFC 8617) are signed by them as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from mailcore.errors import SyntaxFault
from mailcore.message.headers import header_size, iter_fields
from mailcore.model.dkim import DkimAlgorithm

OVERSIGNED = (
    b"from", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id", b"mime-version", b"content-type",
    b"content-transfer-encoding",
)  # fmt: skip
"""Signed once more than they are there, so that nobody adds a second one on the way (RFC 6376 §8.15)."""
SIGNED = (
    b"sender", b"in-reply-to", b"references", b"content-id", b"content-description", b"auto-submitted",
    b"resent-date", b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-message-id",
    b"list-id", b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post",
    b"list-owner", b"list-archive",
)  # fmt: skip
"""Signed where they are there."""

LINE_OCTETS = 72

_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+")


@dataclass(frozen=True, slots=True)
class Signer:
    """A selector that can sign: an RSA key as PKCS#1 PEM, or the base64 of an Ed25519 seed."""

    selector: str
    algorithm: DkimAlgorithm
    private_key: bytes = field(repr=False)


@cache
def dkimpy() -> Any:
    """Return dkimpy, signing by OpenSSL; it is imported when first needed, for most processes sign nothing."""
    import dkim

    dkim.RSASSA_PKCS1_v1_5_sign = _sign_rsa
    dkim.fold = fold
    return dkim


def signature_fields(message: bytes, domain: str, signers: Sequence[Signer]) -> bytes:
    """Return one DKIM-Signature for each signer: whole lines to be put in front of the message.

    Headers are made relaxed, the body simple: what every relay leaves alone. There is no `l=`, and the
    signatures do not expire.

    Raises:
        SyntaxFault: the header has a line that is no field.
    """
    signing = dkimpy().DKIM()
    take_apart(signing, message)
    present = Counter(name.lower() for name, _ in signing.headers)
    names = [name for name in OVERSIGNED for _ in range(present[name] + 1)]
    names += [name for name in SIGNED for _ in range(present[name])]
    made = [
        signing.sign(
            signer.selector.encode(),
            domain.encode(),
            signer.private_key,
            signature_algorithm=signer.algorithm.value.encode(),
            include_headers=list(names),
        )
        for signer in signers
    ]
    return b"".join(made)


def take_apart(signing: Any, message: bytes) -> None:
    """Hand a message to dkimpy; its own way there takes the square of folded lines, and cuts the body into lines.

    Raises:
        SyntaxFault: the header has a line that is no field.
    """
    size = header_size(message)
    header = message[:size]
    for each in iter_fields(header):
        name, colon, value = header[each.start : each.end].partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            raise SyntaxFault("the header has a line that is no field")
        signing.headers.append([name, _with_crlf(value if value.endswith(b"\n") else value + b"\r\n")])
    signing.body = _with_crlf(message[size:])


def _with_crlf(text: bytes) -> bytes:
    """Return the text as it will be when every line ends with CRLF."""
    if text.count(b"\n") == text.count(b"\r\n"):
        return text
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def fold(value: bytes, namelen: int = 0, linesep: bytes = b"\r\n") -> bytes:
    """Return a value as dkimpy folds it: what follows its last fold in lines of 72 octets, `namelen` less at first."""
    room = LINE_OCTETS - namelen
    if len(value) <= room + 2 * value.endswith(b"\r\n"):
        return value
    last = value.rfind(b"\r\n ")
    start = 0 if last < 0 else last + 3
    lines = [value[:start]]
    while len(value) - start > room:
        space = value.rfind(b" ", start, start + room)
        end = start + room if space < 0 else space
        lines += (value[start:end], linesep, b" ")
        start = end if space < 0 else space + 1
        room = LINE_OCTETS - 1
    return b"".join((*lines, value[start:]))


def _sign_rsa(hashed: Any, key: dict[str, int]) -> bytes:
    """Sign a SHA-256 by RSASSA-PKCS1-v1_5 (RFC 8017 §8.2)."""
    return _rsa_key(*(key[name] for name in _RSA_PARTS)).sign(hashed.digest(), padding.PKCS1v15(), Prehashed(SHA256()))


_RSA_PARTS = (
    "prime1",
    "prime2",
    "privateExponent",
    "exponent1",
    "exponent2",
    "coefficient",
    "modulus",
    "publicExponent",
)


@lru_cache(maxsize=512)
def _rsa_key(p: int, q: int, d: int, dmp1: int, dmq1: int, iqmp: int, n: int, e: int) -> rsa.RSAPrivateKey:
    return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(e, n)).private_key()
