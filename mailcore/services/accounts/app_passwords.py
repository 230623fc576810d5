"""App passwords: made-up passwords for one program each, which a user can take back one by one."""

from __future__ import annotations

import hmac
import secrets
import string
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from bson import ObjectId

from mailcore.errors import AppPasswordNotFound, TooManyAppPasswords, UserNotFound, ValueInvalid
from mailcore.model.access import Scope
from mailcore.model.actor import Actor
from mailcore.model.app_password import LETTERS, AppPassword, letters_of
from mailcore.model.event import Details
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits, within
from mailcore.model.secret import Secret
from mailcore.services.accounts.credential_key import CredentialKey
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.tenants.tenants import clean_name
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement


class AppPasswords:
    """Makes, lists and revokes them."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        key: CredentialKey,
        sessions: Sessions,
        limits: Limits,
        audit: Audit,
    ) -> None:
        self._placement = placement
        self._audit = audit
        self._directory = directory
        self._key = key
        self._sessions = sessions
        self._most = limits.app_passwords

    def create(
        self,
        actor: Actor,
        user_id: UserId,
        description: str,
        scopes: Collection[Scope] = (Scope.ALL,),
        *,
        expires_at: datetime | None = None,
        slides: timedelta | None = None,
        password: Secret | None = None,
    ) -> tuple[AppPassword, Secret]:
        """Give the user another app password and return it with its letters, which nobody can read again.

        `slides`: it expires so long after its last use. `password`: letters made up elsewhere; none of
        16 letters that a person would choose, for it is not hashed slowly.

        Raises:
            ValueInvalid: no scope, no description, not 16 letters a-z, or expired before it begins.
            TooManyAppPasswords: the user has as many as may be.
            UserNotFound: there is no such user.
        """
        at = now()
        letters = _made_up() if password is None else letters_of(password)
        if letters is None:
            raise ValueInvalid(f"an app password is {LETTERS} letters a-z")
        if not scopes:
            raise ValueInvalid("an app password opens at least one protocol")
        if slides is not None:
            if slides <= timedelta(0):
                raise ValueInvalid("an app password lives for some time")
            expires_at = at + slides
        if expires_at is not None and expires_at <= at:
            raise ValueInvalid("an app password expires in the future")
        made = AppPassword(
            id=ObjectId(),
            digest=self._key.digest(user_id, letters),
            scopes=frozenset(scopes),
            description=clean_name(description),
            created_at=at,
            expires_at=expires_at,
            slides=slides,
        )
        with self._audit.of_user(actor, "app_password.created", user_id, _details(made)):
            self._directory.app_passwords.remove_expired(user_id, at)
            limit = within(self._placement.home(user_id).limits.app_passwords, self._most)
            if not self._directory.app_passwords.add(user_id, made, limit):
                raise TooManyAppPasswords(f"a user has up to {limit} app passwords")
        return made, Secret(letters)

    def list_of_user(self, user_id: UserId) -> list[AppPassword]:
        """Return the user's app passwords that still open something, in order of creation.

        Raises:
            UserNotFound: there is no such user.
        """
        found = self._directory.app_passwords.list_of_user(user_id)
        if found is None:
            raise UserNotFound(user_id)
        return [one for one in found if one.is_alive(now())]

    def revoke(self, actor: Actor, user_id: UserId, password_id: ObjectId) -> None:
        """Take an app password back; sessions that it opened end everywhere within seconds, others go on.

        Raises:
            AppPasswordNotFound: the user has none such.
        """
        with self._audit.of_user(actor, "app_password.revoked", user_id, {"app_password": str(password_id)}):
            if not self._directory.app_passwords.remove(user_id, password_id):
                raise AppPasswordNotFound(f"there is no app password {password_id}")
        self._sessions.user_changed(user_id)

    def matching(self, user_id: UserId, passwords: Iterable[AppPassword], offered: Secret) -> AppPassword | None:
        """Return which of a user's living app passwords this is, None if none; no round trip."""
        letters = letters_of(offered)
        if letters is None:
            return None
        digest = self._key.digest(user_id, letters)
        at = now()
        found = [one for one in passwords if hmac.compare_digest(one.digest, digest) and one.is_alive(at)]
        return found[0] if found else None


def _made_up() -> bytes:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(LETTERS)).encode()


def _details(made: AppPassword) -> Details:
    return {
        "app_password": str(made.id),
        "description": made.description,
        "scopes": sorted(made.scopes),
        "expires_at": made.expires_at,
    }
