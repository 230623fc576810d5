"""Authentication: one service for every door."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

from mailcore.errors import AddressInvalid, AuthenticationFailed, TenantNotFound, Unavailable, UserDisabled
from mailcore.model.access import MASTER, Credential, CredentialKind, Protocol
from mailcore.model.address import Address
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_USER_LIMITS, UserLimits
from mailcore.model.secret import Secret
from mailcore.model.tenant import State, User
from mailcore.sasl import Offer, TokenOffer
from mailcore.services.login_guard import Attempt, LoginGuard, Refusal, Unguarded
from mailcore.services.passwords import MAX_PASSWORD_BYTES, Passwords
from mailcore.store.directory import Directory
from mailcore.store.directory.users import Credentials
from mailcore.store.placement import Placement, stricter

log = logging.getLogger(__name__)

VERIFIED_S = 60.0
MAX_VERIFIED = 20_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in; open sessions compare `auth_version` with the directory now and then."""

    user_id: UserId
    tenant_id: TenantId
    address: str
    auth_version: int
    protocol: Protocol
    credential: Credential = MASTER
    """By which password or token it was."""
    limits: UserLimits = DEFAULT_USER_LIMITS
    """What holds for the user."""


class Authentication:
    """Tells who somebody is.

    A verified password is remembered for 60 s under a hash keyed by this process alone, and
    counts only while `auth_version` is still that of the user's document, which every login reads.
    """

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        passwords: Passwords,
        guard: LoginGuard | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._passwords = passwords
        self._guard = guard or Unguarded()
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, tuple[float, UserId, int]] = OrderedDict()
        self._lock = Lock()

    def accept(self, offer: Offer, protocol: Protocol, remote_address: str) -> Identity:
        """Return who makes this offer; as `login` and `login_with_token`, and nobody may act for others."""
        if isinstance(offer, TokenOffer):
            return self.login_with_token(offer.username, offer.token, protocol, remote_address)
        if offer.authorize_as not in {"", offer.username}:
            raise self._refused(Attempt(offer.username, protocol, remote_address), Refusal.WRONG)
        return self.login(offer.username, offer.password, protocol, remote_address)

    def login(self, username: str, password: Secret, protocol: Protocol, remote_address: str) -> Identity:
        """Return who signs in with any of their addresses; two round trips and a hash, or one and none.

        Unknown users cost the same hash as wrong passwords.

        Raises:
            AuthenticationFailed: unknown user or wrong password.
            UserDisabled: right, but user or tenant may not sign in.
            TooManyAttempts: the guard says to wait.
            ServerBusy: too many hashes wait.
            StoreUnavailable: the directory did not answer.
        """
        name = _login_name(username)
        attempt = Attempt(name or username, protocol, remote_address)
        if not 0 < len(password) <= MAX_PASSWORD_BYTES:
            raise self._refused(attempt, Refusal.WRONG)
        remembered = self._remember_key(name or username, password)
        user = self._recall(remembered)
        if user is None:
            found = self._find(name)
            if found is not None:
                attempt = replace(attempt, user_id=found.user.id, tenant_id=found.user.tenant_id)
            attempt = self._guard.before(attempt)
            if not self._verify(attempt, found, password) or found is None:
                raise self._refused(attempt, Refusal.WRONG)
            user = found.user
            self._upgrade(found, password)
        attempt = replace(attempt, user_id=user.id, tenant_id=user.tenant_id, kind=MASTER.kind)
        if self._state(user) is not State.ACTIVE:
            self._refused(attempt, Refusal.DISABLED)
            raise UserDisabled(user.id)
        self._store(remembered, user)
        return self._accepted(attempt, user, MASTER)

    def login_with_token(self, username: str, token: Secret, protocol: Protocol, remote_address: str) -> Identity:
        """Return whose token this is; `username`, where there is one, is an address of the same user.

        Raises:
            AuthenticationFailed: no such token, or somebody else's.
        """
        del token
        raise self._refused(Attempt(username, protocol, remote_address, kind=CredentialKind.TOKEN), Refusal.WRONG)

    def verify_session(self, user_id: UserId, auth_version: int) -> bool:
        """Return whether a session opened with `auth_version` may go on: nothing ended it since; one round trip."""
        user = self._directory.users.find(user_id)
        return user is not None and user.auth_version == auth_version and self._state(user) is State.ACTIVE

    def _find(self, name: str | None) -> Credentials | None:
        route = self._directory.addresses.find(name) if name is not None else None
        return self._directory.users.find_credentials(route.user_id) if route is not None else None

    def _verify(self, attempt: Attempt, found: Credentials | None, password: Secret) -> bool:
        try:
            return self._passwords.verify(found.password_hash if found else None, password)
        except Unavailable:
            self._guard.withdrawn(attempt)
            raise

    def _limits(self, user: User) -> UserLimits:
        return self._placement.limits(user, self._placement.tenant(user.tenant_id))

    def _state(self, user: User) -> State:
        try:
            return stricter(user.state, self._placement.tenant(user.tenant_id).state)
        except TenantNotFound:
            return State.DISABLED

    def _upgrade(self, found: Credentials, password: Secret) -> None:
        old = found.password_hash
        new = self._passwords.upgraded(old, password) if old is not None else None
        if old is not None and new is not None:
            self._directory.users.upgrade_hash(found.user.id, old, new)

    def _accepted(self, attempt: Attempt, user: User, credential: Credential) -> Identity:
        self._guard.succeeded(attempt)
        log.info("login.accepted", extra=_fields(attempt))
        version, limits = user.auth_version, self._limits(user)
        return Identity(user.id, user.tenant_id, user.address, version, attempt.protocol, credential, limits)

    def _refused(self, attempt: Attempt, refusal: Refusal) -> AuthenticationFailed:
        """Tell guard and log; what is returned says nothing of the reason."""
        self._guard.failed(attempt, refusal)
        log.info("login.refused", extra=_fields(attempt) | {"reason": refusal.value})
        return AuthenticationFailed()

    # -- passwords verified a short while ago -----------------------------------------------------

    def _remember_key(self, name: str, password: Secret) -> bytes:
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        encoded = name.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4) + encoded + password.reveal())
        return digest.digest()

    def _recall(self, key: bytes) -> User | None:
        """Return the user, freshly read, if this password was right lately and nothing has ended it since."""
        known = self._verified.get(key)
        if known is None:
            return None
        good_until, user_id, auth_version = known
        if self._clock() < good_until:
            user = self._directory.users.find(user_id)
            if user is not None and user.auth_version == auth_version:
                return user
        self._verified.pop(key, None)
        return None

    def _store(self, key: bytes, user: User) -> None:
        with self._lock:
            if key not in self._verified:
                self._verified[key] = (self._clock() + VERIFIED_S, user.id, user.auth_version)
                while len(self._verified) > MAX_VERIFIED:
                    self._verified.popitem(last=False)


def _login_name(username: str) -> str | None:
    try:
        return Address.parse(username).canonical
    except AddressInvalid:
        return None


def _fields(attempt: Attempt) -> dict[str, str]:
    return {
        "protocol": attempt.protocol.value,
        "remote_address": attempt.remote_address,
        "user": str(attempt.user_id) if attempt.user_id else "",
        "credential": attempt.kind.value if attempt.kind else "",
    }
