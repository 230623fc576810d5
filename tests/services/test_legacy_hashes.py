"""Hashes of other systems: public examples, what is refused before it costs anything, and the upgrade at login."""

from __future__ import annotations

import hashlib
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import AuthenticationFailed, HashUnsuitable
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts import legacy_hashes, passwords
from mailcore.services.accounts.legacy_hashes import find_scheme, verify
from mailcore.services.accounts.passwords import Passwords
from mailcore.services.process.offload import InlineOffload
from tests.builders import OPERATOR, make_user


def _digest(prefix: str, algorithm: str, password: bytes, salt: bytes = b"") -> str:
    return prefix + b64encode(hashlib.new(algorithm, password + salt).digest() + salt).decode()


PBKDF2 = hashlib.pbkdf2_hmac("sha256", b"secret word", b"0123456789abcdef", 100_000)
PHC = f"$pbkdf2-sha256$i=100000$MDEyMzQ1Njc4OWFiY2RlZg${b64encode(PBKDF2).decode().rstrip('=')}"
CASES = [
    pytest.param("bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U", id="bcrypt 2a"),
    pytest.param("bcrypt", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U", id="bcrypt 2y"),
    pytest.param(
        "bcrypt", "{BLF-CRYPT}$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U", id="Dovecot's"
    ),
    pytest.param(
        "sha-crypt",
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        b"Hello world!",
        id="sha256-crypt, Drepper's example",
    ),
    pytest.param(
        "sha-crypt",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/"
        "YTBmSK6H9qs/y3RnOaw5v.",
        b"Hello world!",
        id="sha512-crypt with rounds",
    ),
    pytest.param("md5-crypt", "$1$abcdefgh$G//4keteveJp0qb8z2DxG/", b"password", id="md5-crypt"),
    pytest.param("des-crypt", "{CRYPT}rl.3StKT.4T8M", b"rasmusle", id="DES, as PHP's manual has it"),
    pytest.param("pbkdf2", PHC, b"secret word", id="pbkdf2 of PHC form"),
    pytest.param(
        "pbkdf2",
        "$pbkdf2-sha256$6400$8PHy8/T19vf4.fr7/P3./w$Su6XdgojXneiyra3.OOMs7KSirH4A3GXZHKiYm/GdsU",
        b"password",
        id="pbkdf2 as passlib writes it",
    ),
    pytest.param(
        "pbkdf2 of Dovecot",
        "{PBKDF2}$1$saltsalt$5000$" + hashlib.pbkdf2_hmac("sha1", b"secret word", b"saltsalt", 5000).hex(),
        b"secret word",
        id="pbkdf2 as Dovecot writes it",
    ),
    pytest.param("LDAP digest", _digest("{SHA}", "sha1", b"secret"), b"secret", id="SHA"),
    pytest.param("LDAP digest", _digest("{ssha}", "sha1", b"secret", b"salt"), b"secret", id="SSHA"),
    pytest.param("LDAP digest", _digest("{SMD5}", "md5", b"secret", b"saltsalt"), b"secret", id="SMD5"),
    pytest.param("LDAP digest", _digest("{SSHA256}", "sha256", b"secret", b"salt"), b"secret", id="SSHA256"),
    pytest.param("LDAP digest", _digest("{SSHA512}", "sha512", b"secret", b"salt"), b"secret", id="SSHA512"),
]
WEAK = {"md5-crypt", "des-crypt", "LDAP digest"}


@pytest.mark.parametrize(("name", "encoded", "password"), CASES)
def test_it_verifies_and_nothing_else_does(name: str, encoded: str, password: bytes) -> None:
    scheme = find_scheme(encoded)
    assert scheme.name == name
    assert scheme.is_weak == (name in WEAK)
    assert verify(encoded, password)
    for wrong in (b"", password[:-1], b"x" + password, password.swapcase(), password + b"\0"):
        assert not verify(encoded, wrong)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param("$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", id="bcrypt of 2 s"),
        pytest.param("$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", id="bcrypt of 36 h"),
        pytest.param("$6$rounds=999999999$salt$" + "a" * 86, id="sha-crypt of minutes"),
        pytest.param(f"$pbkdf2-sha512$i=999999999$c2FsdA${'aGFz' * 16}", id="pbkdf2 of minutes"),
        pytest.param(f"$pbkdf2$1000000$c2FsdA${'aGFz' * 80}", id="pbkdf2 of twelve blocks"),
        pytest.param("$pbkdf2$1000$c2FsdA$aGFzaA", id="pbkdf2 of a short output, which many passwords have"),
        pytest.param("$y$jFT$salt$" + "a" * 43, id="yescrypt of 1 GiB"),
        pytest.param("{PBKDF2}$1$salt$99999999$" + "0" * 40, id="Dovecot's of minutes"),
        pytest.param("$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$Iu7pLmzpHEDJFEUQb2r1XQ", id="argon2 of 4 GiB"),
        pytest.param("$argon2id$v=19$m=65536,t=9999,p=1$c2FsdHNhbHQ$Iu7pLmzpHEDJFEUQb2r1XQ", id="argon2 of minutes"),
        pytest.param("$argon2id$v=١٩$m=19456,t=2,p=1$c2FsdHNhbHQ$Iu7pLmzpHEDJFEUQb2r1XQ", id="argon2 of other digits"),
        pytest.param("{PLAIN}secret", id="plain text"),
        pytest.param("{CRAM-MD5}e02d374fde0dc75a17a557039a3a5338c7743304777dccd376f332bee68d2cf6", id="CRAM"),
        pytest.param("", id="nothing"),
        pytest.param("*", id="locked"),
        pytest.param("x" * 10_000, id="long"),
        pytest.param("{SSHA}!!!!", id="not base64"),
        pytest.param("$1$ümlaut$" + "a" * 22, id="not ASCII"),
    ],
)
def test_what_is_unknown_or_dear_is_refused_before_it_is_computed(
    encoded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W8: a hash brought along must not cost more than a login may."""

    def compute(*_: Any, **__: Any) -> Any:
        raise AssertionError("computed")

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", compute)
    monkeypatch.setattr(legacy_hashes, "_crypt_r", compute)
    checked = Passwords(InlineOffload())
    with pytest.raises(HashUnsuitable):
        checked.check_hash(encoded)
    assert not checked.verify(encoded, Secret("secret"))


def test_a_cap_that_is_not_kept_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    check: Callable[[str], object] = Passwords(InlineOffload()).check_hash
    dear = "$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    with pytest.raises(HashUnsuitable):
        check(dear)
    [bcrypt, *others] = legacy_hashes.SCHEMES
    uncapped = legacy_hashes.Scheme(bcrypt.name, bcrypt.pattern, bcrypt.check)
    monkeypatch.setattr(legacy_hashes, "SCHEMES", (uncapped, *others))
    check(dear)


@given(st.text(max_size=80), st.binary(max_size=20))
def test_no_hash_and_no_password_raises(encoded: str, password: bytes) -> None:
    assert verify(encoded, password) in {True, False}


@pytest.mark.parametrize(("name", "encoded", "password"), [CASES[2], CASES[3], CASES[7], CASES[11]])
def test_it_is_replaced_at_the_first_login(services: MailServices, name: str, encoded: str, password: bytes) -> None:
    user = make_user(services)
    services.users.set_password_hash(OPERATOR, user.user_id, encoded)
    with pytest.raises(AuthenticationFailed):
        services.authentication.login(user.address, Secret(b"wrong" + password), Protocol.IMAP, "2001:db8:1::1")
    before = services.authentication.login(user.address, Secret(password), Protocol.IMAP, "2001:db8:1::1")
    stored = services.users._directory.users.find_credentials(user.user_id)
    assert stored is not None
    assert stored.password_hash is not None
    assert stored.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored.user.auth_version == before.auth_version
    again = services.authentication.login(user.address, Secret(password), Protocol.POP3, "2001:db8:1::1")
    assert again.user_id == user.user_id


NFC, NFD = "Grüße an Zoë", unicodedata.normalize("NFD", "Grüße an Zoë")


@pytest.mark.parametrize("typed", [NFC, NFD], ids=["typed composed", "typed decomposed"])
@pytest.mark.parametrize("stored", [NFC, NFD], ids=["stored composed", "stored decomposed"])
def test_another_system_may_have_hashed_another_spelling(services: MailServices, stored: str, typed: str) -> None:
    user = make_user(services)
    services.users.set_password_hash(OPERATOR, user.user_id, _digest("{SSHA}", "sha1", stored.encode(), b"salt"))
    services.authentication.login(user.address, Secret(typed), Protocol.IMAP, "2001:db8:2::1")
    found = services.users._directory.users.find_credentials(user.user_id)
    assert found is not None
    assert found.password_hash is not None
    assert found.password_hash.startswith("$argon2id$")
    assert services.passwords.verify(found.password_hash, Secret(NFC))


def test_control_one_spelling_alone_locks_out(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_spellings", lambda _: [])
    with pytest.raises(AuthenticationFailed):
        test_another_system_may_have_hashed_another_spelling(services, NFD, NFC)


def test_a_wrong_password_of_todays_hash_costs_one_hash_however_it_is_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """W6: or one would hear by the time it takes who has a hash at all."""
    checked = Passwords(InlineOffload())
    ours = checked.hash_new(Secret(NFC))
    tried: list[bytes] = []
    read: list[str] = []
    is_outdated = passwords.Argon2.is_outdated
    monkeypatch.setattr(passwords.Argon2, "verify", lambda self, encoded, given: tried.append(given))
    monkeypatch.setattr(
        passwords.Argon2, "is_outdated", lambda self, encoded: is_outdated(self, encoded) or read.append(encoded)
    )
    for encoded in (ours, None):
        assert not checked.verify(encoded, Secret(NFD + "x"))
    assert len(tried) == len(read) == 2
