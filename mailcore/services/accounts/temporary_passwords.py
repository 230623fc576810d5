"""Temporary passwords: made up, good for a day, and only to choose another password with."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

from mailcore.errors import UserNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.services.accounts.credential_key import CredentialKey
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.directory.users import TemporaryPassword

CHARACTERS: Final = 16
ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""Nothing that is easily read as something else; 16 of these hold 80 bits. At least one is a digit."""
LIFE: Final = timedelta(hours=24)


class TemporaryPasswords:
    """Makes and recognizes them; the master password and open sessions stay as they are until it is used."""

    def __init__(self, directory: Directory, key: CredentialKey, audit: Audit) -> None:
        self._audit = audit
        self._directory = directory
        self._key = key

    def create(self, actor: Actor, user_id: UserId, valid_after: datetime | None = None) -> Secret:
        """Return a new temporary password, good for 24 h from `valid_after` or now; it replaces an earlier one.

        Raises:
            ValueInvalid: it would become valid in more than a year.
            UserNotFound: there is no such user.
        """
        begins = valid_after or now()
        if begins > now() + timedelta(days=366):
            raise ValueInvalid("a temporary password becomes valid within a year")
        value = _made_up()
        stored = TemporaryPassword(self._key.digest(user_id, value), begins, begins + LIFE)
        with self._audit.of_user(actor, "user.temporary_password", user_id, {"valid_after": begins}):
            if self._directory.user_changes.set_temporary_password(user_id, stored) is None:
                raise UserNotFound(user_id)
        return Secret(value)

    def matches(self, user_id: UserId, stored: TemporaryPassword | None, offered: Secret) -> bool:
        """Return whether this is the user's temporary password, not yet expired; no round trip."""
        if stored is None or now() >= stored.expires_at or len(offered) != CHARACTERS:
            return False
        return hmac.compare_digest(self._key.digest(user_id, offered.reveal()), stored.digest)


def _made_up() -> bytes:
    while True:
        value = "".join(secrets.choice(ALPHABET) for _ in range(CHARACTERS))
        if not value.isalpha():  # letters alone would look like an app password
            return value.encode()
