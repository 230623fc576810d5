"""TOTP: codes that change every 30 s (RFC 6238), each good once on whatever node."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyotp

from mailcore.errors import FactorIsOff, FactorIsOn, NonceInvalid
from mailcore.model.actor import Actor
from mailcore.model.factors import Factor
from mailcore.model.ids import UserId
from mailcore.model.limits import SecondFactorLimits
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from mailcore.services.accounts.reauthentication import Reauthentication
from mailcore.services.accounts.second_factors import SecondFactors
from mailcore.services.events.audit import Audit
from mailcore.services.trust.sealing import Sealing
from mailcore.store.directory import Directory

STEP_S: Final = 30
WINDOW: Final = (0, -1, 1)
"""Steps whose codes are taken, from now: one back and one ahead (RFC 6238 §5.2)."""
DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class TotpEnrolment:
    """What the user's app is given; shown this once."""

    seed: Secret
    """Base32, 160 bits."""
    uri: Secret
    """`otpauth:` URI for a QR code."""


class Totp:
    """Codes of an authenticator app."""

    def __init__(
        self,
        directory: Directory,
        sealing: Sealing,
        factors: SecondFactors,
        reauthentication: Reauthentication,
        audit: Audit,
        limits: SecondFactorLimits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._sealing = sealing
        self._factors = factors
        self._reauthentication = reauthentication
        self._audit = audit
        self._limits = limits
        self._clock = clock

    def begin(
        self, actor: Actor, user_id: UserId, issuer: str, label: str, password: Secret | None = None
    ) -> TotpEnrolment:
        """Make a seed that waits six hours for its first code; a second call replaces it.

        Raises:
            FactorIsOn: TOTP is on. Also as `Reauthentication.confirm`.
        """
        self._reauthentication.confirm(actor, user_id, password)
        seed = pyotp.random_base32()
        sealed = self._sealing.seal(_purpose(user_id), seed.encode())
        with self._audit.of_user(actor, "mfa.totp.begun", user_id):
            if not self._directory.second_factors.set_pending_totp(user_id, sealed, self._limits.pending_totp_s):
                raise FactorIsOn(Factor.TOTP.value)
        uri = pyotp.TOTP(seed).provisioning_uri(name=label, issuer_name=issuer)
        return TotpEnrolment(Secret(seed), Secret(uri))

    def enable(self, actor: Actor, user_id: UserId, code: str) -> User:
        """Turn TOTP on: the code proves that the app has the seed, which `begin` gave out after re-authentication.

        Raises:
            FactorIsOn: TOTP is on.
            NonceInvalid: no seed waits, or it waited too long.
            SecondFactorWrong, TooManyAttempts: as `check`.
        """
        if Factor.TOTP in self._factors.count_try(user_id).enabled:
            raise FactorIsOn(Factor.TOTP.value)
        sealed = self._directory.second_factors.find_pending_totp(user_id)
        if sealed is None:
            raise NonceInvalid
        step = self._step(user_id, sealed, code)
        if not step:
            raise self._factors.wrong(user_id, Factor.TOTP.value)
        with self._audit.of_user(actor, "mfa.totp.enabled", user_id):
            user = self._directory.second_factors.enable_totp(user_id, sealed, step)
            if user is None:
                raise NonceInvalid
        self._factors.turned_on(user_id)
        return user

    def check(self, user_id: UserId, code: str) -> None:
        """Use a code up: it is good once, and none before it is good afterwards; two round trips.

        Raises:
            FactorIsOff: TOTP is not on.
            SecondFactorWrong: not the code of now, one step before or after, or used already.
            TooManyAttempts: five were wrong within three minutes.
        """
        stored = self._factors.count_try(user_id)
        if stored.totp_seed is None:
            raise FactorIsOff(Factor.TOTP.value)
        step = self._step(user_id, stored.totp_seed, code)
        if not step or not self._directory.second_factors.use_totp_step(user_id, stored.totp_seed, step):
            raise self._factors.wrong(user_id, Factor.TOTP.value)

    def _step(self, user_id: UserId, sealed: bytes, code: str) -> int:
        """Return the time-step the code belongs to, 0 for none in the window; the same work for each code."""
        totp = pyotp.TOTP(self._sealing.open(_purpose(user_id), sealed).decode(), digits=DIGITS, interval=STEP_S)
        now = int(self._clock()) // STEP_S
        given = code.replace(" ", "").encode("utf-8", "surrogatepass")
        matching = [
            now + offset for offset in WINDOW if hmac.compare_digest(totp.generate_otp(now + offset).encode(), given)
        ]
        return max(matching, default=0)


def _purpose(user_id: UserId) -> str:
    return f"totp:{user_id}"
