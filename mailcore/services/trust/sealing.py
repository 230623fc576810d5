"""Secrets at rest: AES-256-GCM under a numbered key, bound to what the secret is for.

Sealed form: version (1), codec (1 = AES-256-GCM), key number (4), nonce (12), ciphertext with tag.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailcore.model.secret import Secret

_HEADER = struct.Struct(">BBI")
_VERSION = 1
_AES_256_GCM = 1
_NONCE_BYTES = 12


class SealBroken(Exception):
    """Not sealed by us, for another purpose, changed since, or under a key that the settings lack."""


class Sealing:
    """Seals with the highest key; opens with any."""

    def __init__(self, keys: Mapping[int, Secret]) -> None:
        self._current = max(keys)
        self._ciphers = {number: AESGCM(key.reveal()) for number, key in keys.items()}

    @property
    def newest_key(self) -> int:
        """The number of the key that seals."""
        return self._current

    def seal(self, purpose: str, plaintext: bytes) -> bytes:
        """Return `plaintext` sealed; only the same purpose opens it, so a stored value cannot be put elsewhere."""
        header = _HEADER.pack(_VERSION, _AES_256_GCM, self._current)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return header + nonce + self._ciphers[self._current].encrypt(nonce, plaintext, header + purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Return what was sealed for `purpose`.

        Raises:
            SealBroken: it does not open.
        """
        header, rest = sealed[: _HEADER.size], sealed[_HEADER.size :]
        if len(header) < _HEADER.size:
            raise SealBroken(purpose)
        version, codec, number = _HEADER.unpack(header)
        cipher = self._ciphers.get(number)
        if version != _VERSION or codec != _AES_256_GCM or cipher is None:
            raise SealBroken(purpose, f"key {number}")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(purpose) from error

    def is_current(self, sealed: bytes) -> bool:
        """Return whether the newest key sealed it; others are sealed anew when keys rotate."""
        return sealed[: _HEADER.size] == _HEADER.pack(_VERSION, _AES_256_GCM, self._current)
