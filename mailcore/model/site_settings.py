"""Settings of the site by the names that clients know: their kinds, limits, and what they are without being set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mailcore.errors import ValueInvalid
from mailcore.model.limits import GIB, UserLimits

Value = str | int | bool
DAY_MS: Final = 24 * 3600 * 1000
_LARGEST: Final = (1 << 53) - 1
_AMOUNT: Final = re.compile(r"\s*(\d{1,15})\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)
_TIMES: Final = {"": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_SIZES: Final = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}
_TRUE: Final = frozenset({"true", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "n", "off", "0"})
MOST_DEFERS: Final = 50


class Kind(StrEnum):
    """How a value is written."""

    NUMBER = "number"
    SIZE = "size"
    """Bytes; also as text, "10 GB"."""
    DURATION = "duration"
    """Milliseconds; also as text, "25d"."""
    FLAG = "boolean"
    DURATIONS = "durations"
    """Text: durations after one another, "5m, 1h"."""


@dataclass(frozen=True, slots=True)
class SiteSetting:
    """One setting.

    Attributes:
        limit: name of the user limit that it stands for; "" where nothing here depends on it: it is told to programs
            that ask for it, and cannot be changed.
        instead: what holds in place of such a one.
    """

    key: str
    name: str
    kind: Kind
    default: Value
    description: str
    limit: str = ""
    least: int = 0
    most: int = _LARGEST
    instead: str = ""

    def check_change(self, value: Value) -> None:
        """Make sure that a value can come to count.

        Raises:
            ValueInvalid: nothing here depends on this one, and it is another value than is told.
        """
        if not self.limit and value != self.default:
            raise ValueInvalid(f"nothing here depends on {self.key}; what holds: {self.instead}")

    def read(self, given: object) -> Value:
        """Return a given value as it is kept.

        Raises:
            ValueInvalid: of another kind, or out of its limits.
        """
        if self.kind is Kind.FLAG:
            return _flag(self.key, given)
        if self.kind is Kind.DURATIONS:
            return _durations(self.key, given)
        units = {Kind.NUMBER: {"": 1}, Kind.SIZE: _SIZES, Kind.DURATION: _TIMES}[self.kind]
        value = _amount(self.key, given, units)
        if not self.least <= value <= self.most:
            raise ValueInvalid(f"{self.key} lies between {self.least} and {self.most}")
        return value


def _amount(key: str, given: object, units: dict[str, int]) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, float) and given.is_integer():
        return int(given)
    found = _AMOUNT.fullmatch(given) if isinstance(given, str) else None
    if found is None or found[2].lower() not in units:
        named = ", ".join(filter(None, units))
        raise ValueInvalid(f"{key} must be a whole number" + (f", or one with a unit: {named}" if named else ""))
    return int(found[1]) * units[found[2].lower()]


def _flag(key: str, given: object) -> bool:
    text = str(given).strip().lower() if isinstance(given, str | int) else ""
    if text not in _TRUE | _FALSE:
        raise ValueInvalid(f"{key} must be true or false")
    return text in _TRUE


def _durations(key: str, given: object) -> str:
    parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else []
    if not 0 < len(parts) <= MOST_DEFERS or any(_amount(key, part, _TIMES) <= 0 for part in parts):
        raise ValueInvalid(f"{key} must be 1 to {MOST_DEFERS} durations after one another, such as 5m, 1h")
    return ", ".join(parts)


_LIMITS: Final = UserLimits()
_KEPT: Final = " Told to programs that ask for it, without effect, and cannot be changed: "
_DEFERS: Final = "5m, 7m, 8m, 25m, 75m, 2h, 4h, 4h, 4h, 4h, 4h, 4h, 4h, 4h, 4h, 4h, 4h"


def _kept(key: str, name: str, kind: Kind, default: Value, description: str, instead: str) -> SiteSetting:
    """Return a setting without effect; `instead`: what holds here."""
    return SiteSetting(key, name, kind, default, f"{description}{_KEPT}{instead}.", instead=instead)


def _limited(key: str, name: str, kind: Kind, limit: str, description: str) -> SiteSetting:
    told = f"{description} 0 is without limit. A tenant's or a user's own number counts before it."
    return SiteSetting(key, name, kind, getattr(_LIMITS, limit), told, limit)


ALL: Final = {
    one.key: one
    for one in (
        _kept(
            "const:archive:time", "Archive time", Kind.DURATION, 25 * DAY_MS,
            "How long deleted mail is kept.",
            "a tenant's rule of retention says it, 25 days without one",
        ),
        _kept(
            "const:max:storage", "Storage", Kind.SIZE, 1 * GIB,
            "Storage of a user without a quota.",
            "such a user has no limit but the pool of the tenant",
        ),
        _limited(
            "const:max:recipients", "Recipients", Kind.NUMBER, "recipients_per_day",
            "Recipients that a user may send to in a day.",
        ),
        _limited(
            "const:max:mailboxes", "Mailboxes", Kind.NUMBER, "mailboxes",
            "Mailboxes of a user; 1500 is the most there can be.",
        ),
        _limited(
            "const:max:rcpt_to", "Recipients of a message", Kind.NUMBER, "recipients_per_message",
            "Recipients of one message; 1000 is the most there can be.",
        ),
        _limited(
            "const:max:forwards", "Forwards", Kind.NUMBER, "forwards_per_day",
            "Addresses that a user's mail is sent on to in a day.",
        ),
        _kept(
            "const:authlog:time", "Authentication log", Kind.DURATION, 30 * DAY_MS,
            "How long sign-ins are kept.",
            "30 days",
        ),
        _kept(
            "const:autoreply:interval", "Automatic replies", Kind.DURATION, 4 * 3_600_000,
            "Time between two automatic replies to one sender.",
            "four days, and for a rule what it says",
        ),
        _limited(
            "const:asp:limit", "Application passwords", Kind.NUMBER, "app_passwords",
            "Application passwords of a user; 200 is the most there can be.",
        ),
        _limited(
            "const:max:imap:download", "IMAP download", Kind.SIZE, "imap_download_bytes_per_day",
            "Bytes that a user may download by IMAP in a day.",
        ),
        _limited(
            "const:max:pop3:download", "POP3 download", Kind.SIZE, "pop3_download_bytes_per_day",
            "Bytes that a user may download by POP3 in a day.",
        ),
        _limited(
            "const:max:imap:upload", "IMAP upload", Kind.SIZE, "imap_upload_bytes_per_day",
            "Bytes that a user may upload by IMAP in a day.",
        ),
        _kept(
            "const:imap:use_wd_worker_channels", "Worker channels", Kind.FLAG, default=False,
            description="Whether notices go through a channel for each process.",
            instead="each process hears of the users it serves",
        ),
        _limited("const:max:filters", "Filters", Kind.NUMBER, "filters", "Rules that a user may have."),
        _kept(
            "const:sender:defer_times", "Retries", Kind.DURATIONS, _DEFERS,
            "Waits between tries to send.",
            "waits grow from 2 minutes to 3 hours, for four days",
        ),
        _kept(
            "const:max:bulk_batch_size", "Batch", Kind.NUMBER, 150,
            "Messages that are changed in one go.",
            "any number is",
        ),
        _kept(
            "const:domaincache:enabled", "Domain cache", Kind.FLAG, default=False,
            description="Whether local domains are listed apart.",
            instead="they always are",
        ),
    )
}  # fmt: skip
