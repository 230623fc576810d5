"""Requests that are repeated under one Idempotency-Key are done once and answered alike.

A key belongs to the token that used it. What was answered is kept sealed for a day: answers may hold
passwords just made.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mailcore.errors import RequestDiffers, RequestUnderWay
from mailcore.model.secret import Secret
from mailcore.model.token import Token
from mailcore.services.process.clock import now
from mailcore.services.trust.sealing import SealBroken, Sealing
from mailcore.store.directory import Directory

KEPT_FOR: Final = timedelta(days=1)
DEAD_AFTER: Final = timedelta(seconds=60)
"""A request that takes longer was cut off, and is begun again."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that is this request's to answer."""

    key: bytes


class ApiRequests:
    """Begins and remembers them."""

    def __init__(self, directory: Directory, sealing: Sealing) -> None:
        self._requests = directory.api_requests
        self._sealing = sealing

    def begin(self, token: Token, key: Secret, digest: bytes) -> Claim | bytes:
        """Return the claim of a new request, or what was answered to the one before; one round trip, or two.

        Raises:
            RequestDiffers: another request was made under this key.
            RequestUnderWay: the same is being done just now.
        """
        name = hmac.digest(token.id.binary, key.reveal(), "sha256")
        at = now()
        if self._requests.begin(name, digest, token.id, at, at + KEPT_FOR):
            return Claim(name)
        found = self._requests.find(name)
        if found is None:
            raise RequestUnderWay("its end was just noted")
        if found.digest != digest:
            raise RequestDiffers("another request was made under this key")
        if found.answer is not None:
            try:
                return self._sealing.open(_purpose(name), found.answer)
            except SealBroken:
                raise RequestDiffers("its answer is not known any more") from None
        if at - found.began_at < DEAD_AFTER or not self._requests.take_over(name, found.began_at, at):
            raise RequestUnderWay("the same request is being done")
        return Claim(name)

    def finish(self, claim: Claim, answer: bytes) -> None:
        """Keep the answer for whoever asks again; one round trip."""
        self._requests.finish(claim.key, self._sealing.seal(_purpose(claim.key), answer))

    def withdraw(self, claim: Claim) -> None:
        """Let the request be made anew: it failed; one round trip."""
        self._requests.withdraw(claim.key)


def _purpose(key: bytes) -> str:
    return f"api_request:{key.hex()}"
