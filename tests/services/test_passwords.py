"""Password hashing: bounded in number, in waiting and in cost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from threading import Barrier, Event, Lock
from typing import Any

import pytest
from argon2 import PasswordHasher, Type

from mailcore.errors import PasswordUnsuitable, ServerBusy
from mailcore.model.secret import Secret
from mailcore.services.accounts import passwords as module
from mailcore.services.accounts.passwords import Argon2, Passwords, prepare
from mailcore.services.process.offload import InlineOffload


def test_a_password_verifies_and_another_does_not() -> None:
    passwords = Passwords(InlineOffload())
    encoded = passwords.hash_new(Secret("correct horse"))
    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify(encoded, Secret("correct horse"))
    assert not passwords.verify(encoded, Secret("Correct horse"))
    assert not passwords.verify("not a hash", Secret("correct horse"))
    assert passwords.upgraded(encoded, Secret("correct horse")) is None
    cheap = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$Iu7pLmzpHEDJFEUQb2r1XQ"
    assert passwords.upgraded(cheap, Secret("correct horse")) not in {None, cheap}


@pytest.mark.parametrize("password", [b"", b"a\x00b", b"\xff\xfe", b"x" * 1024])
def test_two_libraries_make_one_kind_of_hash(password: bytes) -> None:
    """What libsodium makes argon2-cffi verifies, and the other way round, without being made anew."""
    argon2 = Argon2()
    ours = argon2.hash(password)
    theirs = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(password)
    assert PasswordHasher().verify(ours, password)
    for encoded in (ours, theirs):
        assert argon2.verify(encoded, password)
        assert not argon2.verify(encoded, password + b"\x00")
        assert not argon2.is_outdated(encoded)


@pytest.mark.parametrize(
    "made",
    [
        {"parallelism": 2},
        {"hash_len": 16},
        {"hash_len": 64},
        {"salt_len": 8},
        {"salt_len": 32},
        {"time_cost": 1},
        {"memory_cost": 8},
        {"type": Type.I},
        {"type": Type.D},
    ],
)
def test_argon2_of_another_make_verifies_and_is_made_anew(made: dict[str, Any]) -> None:
    encoded = PasswordHasher(**{"time_cost": 2, "memory_cost": 19456, "parallelism": 1} | made).hash("right")
    argon2 = Argon2()
    assert argon2.is_outdated(encoded)
    assert argon2.verify(encoded, b"right")
    assert not argon2.verify(encoded, b"wrong")


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("$v=19", ""),
        ("$v=19", "$v=19$v=19"),
        ("m=19456,t=2,p=1", "t=2,m=19456,p=1"),
        ("p=1", "p=1,keyid=AAAA"),
        ("m=19456", "m=019456"),
        ("t=2", "t=-2"),
        ("m=19456", "m=99999999999999999999"),
        ("argon2id", "argon2"),
        ("$argon2id", " $argon2id"),
        ("$argon2id", "\x00$argon2id"),
        ("v=19", "v=١٩"),
        ("", "é"),
    ],
)
def test_what_only_looks_like_a_hash_lets_nobody_in_and_breaks_nothing(part: str, instead: str) -> None:
    encoded = Argon2().hash(b"right")
    for odd in (encoded.replace(part, instead, 1), encoded + "=", encoded + "\n", encoded + "$", encoded[:-1]):
        assert not Passwords(InlineOffload()).verify(odd, Secret("right"))


@pytest.mark.parametrize("password", ["", "short", "a" * 1025, "é" * 513, "with\x00nul-in-it", b"\xff" * 10])
def test_unsuitable_new_passwords_are_refused(password: str | bytes) -> None:
    with pytest.raises(PasswordUnsuitable):
        Passwords(InlineOffload()).hash_new(Secret(password))


def test_one_password_typed_on_two_systems_is_the_same() -> None:
    """RFC 8265 §4.2 OpaqueString: composed and decomposed letters, and the odd spaces of some keyboards."""
    assert prepare(Secret("pässwort\u00a0x")) == prepare(Secret("pa\u0308sswort x"))
    assert prepare(Secret("Case")) != prepare(Secret("case"))
    assert prepare(Secret(b"\xff\xfe")) == b"\xff\xfe"


class Slow(Argon2):
    """Counts how many hashes run at once, and holds them until told."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.running = self.most = self.calls = 0
        self.two_run = Barrier(3)
        self._count = Lock()

    def verify(self, encoded: str, password: bytes) -> bool:
        with self._count:
            self.calls += 1
            self.running += 1
            self.most = max(self.most, self.running)
            first_two = self.calls <= 2
        if first_two:
            self.two_run.wait(10)
            self.go.wait(10)
        with self._count:
            self.running -= 1
        return True


def test_two_hashes_at_once_and_a_bounded_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    slow = Slow()
    passwords = Passwords(InlineOffload(), slow)
    with ThreadPoolExecutor(20) as pool:
        first = [pool.submit(passwords.verify, "x", Secret("p")) for _ in range(2)]
        slow.two_run.wait(10)
        others = [pool.submit(passwords.verify, "x", Secret("p")) for _ in range(10)]
        refused = list(islice(as_completed(others, timeout=60), 7))  # answered while both slots are still held
        slow.go.set()
        assert all(other.result() for other in first)
    assert all(isinstance(other.exception(), ServerBusy) for other in refused)
    assert all(other.result() for other in others if other not in refused)
    assert slow.calls == 2 + 3
    assert slow.most == 2


def test_who_waits_too_long_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.01)
    slow = Slow()
    passwords = Passwords(InlineOffload(), slow)
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(passwords.verify, "x", Secret("p")) for _ in range(2)]
        slow.two_run.wait(10)
        with pytest.raises(ServerBusy):
            passwords.verify("x", Secret("p"))
        slow.go.set()
        assert all(one.result() for one in held)
    assert passwords.verify("x", Secret("p"))
