"""The key under which app passwords and temporary passwords are hashed."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from threading import Lock

from mailcore.model.ids import UserId
from mailcore.services.sealing import Sealing
from mailcore.store.directory import Directory

NAME = "credential_key"
KEY_BYTES = 32


class CredentialKey:
    """One random key for the whole system, sealed in the directory; read once per process.

    What is hashed under it is random and long, so one HMAC is enough: there is nothing to slow
    guessing down for, and a dump without the sealing key cannot even be guessed at.
    """

    def __init__(self, directory: Directory, sealing: Sealing) -> None:
        self._directory = directory
        self._sealing = sealing
        self._key: bytes | None = None
        self._lock = Lock()

    def digest(self, user_id: UserId, value: bytes) -> bytes:
        """Return what is stored in place of a made-up password; no round trip after the first call.

        Raises:
            SealBroken: no sealing key opens the stored one.
        """
        return hmac.digest(self._get(), user_id.binary + value, hashlib.sha256)

    def _get(self) -> bytes:
        with self._lock:
            if self._key is None:
                sealed = self._directory.settings.find_sealed(NAME)
                if sealed is None:
                    mine = self._sealing.seal(NAME, secrets.token_bytes(KEY_BYTES))
                    sealed = self._directory.settings.insert_sealed_once(NAME, mine)
                self._key = self._sealing.open(NAME, sealed)
            return self._key
