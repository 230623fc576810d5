"""Sender rewriting: mail that is sent on leaves with a reverse-path of ours, so that SPF holds, and bounces find back.

    SRS0=HASH=TTUSER=domain=local@ours        of local@domain
    SRS1=HASH=TTUSER=host==REST@ours          of SRS0=REST@host, or of what an SRS1 elsewhere was made of

TT is the day, USER names whose forwarding it was: the bounce goes out on that user's behalf. HASH is an HMAC over
all the rest, so that nobody makes us send mail to an address of their choice. It is all compared without regard to
case, for some servers change that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bson import ObjectId

from mailcore.errors import AddressNotFound
from mailcore.model.ids import UserId

HASH_CHARACTERS: Final = 6
"""30 bits; a guess costs a RCPT, and only mail without reverse-path is taken."""
REFERENCE_CHARACTERS: Final = 12
LONGEST_LOCAL_PART: Final = 64
"""RFC 5321 §4.5.3.1.1; some servers refuse longer ones."""
EXPIRES_DAYS: Final = 7
"""The next server may try for five days before it gives a message up (RFC 5321 §4.5.4.1)."""
DAY_S: Final = 24 * 3600
DAYS: Final = 1024
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_OURS: Final = re.compile(r"srs([01])[=+-]([a-z2-7]{6})=([a-z2-7]{2})([a-z2-7]{12})=(.+)", re.IGNORECASE | re.DOTALL)
_REWRITTEN: Final = re.compile(
    r"(?:srs0[=+-]|srs1[=+-][^=]*=[^=]*==)[^=]*=[^=]*=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL
)
_BATV: Final = re.compile(r"prvs=[0-9a-z]+=(.+)", re.IGNORECASE | re.DOTALL)
_FOREIGN: Final = re.compile(r"srs([01])[=+-](.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a rewritten reverse-path was made of."""

    address: str
    user_reference: bytes
    """Names the user whose forwarding it was; see `user_reference`."""


class Srs:
    """Rewrites reverse-paths and restores them; no round trip but one for the key at first."""

    def __init__(self, domain: str, key: Callable[[], bytes], clock: Callable[[], float] = time.time) -> None:
        """Rewrite to addresses at `domain`, which must reach us, under a secret key."""
        self._domain = domain.lower()
        self._key = key
        self._clock = clock

    def rewrite(self, reverse_path: str, user_id: UserId) -> str | None:
        """Return the reverse-path under which mail of this one is sent on; "" stays "".

        None where it would be longer than servers take: then the caller's own address must do.
        """
        local, _, domain = reverse_path.rpartition("@")
        if not reverse_path or (domain.lower() == self._domain and _OURS.fullmatch(local)):
            return reverse_path
        foreign = _FOREIGN.fullmatch(local)
        if foreign is None:
            number, rest = "0", f"{domain}={local}"
        elif foreign[1] == "0":
            number, rest = "1", f"{domain}=={foreign[2]}"
        else:
            parts = foreign[2].split("=", 1)  # its hash is of no use to anybody but its maker
            number, rest = "1", parts[1] if len(parts) == 2 else foreign[2]
        stamp = _two_letters(self._day()) + _letters(user_reference(user_id), REFERENCE_CHARACTERS)
        rewritten = f"SRS{number}={self._hash(number, stamp, rest)}={stamp}={rest}"
        return f"{rewritten}@{self._domain}" if len(rewritten.encode()) <= LONGEST_LOCAL_PART else None

    def restore(self, address: str) -> Restored | None:
        """Return what an address of ours was made of; None if it is no rewritten one.

        Raises:
            AddressNotFound: it looks like one and we never made it, or long ago.
        """
        local, _, domain = address.rpartition("@")
        if domain.lower() != self._domain or not _FOREIGN.fullmatch(local):
            return None
        match = _OURS.fullmatch(local)
        if match is None:
            raise AddressNotFound(address)
        number, given, day, reference, rest = match.groups()
        expected = self._hash(number, (day + reference).lower(), rest)
        age = (self._day() - _day_of(day.lower()) + 1) % DAYS - 1  # another server's day may have begun before ours
        if not hmac.compare_digest(given.lower(), expected) or age > EXPIRES_DAYS:
            raise AddressNotFound(address)
        host, separator, inner = rest.partition("==" if number == "1" else "=")
        if not separator or not host or not inner:
            raise AddressNotFound(address)
        original = f"SRS0={inner}@{host}" if number == "1" else f"{inner}@{host}"
        return Restored(original, base64.b32decode(reference.upper() + "=" * 4)[:7])

    def _day(self) -> int:
        return int(self._clock()) // DAY_S % DAYS

    def _hash(self, number: str, stamp: str, rest: str) -> str:
        what = f"{number}={stamp}={rest}".lower().encode()
        return _letters(hmac.digest(self._key(), what, hashlib.sha256), HASH_CHARACTERS)


def sender_behind(reverse_path: str) -> str:
    """Return who a reverse-path is of, whoever rewrote it: SRS and BATV put what changes from day to day before it."""
    local, _, domain = reverse_path.rpartition("@")
    match = _REWRITTEN.fullmatch(local)
    if match is not None:
        return f"{match[2]}@{match[1]}"
    tagged = _BATV.fullmatch(local)
    return f"{tagged[1]}@{domain}" if tagged is not None else reverse_path


def user_reference(user_id: UserId) -> bytes:
    """Return 7 bytes that name a user: when its id was made, and the counter in it."""
    return user_id.binary[:4] + user_id.binary[9:]


def referenced(reference: bytes) -> tuple[ObjectId, ObjectId]:
    """Return the lowest and the highest id that a reference may stand for."""
    return ObjectId(reference[:4] + bytes(8)), ObjectId(reference[:4] + b"\xff" * 8)


def _letters(value: bytes, count: int) -> str:
    return base64.b32encode(value).decode().lower()[:count]


def _two_letters(day: int) -> str:
    return _ALPHABET[day >> 5] + _ALPHABET[day & 31]


def _day_of(letters: str) -> int:
    return _ALPHABET.index(letters[0]) << 5 | _ALPHABET.index(letters[1])
