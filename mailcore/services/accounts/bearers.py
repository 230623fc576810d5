"""Who calls the API: the token a request carries, looked up at most once every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mailcore.errors import AuthenticationFailed
from mailcore.model.access import Protocol
from mailcore.model.app_password import LastUse
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.model.token import Token
from mailcore.services.accounts.last_uses import LastUses
from mailcore.services.accounts.tokens import Tokens
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.placement import stricter

GOOD_FOR_S: Final = 4.0
"""A token taken back is refused everywhere after so long."""
MAX_KNOWN: Final = 10_000


class Bearers:
    """Finds the living token of a value; a user's also needs its user as it is now."""

    def __init__(
        self, directory: Directory, tokens: Tokens, uses: LastUses, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._uses = uses
        self._clock = clock
        self._known: dict[bytes, tuple[float, Token]] = {}

    def find(self, value: Secret, remote_address: str) -> Token:
        """Return the token; no round trip if it was found within the last seconds, else one, or three for a user's.

        Raises:
            AuthenticationFailed: there is none, it ended, or its user's password was changed since.
            UserDisabled is not told apart: a token of somebody who may not sign in is none.
            StoreUnavailable: the directory did not answer.
        """
        at = self._clock()
        key = self._tokens.digest(value)
        known = self._known.get(key)
        if known is not None and at < known[0] and known[1].is_alive(now()):
            return known[1]
        self._known.pop(key, None)
        token = self._tokens.find(value)
        if token is None or not self._has_its_owner(token):
            raise AuthenticationFailed("no such token")
        self._uses.of_token(token, LastUse(now(), Protocol.API.value, remote_address))
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[key] = (at + GOOD_FOR_S, token)
        return token

    def forget(self, value: Secret) -> None:
        """Look this value up next time."""
        self._known.pop(self._tokens.digest(value), None)

    def _has_its_owner(self, token: Token) -> bool:
        """Whether the user or tenant whose token it is may sign in."""
        if token.owner.tenant_id is None:
            return True
        tenant = self._directory.tenants.find(token.owner.tenant_id)
        if tenant is None:
            return False
        if token.owner.user_id is None:
            return tenant.admits is State.ACTIVE
        user = self._directory.users.find(token.owner.user_id)
        if user is None or user.auth_version != token.auth_version:
            return False
        return stricter(user.state, tenant.admits) is State.ACTIVE
