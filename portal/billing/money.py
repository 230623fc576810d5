"""Money: whole minor units of a currency, never a fraction and never without its currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from babel.core import get_global
from babel.numbers import format_currency


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were put together."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount; `minor_units` are cents where the currency has two decimals."""

    minor_units: int
    currency: str
    """ISO 4217, small letters as Stripe writes it."""

    def __post_init__(self) -> None:
        if not isinstance(self.minor_units, int) or isinstance(self.minor_units, bool):
            raise TypeError(f"minor units are whole: {self.minor_units!r}")

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")
        return Money(self.minor_units + other.minor_units, self.currency)

    def __mul__(self, times: int) -> Money:
        return Money(self.minor_units * times, self.currency)

    def shown(self, locale: str = "en") -> str:
        """Return it as people of a language write it."""
        digits = get_global("currency_fractions").get(
            self.currency.upper(), get_global("currency_fractions")["DEFAULT"]
        )
        amount = Decimal(self.minor_units).scaleb(-digits[0])
        return format_currency(amount, self.currency.upper(), locale=locale)
