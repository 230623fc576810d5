"""The key under which app passwords and temporary passwords are hashed."""

from __future__ import annotations

import hashlib
import hmac

from mailcore.model.ids import UserId
from mailcore.services.trust.sealing import Sealing
from mailcore.services.trust.system_key import SystemKey
from mailcore.store.directory import Directory

NAME = "credential_key"


class CredentialKey:
    """Hashes what is random and long, so that one HMAC is enough.

    There is nothing to slow guessing down for, and a dump without the sealing key cannot even be guessed at.
    """

    def __init__(self, directory: Directory, sealing: Sealing) -> None:
        self._key = SystemKey(directory, sealing, NAME)

    def digest(self, user_id: UserId, value: bytes) -> bytes:
        """Return what is stored in place of a made-up password; no round trip after the first call.

        Raises:
            SealBroken: no sealing key opens the stored one.
        """
        return hmac.digest(self._key.get(), user_id.binary + value, hashlib.sha256)
