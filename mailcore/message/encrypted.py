"""Encrypted messages: the content goes in, every field but those of the content stays outside.

PGP/MIME is RFC 3156 §4, S/MIME RFC 8551 §3.3. How content is encrypted is the caller's matter.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from mailcore.message.headers import find_first, header_size, iter_fields

_CONTENT: Final = b"content-"
_MIME_VERSION: Final = b"mime-version"


def is_encrypted(raw: bytes) -> bool:
    """Whether a message says of itself that it is encrypted already."""
    value = (find_first(raw[: header_size(raw)], b"content-type") or b"").lower()
    kind = value.partition(b";")[0].strip()
    if kind in {b"application/pkcs7-mime", b"application/x-pkcs7-mime"}:
        return b"enveloped" in value
    return kind == b"multipart/encrypted"


def content_of(raw: bytes) -> bytes:
    """Return what is to be encrypted: a MIME entity of the message's own Content-* fields and its body."""
    size = header_size(raw)
    header = raw[:size]
    kept = b"".join(header[each.start : each.end] for each in iter_fields(header) if each.name.startswith(_CONTENT))
    return kept + b"\r\n" + raw[size:]


def pgp_mime(raw: bytes, armored: bytes) -> bytes:
    """Return a message with its content encrypted by OpenPGP, in ASCII armor."""
    boundary = f"=_{secrets.token_hex(16)}"
    edge = f"--{boundary}".encode()
    return b"\r\n".join(
        (
            _outside(raw)
            + f'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";\r\n'
            f' boundary="{boundary}"\r\n'.encode(),
            edge,
            b"Content-Type: application/pgp-encrypted",
            b"Content-Description: PGP/MIME version identification",
            b"",
            b"Version: 1",
            b"",
            edge,
            b'Content-Type: application/octet-stream; name="encrypted.asc"',
            b"Content-Description: OpenPGP encrypted message",
            b'Content-Disposition: inline; filename="encrypted.asc"',
            b"",
            b"\r\n".join(armored.splitlines()),
            b"",
            edge + b"--",
            b"",
        )
    )


def smime(raw: bytes, cms: bytes, kind: str) -> bytes:
    """Return a message with its content encrypted by CMS, DER; `kind` is its smime-type."""
    encoded = base64.encodebytes(cms).replace(b"\n", b"\r\n")
    fields = (
        f'Content-Type: application/pkcs7-mime; smime-type={kind};\r\n name="smime.p7m"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="smime.p7m"\r\n'
    )
    return _outside(raw) + fields.encode() + b"\r\n" + encoded


def _outside(raw: bytes) -> bytes:
    """Return the fields that stay readable, and the version of MIME that holds for what follows."""
    header = raw[: header_size(raw)]
    kept = [
        header[each.start : each.end]
        for each in iter_fields(header)
        if each.name and each.name != _MIME_VERSION and not each.name.startswith(_CONTENT)
    ]
    if kept and not kept[-1].endswith(b"\n"):
        kept.append(b"\r\n")
    return b"".join(kept) + b"MIME-Version: 1.0\r\n"
