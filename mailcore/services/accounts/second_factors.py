"""Second factors: what is on, what stands in for them, and the second step of a sign-in.

Whoever turns one on or off as a user proves the master password once more: an app password or a
stolen session is not enough.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from typing import Final

from mailcore.errors import (
    FactorIsOff,
    FactorIsOn,
    NonceInvalid,
    SecondFactorWrong,
    TooManyAttempts,
    UserDisabled,
    UserNotFound,
)
from mailcore.model.actor import Actor
from mailcore.model.factors import Factor, FactorStatus
from mailcore.model.ids import UserId
from mailcore.model.limits import SecondFactorLimits
from mailcore.model.secret import Secret
from mailcore.model.tenant import State, User
from mailcore.services.accounts.identity import Identity
from mailcore.services.accounts.reauthentication import Reauthentication
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.events.audit import Audit
from mailcore.store.directory import Directory
from mailcore.store.directory.second_factors import StoredFactors
from mailcore.store.placement import stricter

log = logging.getLogger(__name__)

RECOVERY_CODES: Final = 10
CODE_CHARACTERS: Final = 16
CODE_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""Nothing that is easily read as something else; 16 of these hold 80 bits."""
_SECOND_STEP: Final = "second step"


class SecondFactors:
    """What all kinds of factor have in common."""

    def __init__(
        self,
        directory: Directory,
        reauthentication: Reauthentication,
        audit: Audit,
        limits: SecondFactorLimits,
        sessions: Sessions,
    ) -> None:
        self._sessions = sessions
        self._directory = directory
        self._reauthentication = reauthentication
        self._audit = audit
        self._limits = limits

    def status(self, user_id: UserId) -> FactorStatus:
        """Return what is on; one round trip.

        Raises:
            UserNotFound: there is no such user.
        """
        stored = self.stored(user_id)
        return FactorStatus(stored.enabled, stored.passkeys, stored.recovery_codes_left)

    def stored(self, user_id: UserId) -> StoredFactors:
        """Return what is stored, for the services of each kind; raises as `status`."""
        stored = self._directory.second_factors.find(user_id)
        if stored is None:
            raise UserNotFound(user_id)
        return stored

    def count_try(self, user_id: UserId) -> StoredFactors:
        """Count a look at a code and return what to compare it with; one round trip.

        Raises:
            TooManyAttempts: too many codes were wrong; wait.
        """
        window_s = self._limits.window_s
        stored = self._directory.second_factors.reserve_try(user_id, self._limits.tries, window_s)
        if stored is None:
            self.stored(user_id)
            log.warning("mfa.too_many_tries", extra={"user": str(user_id)})
            raise TooManyAttempts(user_id, wait_s=window_s)
        return stored

    def wrong(self, user_id: UserId, factor: str, reason: str = "") -> SecondFactorWrong:
        """Log a refusal and return what is told of it: nothing of the reason."""
        log.info("mfa.refused", extra={"user": str(user_id), "factor": factor, "reason": reason[:200]})
        return SecondFactorWrong()

    # -- off and on -----------------------------------------------------------------------------

    def enable_custom(self, actor: Actor, user_id: UserId, password: Secret | None = None) -> User:
        """Note that somebody else checks a second factor: mail protocols take no master password any more.

        Raises:
            FactorIsOn: it is noted already. Also as `Reauthentication.confirm`.
        """
        self._reauthentication.confirm(actor, user_id, password)
        with self._audit.of_user(actor, "mfa.custom.enabled", user_id):
            user = self._directory.second_factors.enable(user_id, Factor.CUSTOM)
            if user is None:
                raise FactorIsOn(Factor.CUSTOM.value)
        self.turned_on(user_id)
        return user

    def turned_on(self, user_id: UserId) -> None:
        """Have every process look at the user's sessions: those by the master password alone end."""
        self._sessions.user_changed(user_id)

    def disable(self, actor: Actor, user_id: UserId, factor: Factor, password: Secret | None = None) -> User:
        """Turn a kind of factor off and forget what belongs to it; with the last one the recovery codes go.

        Raises:
            FactorIsOff: it is not on. Also as `Reauthentication.confirm`.
        """
        self._reauthentication.confirm(actor, user_id, password)
        with self._audit.of_user(actor, f"mfa.{factor.value}.disabled", user_id):
            user = self._directory.second_factors.disable(user_id, factor)
            if user is None:
                raise FactorIsOff(f"{factor.value} is not on")
        return user

    def disable_all(self, actor: Actor, user_id: UserId, password: Secret | None = None) -> User:
        """Forget every factor, every recovery code and every sign-in that waits for one.

        Raises as `Reauthentication.confirm`.
        """
        self._reauthentication.confirm(actor, user_id, password)
        with self._audit.of_user(actor, "mfa.disabled", user_id):
            user = self._directory.second_factors.disable_all(user_id)
            if user is None:
                raise UserNotFound(user_id)
            self._directory.nonces.delete_of_user(user_id)
        return user

    # -- recovery codes -------------------------------------------------------------------------

    def make_recovery_codes(self, actor: Actor, user_id: UserId, password: Secret | None = None) -> list[Secret]:
        """Return ten new codes, each good for one sign-in; those made before are good no more, and none is shown again.

        Raises:
            FactorIsOff: there is no factor that they could stand in for. Also as `Reauthentication.confirm`.
        """
        self._reauthentication.confirm(actor, user_id, password)
        codes = [_new_code() for _ in range(RECOVERY_CODES)]
        hashes = [_hash_code(user_id, code) for code in codes]
        with self._audit.of_user(actor, "mfa.recovery.created", user_id):
            if not self._directory.second_factors.replace_recovery_codes(user_id, hashes):
                raise FactorIsOff("no second factor is on")
        return codes

    def check_recovery_code(self, actor: Actor, user_id: UserId, code: Secret) -> None:
        """Use a recovery code up; two round trips and those of the audit trail.

        Raises:
            SecondFactorWrong: there is none like it, or not any more.
            TooManyAttempts: as `count_try`.
        """
        self.count_try(user_id)
        with self._audit.of_user(actor, "mfa.recovery.used", user_id):
            if not self._directory.second_factors.use_recovery_code(user_id, _hash_code(user_id, code)):
                raise self.wrong(user_id, "recovery")

    # -- the second step of a sign-in -----------------------------------------------------------

    def begin_step(self, identity: Identity) -> Secret:
        """Return the nonce with which who gave the right password goes on to the second step; one round trip.

        Forty hexadecimal digits, good once and for ten minutes, and only as long as nothing ends the user's sessions.
        """
        nonce = Secret(secrets.token_hex(20))
        content = {"auth_version": identity.auth_version}
        self._directory.nonces.insert(identity.user_id, _SECOND_STEP, nonce, self._limits.step_s, content)
        return nonce

    def finish_step(self, user_id: UserId, nonce: Secret, check: Callable[[], object]) -> User:
        """Let `check` look at the factor, then use the nonce up and return who is signed in.

        A wrong factor leaves the nonce: the user may try again. Four round trips and those of `check`.

        Raises:
            NonceInvalid: it is unknown, somebody else's, used or too old, or the password was changed meanwhile.
            UserDisabled: the tenant was suspended or removed meanwhile.
            SecondFactorWrong, TooManyAttempts: as `check`.
        """
        self.step_of(user_id, nonce)
        check()
        content = self._directory.nonces.consume(user_id, _SECOND_STEP, nonce)
        user = self._directory.users.find(user_id) if content is not None else None
        if content is None or user is None or user.auth_version != content["auth_version"]:
            raise NonceInvalid
        tenant = self._directory.tenants.find(user.tenant_id)
        if tenant is None or stricter(user.state, tenant.admits) is not State.ACTIVE:
            raise UserDisabled(user_id)
        return user

    def step_of(self, user_id: UserId, nonce: Secret) -> str:
        """Return what a challenge of this second step is bound to; one round trip.

        Raises:
            NonceInvalid: as `finish_step`.
        """
        if self._directory.nonces.find(user_id, _SECOND_STEP, nonce) is None:
            raise NonceInvalid
        return f"step:{hashlib.sha256(nonce.reveal()).hexdigest()}"


def _new_code() -> Secret:
    letters = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_CHARACTERS))
    return Secret("-".join(letters[start : start + 4] for start in range(0, CODE_CHARACTERS, 4)))


def _hash_code(user_id: UserId, code: Secret) -> bytes:
    """Return the hash of a code, however its groups are set apart; 80 random bits need no slow one."""
    letters = code.reveal().lower().translate(None, b" -\t")
    return hashlib.sha256(user_id.binary + letters).digest()
