"""Which passwords were verified a short while ago: the next login with one costs no hash."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from mailcore.model.access import Credential, CredentialKind
from mailcore.model.app_password import AppPassword
from mailcore.model.secret import Secret
from mailcore.services.process.clock import now
from mailcore.store.directory.users import Credentials

VERIFIED_S = 60.0
MAX_VERIFIED = 20_000


class Known:
    """Who was verified a short while ago, and by what."""

    __slots__ = ("auth_version", "credential", "good_until", "user_id")

    def __init__(self, good_until: float, found: Credentials, credential: Credential) -> None:
        self.good_until = good_until
        self.user_id = found.user.id
        self.auth_version = found.user.auth_version
        self.credential = credential

    def still_good(self, found: Credentials) -> Credential | None:
        """Return the credential if nothing has ended it since; `found` was read just now."""
        if found.user.auth_version != self.auth_version:
            return None
        if self.credential.kind is CredentialKind.APP_PASSWORD:
            app_password = app_password_of(found, self.credential)
            if app_password is None or not app_password.is_alive(now()):
                return None
        return self.credential


class VerifiedPasswords:
    """Passwords verified within the last minute, by a hash that only this process can make."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = Lock()

    def key(self, name: str, password: Secret) -> bytes:
        """Return under what a name with a password is remembered."""
        encoded = name.encode("utf-8", "surrogatepass")
        named = len(encoded).to_bytes(4) + encoded
        return hashlib.blake2b(named + password.reveal(), key=self._key, digest_size=32).digest()

    def find(self, key: bytes) -> Known | None:
        """Return what was remembered within the last minute."""
        known = self._known.get(key)
        return known if known is not None and self._clock() < known.good_until else None

    def forget(self, key: bytes) -> None:
        """Remember it no more."""
        self._known.pop(key, None)

    def remember(self, key: bytes, found: Credentials, credential: Credential) -> None:
        """Remember for a minute from the first time; a temporary password never."""
        if credential.kind is CredentialKind.TEMPORARY:
            return
        with self._lock:
            if key not in self._known:
                self._known[key] = Known(self._clock() + VERIFIED_S, found, credential)
                while len(self._known) > MAX_VERIFIED:
                    self._known.popitem(last=False)


def app_password_of(found: Credentials, credential: Credential) -> AppPassword | None:
    """Return the user's app password that this is, if it is one and they still have it."""
    if credential.kind is not CredentialKind.APP_PASSWORD:
        return None
    return next((one for one in found.app_passwords if one.id == credential.id), None)
