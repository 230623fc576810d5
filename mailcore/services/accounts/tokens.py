"""API tokens: made for the platform, a tenant or a user; kept by their hash only."""

from __future__ import annotations

import hashlib
import re
import secrets
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from bson import ObjectId

from mailcore.errors import TokenNotFound, ValueInvalid
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.event import Details
from mailcore.model.ids import TenantId, UserId
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.model.token import Token, TokenOwner, TokenScope, expiry
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.accounts.users import Users
from mailcore.services.events.audit import Audit, Change
from mailcore.services.process.clock import now
from mailcore.services.tenants.tenants import Tenants, clean_name
from mailcore.store.directory import Directory

VALUE_BYTES = 20
_SHAPE = re.compile(rb"[0-9a-f]{40}")
"""160 random bits in hexadecimal: the form in which clients of the API know tokens."""


class Tokens:
    """Makes, finds, lists and revokes them."""

    def __init__(self, directory: Directory, tenants: Tenants, users: Users, sessions: Sessions, audit: Audit) -> None:
        self._audit = audit
        self._directory = directory
        self._tenants = tenants
        self._users = users
        self._sessions = sessions

    def create(
        self,
        actor: Actor,
        owner: TokenOwner,
        role: Role,
        description: str,
        *,
        ends_at: datetime | None = None,
        slides: timedelta | None = None,
        change_first: bool = False,
    ) -> tuple[Token, Secret]:
        """Make a token and return it with its value, which nobody can read again.

        `slides`: it ends so long after its last use; `ends_at`: it ends then at the latest; `change_first`: its
        user has to choose another password, which ends it; it is good for nothing else.

        Raises:
            ValueInvalid: a role that does not fit, no description, or an end in the past.
            TenantNotFound, UserNotFound: there is no such owner.
        """
        at = now()
        if (slides is not None and slides <= timedelta(0)) or (ends_at is not None and ends_at <= at):
            raise ValueInvalid("a token ends in the future")
        if role is Role.USER and owner.scope is not TokenScope.USER:
            raise ValueInvalid("the role user is for users' tokens")
        auth_version = None
        if owner.user_id is not None:
            user = self._users.get(owner.user_id)
            if user.tenant_id != owner.tenant_id:
                raise ValueInvalid("the user belongs to another tenant")
            auth_version = user.auth_version
        elif owner.tenant_id is not None:
            self._tenants.get(owner.tenant_id)
        made = Token(
            id=ObjectId(),
            owner=owner,
            role=role,
            description=clean_name(description),
            created_at=at,
            expires_at=expiry(at, slides, ends_at),
            ends_at=ends_at,
            slides=slides,
            auth_version=auth_version,
            made_by=actor.identity if _is_members(actor, owner) else "",
            change_first=change_first,
        )
        value = secrets.token_hex(VALUE_BYTES).encode()
        wanted = {"token": str(made.id), "role": role.value, "description": made.description, "ends_at": ends_at}
        with self._change(actor, "token.created", owner, wanted):
            self._directory.api_tokens.insert(made, _digest(value))
        return made, Secret(value)

    def find(self, value: Secret) -> Token | None:
        """Return the living token of this value, else None; one round trip, none for what cannot be a token.

        A user's token also needs its user, as it is now: see `Authentication`.
        """
        revealed = value.reveal()
        if not _SHAPE.fullmatch(revealed):
            return None
        token = self._directory.api_tokens.find(_digest(revealed))
        return token if token is not None and token.is_alive(now()) else None

    @staticmethod
    def digest(value: Secret) -> bytes:
        """Return the hash by which a value is known."""
        return _digest(value.reveal())

    def list_of(self, owner: TokenOwner, after: ObjectId | None = None) -> list[Token]:
        """Return a page of up to 1000 of an owner's living tokens by id, those after `after`."""
        return [token for token in self._directory.api_tokens.list_of(owner, after) if token.is_alive(now())]

    def revoke(self, actor: Actor, owner: TokenOwner, token_id: ObjectId, why: Details | None = None) -> None:
        """Take a token back; sessions that it opened end everywhere within seconds. `why` is told with the event.

        Raises:
            TokenNotFound: the owner has none such.
        """
        with self._change(actor, "token.revoked", owner, {"token": str(token_id), **(why or {})}):
            if not self._directory.api_tokens.delete(owner, token_id):
                raise TokenNotFound(f"there is no token {token_id}")
        if owner.user_id is not None:
            self._sessions.user_changed(owner.user_id)

    def _change(self, actor: Actor, kind: str, owner: TokenOwner, wanted: Details) -> AbstractContextManager[Change]:
        if owner.user_id is not None:
            return self._audit.of_user(actor, kind, owner.user_id, wanted)
        if owner.tenant_id is not None:
            return self._audit.of_tenant(actor, kind, owner.tenant_id, wanted)
        return self._audit.of_platform(actor, kind, wanted)

    def owner_of_user(self, user_id: UserId) -> TokenOwner:
        """Return a user as an owner of tokens.

        Raises:
            UserNotFound: there is no such user.
        """
        return TokenOwner(TokenScope.USER, self._users.get(user_id).tenant_id, user_id)


def owner_of_tenant(tenant_id: TenantId) -> TokenOwner:
    """Return a tenant as an owner of tokens."""
    return TokenOwner(TokenScope.TENANT, tenant_id)


def _is_members(actor: Actor, owner: TokenOwner) -> bool:
    """Return whether a token of an organisation is made by one of its members, with whose right to make it it ends."""
    return owner.scope is TokenScope.TENANT and actor.kind is ActorKind.MEMBER


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(b"eider token" + value).digest()
