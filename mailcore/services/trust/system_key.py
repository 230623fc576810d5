"""Random keys of the whole system, each under a name."""

from __future__ import annotations

import secrets
from threading import Lock

from mailcore.services.trust.sealing import Sealing
from mailcore.store.directory import Directory

KEY_BYTES = 32


class SystemKey:
    """One random key for the whole system, sealed in the directory; read once per process."""

    def __init__(self, directory: Directory, sealing: Sealing, name: str) -> None:
        self._directory = directory
        self._sealing = sealing
        self._name = name
        self._key: bytes | None = None
        self._lock = Lock()

    def get(self) -> bytes:
        """Return the key, 32 bytes; made by whoever needs it first. No round trip after the first call.

        Raises:
            SealBroken: no sealing key opens the stored one.
        """
        with self._lock:
            if self._key is None:
                sealed = self._directory.settings.find_sealed(self._name)
                if sealed is None:
                    mine = self._sealing.seal(self._name, secrets.token_bytes(KEY_BYTES))
                    sealed = self._directory.settings.insert_sealed_once(self._name, mine)
                self._key = self._sealing.open(self._name, sealed)
            return self._key
