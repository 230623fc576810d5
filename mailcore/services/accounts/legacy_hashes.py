"""Password hashes of other systems: checked once, at the next login, and then replaced by argon2id.

Whatever crypt(3) knows is asked of the system's libcrypt, which is kept up with the system; the rest
is hashlib. Every scheme has a cap on what one check may cost, looked at before anything is
computed. Not taken: plain text, and what can only be checked with the password in clear (CRAM,
DIGEST, SCRAM). Weak are those that are unsalted, or so fast that a stolen list is soon read: they
are taken all the same, for refusing them would only leave people outside, but the operator is told.
"""

from __future__ import annotations

import binascii
import ctypes
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from mailcore.errors import HashUnsuitable

MAX_BCRYPT_COST: Final = 14
MAX_SHA_CRYPT_ROUNDS: Final = 1_000_000
MAX_PBKDF2_ITERATIONS: Final = 2_000_000
"""Each about a second of one core; of PBKDF2 for each block of output (RFC 8018 §5.2)."""
MIN_PBKDF2_BYTES: Final = 16
"""Of a shorter output so many passwords have the same that guessing finds one."""
MAX_HASH_CHARACTERS: Final = 512
_CRYPT_DATA_BYTES: Final = 32768
_LIBRARIES: Final = ("libcrypt.so.1", "libcrypt.so.2")

Check = Callable[[re.Match[str], bytes], bool]


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to hash; `pattern` matches exactly its hashes of bearable cost."""

    name: str
    pattern: re.Pattern[str]
    check: Check
    is_weak: bool = False
    is_affordable: Callable[[re.Match[str]], bool] = lambda _match: True


def find_scheme(encoded: str) -> Scheme:
    """Return how a hash was made.

    Raises:
        HashUnsuitable: no scheme known here, or one check would cost too much.
    """
    return _recognize(encoded)[0]


def verify(encoded: str, password: bytes) -> bool:
    """Return whether the password belongs to the hash; False for what is no hash we know."""
    try:
        scheme, match = _recognize(encoded)
    except HashUnsuitable:
        return False
    return b"\0" not in password and scheme.check(match, password)


def _recognize(encoded: str) -> tuple[Scheme, re.Match[str]]:
    if len(encoded) <= MAX_HASH_CHARACTERS and encoded.isascii():
        for scheme in SCHEMES:
            match = scheme.pattern.fullmatch(encoded)
            if match is not None:
                if not scheme.is_affordable(match):
                    raise HashUnsuitable(f"checking this {scheme.name} hash would cost too much")
                return scheme, match
    raise HashUnsuitable("not a password hash of a known scheme")


# -- crypt(3) -----------------------------------------------------------------------------------


@cache
def _crypt_r() -> Any:
    for name in _LIBRARIES:
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        return function
    return None


def _crypt(match: re.Match[str], password: bytes) -> bool:
    """Ask libcrypt, which leaves other threads the interpreter meanwhile; without it nothing verifies."""
    crypt_r = _crypt_r()
    if crypt_r is None:
        return False
    encoded = match["crypt"].encode()
    result: bytes | None = crypt_r(password, encoded, ctypes.create_string_buffer(_CRYPT_DATA_BYTES))
    return result is not None and hmac.compare_digest(result, encoded)


# -- hashlib ------------------------------------------------------------------------------------


def _pbkdf2(match: re.Match[str], password: bytes) -> bool:
    algorithm = (match["algorithm"] or "sha1").lower()
    salt, expected = _base64(match["salt"]), _base64(match["hash"])
    return bool(expected) and hmac.compare_digest(
        hashlib.pbkdf2_hmac(algorithm, password, salt, int(match["iterations"]), len(expected)), expected
    )


def _is_affordable_pbkdf2(match: re.Match[str]) -> bool:
    size = len(_base64(match["hash"]))
    blocks = -(-size // hashlib.new((match["algorithm"] or "sha1").lower(), usedforsecurity=False).digest_size)
    return size >= MIN_PBKDF2_BYTES and 0 < int(match["iterations"]) * blocks <= MAX_PBKDF2_ITERATIONS


def _dovecot_pbkdf2(match: re.Match[str], password: bytes) -> bool:
    expected = bytes.fromhex(match["hash"])
    found = hashlib.pbkdf2_hmac("sha1", password, match["salt"].encode(), int(match["iterations"]), len(expected))
    return hmac.compare_digest(found, expected)


def _ldap(match: re.Match[str], password: bytes) -> bool:
    """RFC 2307 and its salted kin: digest of password and salt, then the salt."""
    name = {"sha": "sha1"}.get(match["algorithm"].lower(), match["algorithm"].lower())
    stored = _base64(match["hash"])
    size = hashlib.new(name, usedforsecurity=False).digest_size
    digest, salt = stored[:size], stored[size:]
    if len(digest) != size or bool(salt) != bool(match["salted"]):
        return False
    return hmac.compare_digest(hashlib.new(name, password + salt, usedforsecurity=False).digest(), digest)


def _base64(text: str) -> bytes:
    """Read base64 with or without padding, with "." for "+" as passlib writes it."""
    plain = text.replace(".", "+").rstrip("=")
    try:
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return b""


def _at_most(group: str, limit: int) -> Callable[[re.Match[str]], bool]:
    return lambda match: 0 < int(match[group] or 1) <= limit


_B64 = r"[A-Za-z0-9+/.]+={0,2}"
SCHEMES: Final[tuple[Scheme, ...]] = (
    Scheme(
        "bcrypt",
        re.compile(r"(?i:\{(?:BLF-)?CRYPT\})?(?P<crypt>\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53})"),
        _crypt,
        is_affordable=_at_most("cost", MAX_BCRYPT_COST),
    ),
    Scheme(
        "sha-crypt",
        re.compile(
            r"(?i:\{(?:SHA(?:256|512)-)?CRYPT\})?"
            r"(?P<crypt>\$[56]\$(?:rounds=(?P<rounds>\d{1,9})\$)?[^$:\s]{0,16}\$[./A-Za-z0-9]{43,86})"
        ),
        _crypt,
        is_affordable=_at_most("rounds", MAX_SHA_CRYPT_ROUNDS),
    ),
    # j9T is Debian's own choice, 16 MiB; what names more costs more memory than a login may
    Scheme(
        "yescrypt",
        re.compile(r"(?i:\{CRYPT\})?(?P<crypt>\$y\$j[5-9]T\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43})"),
        _crypt,
    ),
    Scheme(
        "md5-crypt",
        re.compile(r"(?i:\{(?:MD5-)?CRYPT\})?(?P<crypt>\$1\$[^$:\s]{0,8}\$[./A-Za-z0-9]{22})"),
        _crypt,
        is_weak=True,
    ),
    Scheme("des-crypt", re.compile(r"(?i:\{(?:DES-)?CRYPT\})?(?P<crypt>[./A-Za-z0-9]{13})"), _crypt, is_weak=True),
    Scheme(
        "pbkdf2",
        re.compile(
            r"\$pbkdf2(?:-(?P<algorithm>sha1|sha256|sha512))?\$(?:i=)?(?P<iterations>\d{1,9})(?:,l=\d{1,3})?"
            rf"\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
        ),
        _pbkdf2,
        is_affordable=_is_affordable_pbkdf2,
    ),
    Scheme(
        "pbkdf2 of Dovecot",
        re.compile(r"(?i:\{PBKDF2\})\$1\$(?P<salt>[^$]{1,64})\$(?P<iterations>\d{1,9})\$(?P<hash>(?:[0-9a-f]{2}){20})"),
        _dovecot_pbkdf2,
        is_affordable=_at_most("iterations", MAX_PBKDF2_ITERATIONS),
    ),
    Scheme(
        "LDAP digest",
        re.compile(rf"(?i:\{{(?P<salted>S)?(?P<algorithm>MD5|SHA(?!\d)|SHA256|SHA512)\}})(?P<hash>{_B64})"),
        _ldap,
        is_weak=True,
    ),
)
