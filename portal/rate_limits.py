"""How often strangers may ask for what costs us or others something: counted by all processes through Redis."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from flask import current_app, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from mailcore.errors import TooManyAttempts
from mailcore.model.address_range import address_range

log = logging.getLogger(__name__)

EXTENSION: Final = "eider-rates"
TIMEOUT_S: Final = 2


class Rate(StrEnum):
    """What is counted."""

    SIGN_UP = "sign_up"
    RESET = "reset"
    LINK = "link"
    CHALLENGE = "challenge"
    INVITE = "invite"
    DOMAIN_CHECK = "domain_check"


RATES: Final[Mapping[Rate, str]] = {
    Rate.SIGN_UP: "20/hour",
    Rate.RESET: "20/hour",
    Rate.LINK: "120/hour",
    Rate.CHALLENGE: "120/hour",
    Rate.INVITE: "60/hour",
    Rate.DOMAIN_CHECK: "120/hour",
}
"""How often one range of addresses, or one organisation, may do it."""


class RateLimits:
    """Counts in Redis; while that is away this process counts alone."""

    def __init__(self, redis_url: str | None) -> None:
        """Connects at first use."""
        self._alone = FixedWindowRateLimiter(MemoryStorage())
        self._shared = None
        if redis_url is not None:
            storage = storage_from_string(
                redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, key_prefix="eider:portal:rate"
            )
            assert isinstance(storage, Storage)
            self._shared = FixedWindowRateLimiter(storage)

    def hit(self, rate: Rate, whose: str) -> bool:
        """Count one; False: it was too many."""
        item: RateLimitItem = parse(RATES[rate])
        if self._shared is not None:
            try:
                return bool(self._shared.hit(item, rate.value, whose))
            except RedisError as error:
                log.warning("portal.rates_alone", extra={"reason": type(error).__name__})
        return bool(self._alone.hit(item, rate.value, whose))


def limit(rate: Rate, whose: str | None = None) -> None:
    """Count what this request asks for, by default for the range of addresses that it comes from.

    Raises:
        TooManyAttempts: it was too many.
    """
    limits: RateLimits = current_app.extensions[EXTENSION]
    if not limits.hit(rate, whose or address_range(request.remote_addr or "")):
        raise TooManyAttempts(wait_s=3600)
