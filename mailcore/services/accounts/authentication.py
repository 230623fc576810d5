"""Authentication: one service for every door."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from mailcore.errors import (
    AuthenticationFailed,
    ServerBusy,
    TenantNotFound,
    TooManyAttempts,
    Unavailable,
)
from mailcore.model.access import MASTER, RULES, Credential, CredentialKind, Protocol, Scope
from mailcore.model.app_password import AppPassword, LastUse
from mailcore.model.ids import TenantId, UserId
from mailcore.model.roles import ROLES
from mailcore.model.secret import Secret
from mailcore.model.tenant import Tenant
from mailcore.sasl import Offer, TokenOffer
from mailcore.services.accounts.app_passwords import AppPasswords
from mailcore.services.accounts.identity import Identity
from mailcore.services.accounts.last_uses import LastUses
from mailcore.services.accounts.login_guard import Attempt, LoginGuard, Refusal, Unguarded
from mailcore.services.accounts.passwords import MAX_PASSWORD_BYTES, Passwords
from mailcore.services.accounts.recent_users import RecentUsers
from mailcore.services.accounts.sign_in_rules import ERRORS, refusal
from mailcore.services.accounts.temporary_passwords import TemporaryPasswords
from mailcore.services.accounts.tokens import Tokens
from mailcore.services.accounts.user_lookup import UserLookup, canonical
from mailcore.services.accounts.verified_passwords import VerifiedPasswords, app_password_of
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.directory.users import Credentials
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

BEAT_S = 0.025
"""A wrong password is refused so many seconds after it came in, or a multiple of it."""


class Authentication:
    """Tells who somebody is.

    A verified password is remembered for 60 s under a hash keyed by this process alone, and counts
    only while the user's document still has the same `auth_version` and, for an app password, still has that.
    Every login reads the document; those by the doors of mail believe a reading of the last second, for
    sessions opened by it are looked after (decision 41).
    """

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        passwords: Passwords,
        app_passwords: AppPasswords,
        temporary: TemporaryPasswords,
        tokens: Tokens,
        uses: LastUses,
        recent: RecentUsers,
        guard: LoginGuard | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._users = UserLookup(directory, placement)
        self._passwords = passwords
        self._app_passwords = app_passwords
        self._temporary = temporary
        self._tokens = tokens
        self._uses = uses
        self._recent = recent
        self._guard = guard or Unguarded()
        self._verified = VerifiedPasswords(clock)
        self._pause = pause

    # -- the doors' calls -----------------------------------------------------------------------

    def accept(self, offer: Offer, protocol: Protocol, remote_address: str) -> Identity:
        """Return who makes this offer; as `login` and `login_with_token`, and nobody may act for others.

        The caller opens a session for it (`Sessions.open`). No round trip within a second of the last one's.
        """
        if isinstance(offer, TokenOffer):
            return self.login_with_token(offer.username, offer.token, protocol, remote_address)
        attempt = Attempt(canonical(offer.username) or offer.username, protocol, remote_address, connects=True)
        if offer.authorize_as not in {"", offer.username}:
            self._refuse(attempt, Refusal.WRONG)
        return self._login(offer.username, offer.password, attempt, self._recent.find)

    def login(
        self,
        username: str,
        password: Secret,
        protocol: Protocol,
        remote_address: str,
        *,
        within: TenantId | None = None,
    ) -> Identity:
        """Return who signs in with any of their addresses and a master, temporary or app password.

        By the main address as it is shown one round trip and a hash; one and none within a minute or by an app
        password; by any other address two more. Unknown users cost what a wrong password costs. For a tenant that
        asks, `within`, others' users are unknown ones, and what it says of the address counts for it alone.

        Raises:
            AuthenticationFailed: unknown user or wrong password.
            UserDisabled, ProtocolDisabled, ScopeInsufficient, AppPasswordNeeded, PasswordChangeNeeded,
                PasswordNotYetValid: right, but not for this; told to nobody with a wrong password.
            TooManyAttempts: the guard says to wait.
            ServerBusy: too many hashes wait.
            StoreUnavailable: the directory did not answer.
        """
        attempt = Attempt(canonical(username) or username, protocol, remote_address, within=within)
        return self._login(username, password, attempt, self._placement.find_credentials)

    def _login(
        self, username: str, password: Secret, attempt: Attempt, find: Callable[[UserId], Credentials | None]
    ) -> Identity:
        """As `login`; `find` reads the user whose password was verified within the last minute.

        What is refused waits for the beat: somebody who exists takes a tenth of a millisecond longer to read.
        """
        began = time.monotonic()
        try:
            return self._find_out(username, password, attempt, find)
        except AuthenticationFailed:
            self._pause(BEAT_S - (time.monotonic() - began) % BEAT_S)
            raise

    def _find_out(
        self, username: str, password: Secret, attempt: Attempt, find: Callable[[UserId], Credentials | None]
    ) -> Identity:
        if not 0 < len(password) <= MAX_PASSWORD_BYTES:
            self._refuse(attempt, Refusal.WRONG)
        key = self._verified.key(attempt.username, password)
        known = self._verified.find(key)
        found = find(known.user_id) if known is not None else None
        credential = known.still_good(found) if known is not None and found is not None else None
        if found is None or credential is None or not attempt.may_be_of(found.user.tenant_id):
            self._verified.forget(key)
            attempt, found, credential = self._verify(username, password, attempt)
        attempt = _of(attempt, found, credential.kind)
        app_password = app_password_of(found, credential)
        tenant = self._check(attempt, found, app_password)
        self._verified.remember(key, found, credential)
        if app_password is not None:
            use = LastUse(now(), attempt.protocol.value, attempt.remote_address)
            self._uses.of_app_password(found.user.id, app_password, use)
        return self._accepted(attempt, found, tenant, credential)

    def login_with_token(self, username: str, token: Secret, protocol: Protocol, remote_address: str) -> Identity:
        """Return whose token this is; `username`, where there is one, is an address of the same user.

        Two round trips, and one more for a name that is not the user's main address.

        Raises:
            AuthenticationFailed: no such token, somebody else's, or not one of a user.
            UserDisabled, ProtocolDisabled, ScopeInsufficient, PasswordChangeNeeded: right, but not for this.
        """
        attempt = Attempt(canonical(username) or username, protocol, remote_address, kind=CredentialKind.TOKEN)
        found_token = self._tokens.find(token)
        user_id = found_token.owner.user_id if found_token is not None else None
        found = self._placement.find_credentials(user_id) if user_id is not None else None
        if found_token is None or found is None or found_token.auth_version != found.user.auth_version:
            self._refuse(attempt, Refusal.WRONG)
        attempt = _of(attempt, found, CredentialKind.TOKEN)
        if username and not self._users.is_address_of(username, found):
            self._refuse(attempt, Refusal.WRONG)
        if not ROLES[found_token.role].opens_mail:
            self._refuse(attempt, Refusal.SCOPE)
        tenant = self._check(attempt, found, None)
        if found_token.change_first:
            self._refuse(attempt, Refusal.CHANGE_NEEDED)
        self._uses.of_token(found_token, LastUse(now(), protocol.value, remote_address))
        return self._accepted(attempt, found, tenant, Credential(CredentialKind.TOKEN, found_token.id))

    # -- finding out ----------------------------------------------------------------------------

    def _verify(self, username: str, password: Secret, attempt: Attempt) -> tuple[Attempt, Credentials, Credential]:
        """Find the user and by what it is let in; made-up passwords first, for guesses at the master one bar no app.

        Raises as `login`.
        """
        name = canonical(username)
        found = self._users.by_main_address(username, attempt) if name is not None else None
        shown = found
        if name is not None and found is None:
            attempt, found = self._users.by_address(name, attempt)
        if found is not None:
            attempt = _of(attempt, found, None)
            app_password = self._app_passwords.matching(found.user.id, found.app_passwords, password)
            if app_password is not None:
                return attempt, found, Credential(CredentialKind.APP_PASSWORD, app_password.id)
            if self._temporary.matches(found.user.id, found.temporary, password):
                if found.temporary is not None and now() < found.temporary.valid_after:
                    self._refuse(replace(attempt, kind=CredentialKind.TEMPORARY), Refusal.NOT_YET_VALID)
                return attempt, found, Credential(CredentialKind.TEMPORARY)
        limits = self._placement.known_limits(found.user) if found is not None and attempt.connects else None
        encoded = found.password_hash if found is not None else None
        try:
            attempt = self._guard.before(attempt, limits.connections if limits is not None else None)
            is_right = self._is_master(attempt, encoded, password)
        except (TooManyAttempts, ServerBusy):
            self._users.confirm(shown, attempt)
            raise
        if not is_right or found is None or encoded is None:
            self._users.confirm(shown, attempt)
            self._refuse(attempt, Refusal.WRONG)
        self._upgrade(found.user.id, encoded, password)
        return attempt, found, MASTER

    def _is_master(self, attempt: Attempt, encoded: str | None, password: Secret) -> bool:
        try:
            return self._passwords.verify(encoded, password)
        except Unavailable:
            self._guard.withdrawn(attempt)
            raise

    def _upgrade(self, user_id: UserId, old: str, password: Secret) -> None:
        """Store a better hash if there is time for it: the password was right, whatever becomes of this."""
        try:
            new = self._passwords.upgraded(old, password)
            if new is not None:
                self._directory.users.upgrade_hash(user_id, old, new)
        except Unavailable as error:
            log.warning("login.hash.kept", extra={"user": str(user_id), "reason": type(error).__name__})

    # -- letting in -----------------------------------------------------------------------------

    def _check(self, attempt: Attempt, found: Credentials, app_password: AppPassword | None) -> Tenant:
        """See that what is right lets in here; return the tenant, or refuse."""
        assert attempt.kind is not None
        scopes: frozenset[Scope] = app_password.scopes if app_password is not None else frozenset()
        try:
            tenant = self._tenant(found.user.tenant_id)
        except Unavailable:
            self._guard.withdrawn(attempt)
            raise
        reason = refusal(found.user, tenant, attempt.protocol, attempt.kind, scopes)
        if reason is not None:
            self._refuse(attempt, reason)
        assert tenant is not None, "a user of no tenant is refused"
        return tenant

    def _tenant(self, tenant_id: TenantId) -> Tenant | None:
        try:
            return self._placement.tenant(tenant_id)
        except TenantNotFound:
            return None

    def _accepted(self, attempt: Attempt, found: Credentials, tenant: Tenant, credential: Credential) -> Identity:
        self._guard.succeeded(attempt)
        log.info("login.accepted", extra=_fields(attempt))
        user = found.user
        asks_second = RULES[attempt.protocol].second_step and credential.kind is CredentialKind.MASTER
        return Identity(
            user_id=user.id,
            tenant_id=user.tenant_id,
            address=user.address,
            auth_version=user.auth_version,
            protocol=attempt.protocol,
            credential=credential,
            limits=self._placement.limits(user, tenant),
            second_step=user.enabled_2fa if asks_second else (),
            password_change_needed=user.password_change_needed or credential.kind is CredentialKind.TEMPORARY,
        )

    def _refuse(self, attempt: Attempt, reason: Refusal) -> NoReturn:
        """Tell guard and log, then raise what the door tells the client; what was refused is read anew next time."""
        if attempt.user_id is not None:
            self._recent.forget(attempt.user_id)
        self._guard.failed(attempt, reason)
        log.info("login.refused", extra=_fields(attempt) | {"reason": reason.value})
        raise ERRORS[reason](attempt.user_id)


def _of(attempt: Attempt, found: Credentials, kind: CredentialKind | None) -> Attempt:
    return attempt.of(found.user.id, found.user.tenant_id, kind)


def _fields(attempt: Attempt) -> dict[str, str]:
    return {
        "protocol": str(attempt.protocol),
        "remote_address": attempt.remote_address,
        "user": str(attempt.user_id) if attempt.user_id else "",
        "credential": str(attempt.kind or ""),
    }
