"""How the payment provider is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mailcore.model.secret import Secret

RETRIES: Final = 2


@dataclass(frozen=True, slots=True)
class StripeSettings:
    """Keys of one account at Stripe."""

    key: Secret
    webhook_secret: Secret
    base_url: str = ""
    """"" is Stripe itself."""
    retries: int = RETRIES

    @property
    def is_live(self) -> bool:
        """Whether money moves: events of the other kind are not ours."""
        return "_live_" in self.key.reveal_text()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], problems: list[str]) -> StripeSettings | None:
        """Read STRIPE_KEY, STRIPE_WEBHOOK_SECRET and STRIPE_URL; None without any: nobody pays, nothing is limited."""
        key, secret = environment.get("STRIPE_KEY", ""), environment.get("STRIPE_WEBHOOK_SECRET", "")
        if not key and not secret:
            return None
        if not key or not secret:
            problems.append("STRIPE_KEY and STRIPE_WEBHOOK_SECRET belong together")
        return cls(Secret(key), Secret(secret), environment.get("STRIPE_URL", "").rstrip("/"))
