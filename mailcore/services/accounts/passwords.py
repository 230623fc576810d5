"""Passwords: argon2id, a bounded queue before it, and the same work for users that do not exist.

Hashes of other systems are verified too, each within a cap of cost, and replaced at the first login.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import TypeVar

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from mailcore.errors import HashUnsuitable, PasswordLeaked, PasswordUnsuitable, ServerBusy
from mailcore.model.secret import Secret
from mailcore.services.accounts import legacy_hashes
from mailcore.services.accounts.leaked_passwords import LeakedPasswords
from mailcore.services.process.offload import Offload

MIN_PASSWORD_CHARACTERS = 8
MAX_PASSWORD_BYTES = 1024
MEMORY_KIB = 19 * 1024
PASSES = 2
MAX_FOREIGN_MEMORY_KIB = 128 * 1024
MAX_FOREIGN_WORK_KIB = 1024 * 1024
"""Memory times passes of an argon2 hash made elsewhere: about a second."""
_MADE_AS = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$"
_OWN = re.compile(re.escape(_MADE_AS) + r"[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}")
"""A hash of today: a salt of 16 octets, a tag of 32."""
MAX_AT_ONCE = 2
MAX_WAITING = 100
MAX_WAIT_S = 10.0

Result = TypeVar("Result")


class Argon2:
    """argon2id with m=19 MiB, t=2, p=1; the one place where passwords are hashed, and hashes of others verified.

    libsodium takes three fifths of the time of the reference implementation, which verifies what others made.
    """

    def hash(self, password: bytes) -> str:
        """Return the encoded hash with a fresh salt."""
        return argon2id.str(password, opslimit=PASSES, memlimit=MEMORY_KIB * 1024).decode("ascii")

    def verify(self, encoded: str, password: bytes) -> bool:
        """Return whether the password belongs to the hash, whoever made it; False where finding out costs too much."""
        if not self.is_outdated(encoded):
            return _verify_own(encoded, password)
        if not encoded.startswith("$argon2"):
            return legacy_hashes.verify(encoded, password)
        try:
            check_argon2(encoded)
            return PasswordHasher().verify(encoded, password)
        except (VerificationError, InvalidHashError, HashUnsuitable):
            return False

    def is_outdated(self, encoded: str) -> bool:
        """Return whether the hash was made in another way or with other costs than today's."""
        return _OWN.fullmatch(encoded) is None


def _verify_own(encoded: str, password: bytes) -> bool:
    try:
        return argon2id.verify(encoded.encode("ascii"), password)
    except InvalidkeyError:
        return False


def check_argon2(encoded: str) -> None:
    """Look at what an argon2 hash costs.

    Raises:
        HashUnsuitable: malformed, or more than a login may cost.
    """
    try:
        found = extract_parameters(encoded)
    except (InvalidHashError, ValueError) as error:
        raise HashUnsuitable("not an argon2 hash") from error
    if not encoded.isascii():
        raise HashUnsuitable("not an argon2 hash")
    work = found.memory_cost * found.time_cost
    if found.memory_cost > MAX_FOREIGN_MEMORY_KIB or work > MAX_FOREIGN_WORK_KIB or found.parallelism > 16:
        raise HashUnsuitable("checking this argon2 hash would cost too much")


class Passwords:
    """Hashes and verifies off the loop, two at once at most; who would wait too long is sent away."""

    def __init__(self, offload: Offload, argon2: Argon2 | None = None, leaked: LeakedPasswords | None = None) -> None:
        self._leaked = leaked or LeakedPasswords(None)
        self._offload = offload
        self._argon2 = argon2 or Argon2()
        self._slots = BoundedSemaphore(MAX_AT_ONCE)
        self._lock = Lock()
        self._waiting = 0
        self._stand_in = _nobodys_hash()

    def hash_new(self, password: Secret, *, allow_leaked: bool = False) -> str:
        """Return the hash of a password that somebody chooses.

        Raises:
            PasswordUnsuitable: as `check_new`.
            PasswordLeaked: known to be stolen elsewhere, and not `allow_leaked`.
            ServerBusy: too many hashes wait.
        """
        self.check_new(password)
        prepared = prepare(password)
        if not allow_leaked and self._leaked.has(Secret(prepared)):
            raise PasswordLeaked("this password is known to be stolen: choose another")
        return self._run(lambda: self._argon2.hash(prepared))

    def check_new(self, password: Secret) -> None:
        """Look at the form of a password that somebody chooses; hashes nothing.

        Raises:
            PasswordUnsuitable: shorter than 8 characters, longer than 1024 octets, or not text.
        """
        try:
            text = password.reveal_text()
        except UnicodeDecodeError as error:
            raise PasswordUnsuitable("a password is Unicode text") from error
        if len(text) < MIN_PASSWORD_CHARACTERS or len(password) > MAX_PASSWORD_BYTES or "\x00" in text:
            raise PasswordUnsuitable(
                f"a password has at least {MIN_PASSWORD_CHARACTERS} characters and at most {MAX_PASSWORD_BYTES} octets"
            )

    def check_hash(self, encoded: str) -> bool:
        """Look at a hash brought along; return whether it is a weak one, which should not stay for long.

        Raises:
            HashUnsuitable: of no known scheme, or too dear to verify.
        """
        if encoded.startswith("$argon2"):
            check_argon2(encoded)
            return False
        return legacy_hashes.find_scheme(encoded).is_weak

    def verify(self, encoded: str | None, password: Secret) -> bool:
        """Return whether the password belongs to the hash; without a hash do the same work and say no.

        Hashes made elsewhere may be of another spelling of it; a right one is replaced after the login.

        Raises:
            ServerBusy: too many hashes wait.
        """
        tried, prepared = self._stand_in if encoded is None else encoded, prepare(password)
        if self._run(lambda: self._argon2.verify(tried, prepared)):
            return encoded is not None
        if not self._argon2.is_outdated(tried):
            return False
        return any(self._run(partial(self._argon2.verify, tried, spelling)) for spelling in _spellings(password))

    def upgraded(self, encoded: str, password: Secret) -> str | None:
        """Return a new hash of a password just verified if the old one is of another cost, else None."""
        if not self._argon2.is_outdated(encoded):
            return None
        prepared = prepare(password)
        return self._run(lambda: self._argon2.hash(prepared))

    def _run(self, work: Callable[[], Result]) -> Result:
        with self._slot():
            return self._offload.run(work)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            self._wait()
        try:
            yield
        finally:
            self._slots.release()

    def _wait(self) -> None:
        with self._lock:
            if self._waiting >= MAX_WAITING:
                raise ServerBusy("passwords")
            self._waiting += 1
        try:
            if not self._slots.acquire(timeout=MAX_WAIT_S):
                raise ServerBusy("passwords")
        finally:
            with self._lock:
                self._waiting -= 1


def _nobodys_hash() -> str:
    """Return what looks like a hash of today's cost; no password belongs to it, but trying one is the same work."""
    salt, tag = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"{_MADE_AS}{salt}${tag}"


def _spellings(password: Secret) -> list[bytes]:
    """Return what other systems may have hashed of it beside what we do: the octets as they came, and NFD."""
    try:
        text = password.reveal_text()
    except UnicodeDecodeError:
        return []
    wanted = dict.fromkeys([text.encode(), unicodedata.normalize("NFD", text).encode()])
    return [spelling for spelling in wanted if spelling != prepare(password)]


def prepare(password: Secret) -> bytes:
    """Return the bytes that are hashed: RFC 8265 OpaqueString (NFC, every space an ASCII one); not text, as it is."""
    try:
        text = password.reveal_text()
    except UnicodeDecodeError:
        return password.reveal()
    if not text.isascii():
        text = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
        text = unicodedata.normalize("NFC", text)
    return text.encode()
