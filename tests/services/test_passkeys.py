"""Passkeys: every field of what an authenticator answers is looked at (attack W12)."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Any

import pytest
import webauthn
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url as b64

from mailcore import errors
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.factors import Factor, Passkey
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts import passkeys
from mailcore.services.accounts.passkeys import Passkeys
from mailcore.store.directory.nonces import Nonces
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_tenant, make_user
from tests.services.authenticator import AT, UP, UV, Authenticator

ORIGIN = "https://mail.example.com"
RP_ID = "example.com"
SESSION = "a browser's session"


@dataclass
class Ceremony:
    """One user and a key, on real services."""

    services: MailServices
    user: MadeUser
    device: Authenticator

    @property
    def actor(self) -> Actor:
        return actor_of(self.user)

    def begin_registration(self, **more: Any) -> Any:
        values = {"name": "My key", "origin": ORIGIN, "rp_id": RP_ID, "rp_name": "Example", "session": SESSION}
        return self.services.passkeys.begin_registration(
            self.actor, self.user.user_id, **(values | {"password": Secret(PASSWORD)} | more)
        )

    def register(self, answer: Any = None, options: Any = None, session: str = SESSION, **lies: Any) -> Passkey:
        options = options or self.begin_registration()
        answer = answer or self.device.create(options, lies.pop("origin", ORIGIN), **lies)
        return self.services.passkeys.finish_registration(
            self.actor, self.user.user_id, challenge=options.challenge, credential=answer, session=session
        )

    def ask(self, **more: Any) -> Any:
        values = {"origin": ORIGIN, "rp_id": RP_ID, "session": SESSION} | more
        return self.services.passkeys.begin_authentication(self.user.user_id, **values)

    def check(self, answer: Any = None, options: Any = None, session: str = SESSION, **lies: Any) -> Passkey:
        options = options or self.ask()
        answer = answer or self.device.get(options, lies.pop("origin", ORIGIN), **lies)
        return self.services.passkeys.check(
            self.user.user_id, challenge=options.challenge, credential=answer, session=session
        )


def actor_of(user: MadeUser) -> Actor:
    return Actor(ActorKind.USER, Door.PORTAL, user.address, user.user_id, "192.0.2.1")


@pytest.fixture
def fresh(services: MailServices) -> Ceremony:
    return Ceremony(services, make_user(services), Authenticator())


@pytest.fixture
def known(fresh: Ceremony) -> Ceremony:
    """A user who has registered the device."""
    fresh.register()
    return fresh


def stranger(services: MailServices) -> Ceremony:
    other = Ceremony(services, make_user(services), Authenticator())
    other.register()
    return other


def test_several_keys_with_names_sign_in_and_go(fresh: Ceremony) -> None:
    factors = fresh.services.second_factors
    first = fresh.register(fmt="packed", statement="self")
    phone = Authenticator()
    options = fresh.begin_registration(name="Phone $where", attachment="platform", verifies_user=True)
    assert [one.id for one in options.exclude_credentials] == [first.id]
    fresh.register(phone.create(options, ORIGIN), options)
    status = factors.status(fresh.user.user_id)
    assert status.enabled == (Factor.WEBAUTHN,)
    assert [(one.name, one.attachment) for one in status.passkeys] == [
        ("My key", "cross-platform"), ("Phone $where", "platform"),
    ]  # fmt: skip
    for _ in range(2):
        assert fresh.check().name == "My key"
    options = fresh.ask()
    assert fresh.check(phone.get(options, ORIGIN), options).name == "Phone $where"
    used = factors.status(fresh.user.user_id).passkeys
    assert [one.sign_count for one in used] == [2, 1]
    assert all(one.last_used_at for one in used)
    confirmed = {"password": Secret(PASSWORD)}
    user = fresh.services.passkeys.remove(fresh.actor, fresh.user.user_id, first.id, **confirmed)
    assert user.enabled_2fa == (Factor.WEBAUTHN,)
    user = fresh.services.passkeys.remove(fresh.actor, fresh.user.user_id, phone.id, **confirmed)
    assert user.enabled_2fa == ()
    with pytest.raises(errors.FactorIsOff):
        fresh.ask()
    with pytest.raises(errors.PasskeyNotFound):
        fresh.services.passkeys.remove(fresh.actor, fresh.user.user_id, phone.id, **confirmed)


def test_passkeys_without_a_counter_are_taken(known: Ceremony) -> None:
    """Passkeys that live on several devices keep it at 0."""
    for _ in range(3):
        known.check(count=0)


OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
REGISTRATION_LIES = [
    pytest.param({"origin": "https://mail.example.org"}, id="origin"),
    pytest.param({"origin": "http://mail.example.com"}, id="origin-without-tls"),
    pytest.param({"origin": "https://mail.example.com:444"}, id="origin-port"),
    pytest.param({"rp_id": "example.org"}, id="rp-id"),
    pytest.param({"client": {"challenge": b64(bytes(32))}}, id="challenge"),
    pytest.param({"client": {"challenge": 5}}, id="challenge-no-text"),
    pytest.param({"client": {"type": "webauthn.get"}}, id="type"),
    pytest.param({"client": {"crossOrigin": True}}, id="frame"),
    pytest.param({"flags": UV | AT}, id="user-not-present"),
    pytest.param({"flags": UP | UV}, id="no-credential"),
    pytest.param({"kind": "password"}, id="kind"),
    pytest.param({"raw_id": bytes(32)}, id="id-differs"),
    pytest.param({"cose": b"\xa1\x01\x02"}, id="key-cut-off"),
    pytest.param({"cose": b"\xff"}, id="key-no-cbor"),
    pytest.param({"statement": {"sig": b"forged"}}, id="none-with-a-statement"),
    pytest.param({"fmt": "packed", "statement": {"alg": -7, "sig": b"forged"}}, id="self-attestation-forged"),
    pytest.param({"fmt": "packed", "statement": "self", "key": OTHER_KEY}, id="self-attestation-by-another-key"),
    pytest.param({"fmt": "packed", "statement": {}}, id="packed-without-statement"),
    pytest.param({"fmt": "fido-u2f", "statement": {"sig": b"", "x5c": [b"forged"]}}, id="u2f-forged"),
    pytest.param({"fmt": "made-up"}, id="unknown-format"),
]


@pytest.mark.parametrize("lies", REGISTRATION_LIES)
def test_registration_refuses(fresh: Ceremony, lies: dict[str, Any]) -> None:
    with pytest.raises(errors.SecondFactorWrong):
        fresh.register(**lies)
    assert fresh.services.second_factors.status(fresh.user.user_id).enabled == ()


AUTHENTICATION_LIES = [
    pytest.param({"origin": "https://mail.example.org"}, id="origin"),
    pytest.param({"origin": "https://evil.mail.example.com"}, id="origin-below"),
    pytest.param({"rp_id": "example.org"}, id="rp-id"),
    pytest.param({"client": {"challenge": b64(bytes(32))}}, id="challenge"),
    pytest.param({"client": {"type": "webauthn.create"}}, id="type"),
    pytest.param({"client": {"crossOrigin": True}}, id="frame"),
    pytest.param({"flags": UV}, id="user-not-present"),
    pytest.param({"kind": "password"}, id="kind"),
    pytest.param({"key": OTHER_KEY}, id="signature-of-another-key"),
    pytest.param({"signature": b"forged"}, id="signature-forged"),
    pytest.param({"count": 1}, id="counter-stands"),
    pytest.param({"count": 0}, id="counter-gone"),
    pytest.param({"raw_id": bytes(32)}, id="unknown-credential"),
    pytest.param({"user_handle": bytes(12)}, id="another-users-handle"),
]


@pytest.mark.parametrize("lies", AUTHENTICATION_LIES)
def test_authentication_refuses(known: Ceremony, lies: dict[str, Any]) -> None:
    for _ in range(2):
        known.check()  # the counter is 2 now
    with pytest.raises(errors.SecondFactorWrong):
        known.check(**lies)
    known.check(user_handle=known.user.user_id.binary)


def test_a_missing_uv_flag_is_refused_where_it_is_asked_for(fresh: Ceremony) -> None:
    options = fresh.begin_registration(verifies_user=True)
    with pytest.raises(errors.SecondFactorWrong):
        fresh.register(options=options, flags=UP | AT)
    fresh.register(flags=UP | AT)
    with pytest.raises(errors.SecondFactorWrong):
        fresh.check(options=fresh.ask(verifies_user=True), flags=UP)
    fresh.check(flags=UP)


def test_a_challenge_is_good_once_even_where_it_failed(known: Ceremony) -> None:
    options = known.ask()
    answer = known.device.get(options, ORIGIN)
    known.check(answer, options)
    with pytest.raises(errors.NonceInvalid):
        known.check(answer, options)
    options = known.ask()
    with pytest.raises(errors.SecondFactorWrong):
        known.check(options=options, origin="https://evil.example")
    with pytest.raises(errors.NonceInvalid):
        known.check(options=options)


def test_a_challenge_is_good_for_its_purpose_user_and_session_only(known: Ceremony) -> None:
    other = stranger(known.services)
    options = known.ask()
    with pytest.raises(errors.NonceInvalid):
        other.check(options=options)
    with pytest.raises(errors.NonceInvalid):
        known.check(options=known.ask(), session="another session")
    with pytest.raises(errors.NonceInvalid):
        known.check(options=known.begin_registration(), rp_id=RP_ID)
    known.check(options=options)


def test_a_challenge_expires_by_the_databases_clock(known: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = Nonces.insert
    asked: list[int] = []

    def expired(self: Nonces, user_id: UserId, purpose: str, nonce: Secret, seconds: int, content: Any) -> None:
        asked.append(seconds)
        insert(self, user_id, purpose, nonce, 0, content)

    monkeypatch.setattr(Nonces, "insert", expired)
    with pytest.raises(errors.NonceInvalid):
        known.check()
    assert asked == [300]


@pytest.mark.parametrize("same_tenant", [True, False])
def test_credentials_of_others_open_nothing(known: Ceremony, same_tenant: bool) -> None:
    tenant = (known.user.tenant_id, known.user.address.split("@")[1]) if same_tenant else make_tenant(known.services)
    other = Ceremony(known.services, make_user(known.services, tenant=tenant), Authenticator())
    other.register()
    options = known.ask()
    with pytest.raises(errors.SecondFactorWrong):
        known.check(other.device.get(options, ORIGIN), options)
    options = known.ask()
    with pytest.raises(errors.SecondFactorWrong):  # one's own name on another's signature
        known.check(other.device.get(options, ORIGIN, raw_id=known.device.id), options)


def test_a_credential_registered_by_anybody_is_not_registered_again(known: Ceremony) -> None:
    """Whoever registers the id of another's key would be signed in by it (§7.1 step 26)."""
    other = Ceremony(known.services, make_user(known.services), Authenticator(id=known.device.id))
    with pytest.raises(errors.PasskeyTaken):
        other.register()
    assert other.services.second_factors.status(other.user.user_id).enabled == ()
    with pytest.raises(errors.PasskeyTaken):
        known.register()


def test_a_key_of_one_relying_party_is_not_asked_for_another(known: Ceremony) -> None:
    with pytest.raises(errors.FactorIsOff):
        known.ask(origin="https://example.net", rp_id="example.net")


@pytest.mark.parametrize(
    "origin",
    ["http://mail.example.com", "https://example.org", "https://evilexample.com", "https://mail.example.com/x", "",
     "https://[", "https://user@mail.example.com:x", "mail.example.com"],
)  # fmt: skip
def test_origins_that_cannot_speak_for_the_relying_party(fresh: Ceremony, origin: str) -> None:
    with pytest.raises(errors.ValueInvalid):
        fresh.begin_registration(origin=origin)


def test_only_so_many_keys(fresh: Ceremony) -> None:
    options = [fresh.begin_registration() for _ in range(21)]
    for one in options[:20]:
        fresh.register(Authenticator().create(one, ORIGIN), one)
    with pytest.raises(errors.TooManyPasskeys):
        fresh.register(Authenticator().create(options[20], ORIGIN), options[20])
    with pytest.raises(errors.TooManyPasskeys):
        fresh.begin_registration()


def test_hostile_bytes_are_refused_and_nothing_else(known: Ceremony) -> None:
    """Every part of an answer is damaged in many ways: cut off, bytes changed, nonsense."""
    chance = random.Random(7)
    wrong = errors.SecondFactorWrong
    for _ in range(40):
        options = known.ask()
        answer = known.device.get(options, ORIGIN)
        part = chance.choice(list(answer["response"]))
        answer["response"][part] = _damaged(answer["response"][part], chance)
        with pytest.raises(wrong):
            known.check(answer, options)
        options = known.begin_registration()
        answer = Authenticator().create(options, ORIGIN, fmt="packed", statement="self")
        part = chance.choice(list(answer["response"]))
        answer["response"][part] = _damaged(answer["response"][part], chance)
        with pytest.raises(wrong):
            known.register(answer, options)
    for nonsense in ({}, {"id": 5}, {"id": "x", "rawId": "x", "type": "public-key", "response": []}):
        with pytest.raises(wrong):
            known.check(nonsense or {"": ""})


def _damaged(encoded: str, chance: random.Random) -> str:
    data = bytearray(webauthn.base64url_to_bytes(encoded))
    match chance.randrange(3):
        case 0:
            return b64(bytes(data[: chance.randrange(len(data))]))
        case 1:
            place = chance.randrange(len(data))
            data[place] ^= 1 << chance.randrange(8)
            return b64(bytes(data))
        case _:
            return b64(os.urandom(chance.randrange(1, 80)))


# -- controls: with one function replaced, each attack succeeds -----------------------------------


def test_control_challenges_that_are_not_used_up(known: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nonces, "consume", Nonces.find)
    options = known.ask()
    for _ in range(2):
        known.check(options=options)


def test_control_credentials_looked_up_by_their_id_alone(known: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    other = stranger(known.services)
    find = Passkeys._find
    monkeypatch.setattr(Passkeys, "_find", lambda self, _user, *rest: find(self, other.user.user_id, *rest))
    monkeypatch.setattr(type(known.services.passkeys._directory.second_factors), "use_passkey", lambda *_: True)
    options = known.ask()
    known.check(other.device.get(options, ORIGIN), options)


def test_control_frames_and_origins_not_looked_at(known: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "_refuse_frames", lambda _data: None)
    known.check(client={"crossOrigin": True})
    real = webauthn.verify_authentication_response
    seen = ["https://evil.example"]
    monkeypatch.setattr(
        webauthn, "verify_authentication_response", lambda **values: real(**(values | {"expected_origin": seen}))
    )
    known.check(origin="https://evil.example")


def test_an_operator_needs_no_password_of_the_user(fresh: Ceremony) -> None:
    fresh.services.passkeys.begin_registration(
        OPERATOR, fresh.user.user_id, name="x", origin=ORIGIN, rp_id=RP_ID, rp_name="Example", session=SESSION
    )
