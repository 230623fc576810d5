"""TOTP, recovery codes, the custom factor and the second step of a sign-in (attack W13)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyotp
import pytest
from pymongo import MongoClient

from mailcore import errors
from mailcore.model.access import Protocol
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.factors import Factor
from mailcore.model.limits import SecondFactorLimits
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.accounts.reauthentication import Reauthentication
from mailcore.services.accounts.second_factors import SecondFactors
from mailcore.services.accounts.totp import Totp
from mailcore.store.directory.nonces import Nonces
from mailcore.store.directory.second_factors import SecondFactors as Repository
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_services, make_user

START = 1_800_000_000.0
CONFIRMED = Secret(PASSWORD)


@dataclass
class Enrolled:
    """A user with TOTP on, and a clock to turn."""

    services: MailServices
    user: MadeUser
    totp: Totp
    now: list[float]
    app: pyotp.TOTP

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.USER, Door.PORTAL, self.user.address, self.user.user_id, "192.0.2.1")

    def code(self, steps: int = 0) -> str:
        return self.app.at(int(self.now[0]) + 30 * steps)

    def check(self, code: str) -> bool:
        try:
            self.totp.check(self.user.user_id, code)
        except errors.SecondFactorWrong:
            return False
        return True

    def later(self, steps: int = 1) -> None:
        self.now[0] += 30 * steps


def totp_of(services: MailServices, now: list[float], tries: int = 5) -> Totp:
    real = services.totp
    limits = SecondFactorLimits(tries=tries)
    factors = SecondFactors(real._directory, real._reauthentication, real._audit, limits, services.sessions)
    return Totp(real._directory, real._sealing, factors, real._reauthentication, real._audit, limits, lambda: now[0])


@pytest.fixture
def enrolled(services: MailServices) -> Enrolled:
    now = [START]
    user = make_user(services)
    made = Enrolled(services, user, totp_of(services, now), now, pyotp.TOTP("A" * 32))
    enrolment = made.totp.begin(made.actor, user.user_id, "Eider", user.address, CONFIRMED)
    made.app = pyotp.TOTP(enrolment.seed.reveal_text())
    changed = made.totp.enable(made.actor, user.user_id, made.code())
    assert changed.enabled_2fa == (Factor.TOTP,)
    made.later()
    return made


@pytest.fixture
def other_node(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


def log_in(services: MailServices, user: MadeUser) -> Any:
    return services.authentication.login(user.address, Secret(PASSWORD), Protocol.PORTAL, "192.0.2.1")


# -- TOTP -----------------------------------------------------------------------------------------


def test_codes_of_one_step_around_now_are_good_once(enrolled: Enrolled) -> None:
    assert not enrolled.check(enrolled.code(-2))
    assert not enrolled.check(enrolled.code(2))
    assert not enrolled.check("12345")
    assert enrolled.check(enrolled.code())
    assert not enrolled.check(enrolled.code()), "used"
    assert enrolled.check(f"{enrolled.code(1)[:3]} {enrolled.code(1)[3:]}"), "as apps show it"
    enrolled.later(1)
    assert not enrolled.check(enrolled.code()), "one before it was used ahead"
    assert not enrolled.check(enrolled.code(-1))


def test_the_code_that_enrolled_is_used(enrolled: Enrolled) -> None:
    enrolled.later(-1)
    assert not enrolled.check(enrolled.code())


def test_a_code_is_good_once_on_whatever_node_at_the_same_instant(enrolled: Enrolled, other_node: MailServices) -> None:
    nodes = [totp_of(services, enrolled.now, tries=99) for services in (enrolled.services, other_node)]
    for _ in range(5):
        assert _used_at_once(enrolled, nodes) == 1
        enrolled.later()


def test_control_without_the_compare_and_set_a_code_is_good_on_each_node(
    enrolled: Enrolled, other_node: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Repository, "use_totp_step", lambda *_: True)
    assert _used_at_once(enrolled, [enrolled.totp, totp_of(other_node, enrolled.now)]) == 4


def _used_at_once(enrolled: Enrolled, nodes: list[Totp]) -> int:
    """Use one code four times at once, on the nodes in turn; return how often it was taken."""
    start = threading.Barrier(4)
    code = enrolled.code()

    def use(node: Totp) -> bool:
        start.wait(10)
        try:
            node.check(enrolled.user.user_id, code)
        except errors.SecondFactorWrong:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        return sum(threads.map(use, nodes * 2))


def test_five_wrong_codes_then_even_the_right_one_waits(enrolled: Enrolled) -> None:
    for _ in range(5):
        assert not enrolled.check("000000")
    with pytest.raises(errors.TooManyAttempts) as refused:
        enrolled.check(enrolled.code())
    assert refused.value.wait_s == 180


def test_guesses_at_once_get_five_looks(enrolled: Enrolled) -> None:
    def guess(_number: int) -> type[Exception] | None:
        try:
            enrolled.totp.check(enrolled.user.user_id, "000000")
        except errors.MailError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(guess, range(24)))
    assert answers.count(errors.SecondFactorWrong) == 5
    assert answers.count(errors.TooManyAttempts) == 19


def test_control_looks_that_are_not_counted_first(enrolled: Enrolled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SecondFactors, "count_try", SecondFactors.stored)
    for _ in range(30):
        assert not enrolled.check("000000")


def test_the_wait_ends_and_a_right_code_forgets_wrong_ones(enrolled: Enrolled, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        assert not enrolled.check("000000")
    assert enrolled.check(enrolled.code())
    enrolled.later()
    for _ in range(5):
        assert not enrolled.check("000000")
    reserve = Repository.reserve_try
    monkeypatch.setattr(Repository, "reserve_try", lambda self, user, tries, _window: reserve(self, user, tries, 0))
    assert enrolled.check(enrolled.code())


def test_the_seed_is_shown_once_and_waits_for_its_first_code(services: MailServices) -> None:
    user = make_user(services)
    now = [START]
    totp = totp_of(services, now)
    actor = Actor(ActorKind.USER, Door.PORTAL, user.address, user.user_id)
    with pytest.raises(errors.NonceInvalid):
        totp.enable(actor, user.user_id, "000000")
    first = totp.begin(actor, user.user_id, "Eider", user.address, CONFIRMED)
    second = totp.begin(actor, user.user_id, "Eider", user.address, CONFIRMED)
    assert first.seed != second.seed
    assert second.uri.reveal_text().startswith("otpauth://totp/Eider:")
    with pytest.raises(errors.SecondFactorWrong):
        totp.enable(actor, user.user_id, pyotp.TOTP(first.seed.reveal_text()).at(int(now[0])))
    assert services.second_factors.status(user.user_id).enabled == ()
    totp.enable(actor, user.user_id, pyotp.TOTP(second.seed.reveal_text()).at(int(now[0])))
    with pytest.raises(errors.FactorIsOn):
        totp.begin(actor, user.user_id, "Eider", user.address, CONFIRMED)
    with pytest.raises(errors.FactorIsOn):
        totp.enable(actor, user.user_id, "000000")


def test_a_seed_that_waited_too_long_is_good_no_more(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user(services)
    keep = Repository.set_pending_totp
    asked: list[int] = []

    def expired(self: Repository, user_id: Any, sealed: bytes, seconds: int) -> bool:
        asked.append(seconds)
        return keep(self, user_id, sealed, 0)

    monkeypatch.setattr(Repository, "set_pending_totp", expired)
    enrolment = services.totp.begin(OPERATOR, user.user_id, "Eider", user.address)
    with pytest.raises(errors.NonceInvalid):
        services.totp.enable(OPERATOR, user.user_id, pyotp.TOTP(enrolment.seed.reveal_text()).now())
    assert asked == [6 * 3600]


def test_nothing_that_opens_anything_lies_in_the_directory(enrolled: Enrolled, directory_uri: str) -> None:
    codes = enrolled.services.second_factors.make_recovery_codes(enrolled.actor, enrolled.user.user_id, CONFIRMED)
    nonce = enrolled.services.second_factors.begin_step(log_in(enrolled.services, enrolled.user))
    client: MongoClient[dict[str, Any]] = MongoClient(directory_uri)
    database = client.get_default_database()
    dump = repr([list(database[name].find()) for name in database.list_collection_names()])
    client.close()
    assert enrolled.user.address in dump
    for secret in (enrolled.app.secret, nonce.reveal_text(), *(code.reveal_text() for code in codes)):
        assert secret not in dump
        assert secret.replace("-", "") not in dump


# -- who may turn them on and off -----------------------------------------------------------------


def changes(enrolled: Enrolled, actor: Actor, password: Secret | None) -> list[Any]:
    services, user_id = enrolled.services, enrolled.user.user_id
    return [
        lambda: services.second_factors.enable_custom(actor, user_id, password),
        lambda: services.second_factors.disable(actor, user_id, Factor.TOTP, password),
        lambda: services.second_factors.disable_all(actor, user_id, password),
        lambda: services.second_factors.make_recovery_codes(actor, user_id, password),
        lambda: services.totp.begin(actor, user_id, "Eider", "x", password),
        lambda: services.passkeys.remove(actor, user_id, b"x", password),
        lambda: services.passkeys.begin_registration(
            actor, user_id, name="x", origin="https://a.test", rp_id="a.test", rp_name="", session="", password=password
        ),
    ]


@pytest.mark.parametrize("password", [None, Secret("wrong password"), Secret("abcdefghijklmnop")])
def test_no_change_without_the_master_password(enrolled: Enrolled, password: Secret | None) -> None:
    """Neither a stolen session nor an app password is enough."""
    for change in changes(enrolled, enrolled.actor, password):
        with pytest.raises(errors.AuthenticationFailed):
            change()
    assert enrolled.services.second_factors.status(enrolled.user.user_id).enabled == (Factor.TOTP,)


def test_no_change_for_somebody_else(enrolled: Enrolled) -> None:
    other = make_user(enrolled.services)
    actor = Actor(ActorKind.USER, Door.PORTAL, other.address, other.user_id)
    for change in changes(enrolled, actor, CONFIRMED):
        with pytest.raises(errors.UserNotFound):
            change()


def test_control_changes_without_confirmation(enrolled: Enrolled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reauthentication, "confirm", lambda *_: None)
    user = enrolled.services.second_factors.disable(enrolled.actor, enrolled.user.user_id, Factor.TOTP)
    assert user.enabled_2fa == ()


# -- all together ---------------------------------------------------------------------------------


def test_the_first_factor_ends_sessions_and_the_last_takes_the_recovery_codes(services: MailServices) -> None:
    user = make_user(services)
    factors = services.second_factors
    before = services.users.get(user.user_id).auth_version
    with pytest.raises(errors.FactorIsOff):
        factors.make_recovery_codes(OPERATOR, user.user_id)
    identity = services.authentication.login(user.address, Secret(user.password), Protocol.IMAP, "2001:db8:5::1")
    session = services.sessions.open(identity, lambda: None)
    assert factors.enable_custom(OPERATOR, user.user_id).auth_version == before + 1
    services.sessions.poll()
    assert session.ended == "Sign in again with an app password"
    session.close()
    with pytest.raises(errors.FactorIsOn):
        factors.enable_custom(OPERATOR, user.user_id)
    enrolment = services.totp.begin(OPERATOR, user.user_id, "Eider", "x")
    changed = services.totp.enable(OPERATOR, user.user_id, pyotp.TOTP(enrolment.seed.reveal_text()).now())
    assert changed.auth_version == before + 1
    assert set(changed.enabled_2fa) == {Factor.CUSTOM, Factor.TOTP}
    factors.make_recovery_codes(OPERATOR, user.user_id)
    factors.disable(OPERATOR, user.user_id, Factor.CUSTOM)
    assert factors.status(user.user_id).recovery_codes_left == 10
    with pytest.raises(errors.FactorIsOff):
        factors.disable(OPERATOR, user.user_id, Factor.CUSTOM)
    assert factors.disable(OPERATOR, user.user_id, Factor.TOTP).enabled_2fa == ()
    assert factors.status(user.user_id).recovery_codes_left == 0
    with pytest.raises(errors.FactorIsOff):
        services.totp.check(user.user_id, "000000")


def test_removing_everything(enrolled: Enrolled) -> None:
    factors = enrolled.services.second_factors
    factors.make_recovery_codes(enrolled.actor, enrolled.user.user_id, CONFIRMED)
    nonce = factors.begin_step(log_in(enrolled.services, enrolled.user))
    assert factors.disable_all(OPERATOR, enrolled.user.user_id).enabled_2fa == ()
    status = factors.status(enrolled.user.user_id)
    assert (status.enabled, status.passkeys, status.recovery_codes_left) == ((), (), 0)
    with pytest.raises(errors.NonceInvalid):
        factors.step_of(enrolled.user.user_id, nonce)


def test_recovery_codes_are_good_once_in_any_spelling(enrolled: Enrolled) -> None:
    factors, user_id = enrolled.services.second_factors, enrolled.user.user_id
    old = factors.make_recovery_codes(enrolled.actor, user_id, CONFIRMED)
    codes = factors.make_recovery_codes(enrolled.actor, user_id, CONFIRMED)
    assert len({code.reveal() for code in codes}) == 10
    with pytest.raises(errors.SecondFactorWrong):
        factors.check_recovery_code(enrolled.actor, user_id, old[0])
    factors.check_recovery_code(enrolled.actor, user_id, codes[0])
    factors.check_recovery_code(enrolled.actor, user_id, Secret(codes[1].reveal_text().upper().replace("-", " ")))
    assert factors.status(user_id).recovery_codes_left == 8
    for _ in range(5):
        with pytest.raises(errors.SecondFactorWrong):
            factors.check_recovery_code(enrolled.actor, user_id, codes[0])
    with pytest.raises(errors.TooManyAttempts):
        factors.check_recovery_code(enrolled.actor, user_id, codes[2])


def test_another_users_recovery_code_is_wrong(enrolled: Enrolled) -> None:
    other = make_user(enrolled.services)
    factors = enrolled.services.second_factors
    factors.enable_custom(OPERATOR, other.user_id)
    code = factors.make_recovery_codes(OPERATOR, other.user_id)[0]
    with pytest.raises(errors.SecondFactorWrong):
        factors.check_recovery_code(enrolled.actor, enrolled.user.user_id, code)


# -- the second step ------------------------------------------------------------------------------


def test_the_second_step_is_taken_once_with_the_right_factor(enrolled: Enrolled) -> None:
    factors, user_id = enrolled.services.second_factors, enrolled.user.user_id
    nonce = factors.begin_step(log_in(enrolled.services, enrolled.user))
    assert len(bytes.fromhex(nonce.reveal_text())) == 20
    with pytest.raises(errors.SecondFactorWrong):
        factors.finish_step(user_id, nonce, lambda: enrolled.totp.check(user_id, "000000"))
    user = factors.finish_step(user_id, nonce, lambda: enrolled.totp.check(user_id, enrolled.code()))
    assert user.id == user_id
    enrolled.later()
    with pytest.raises(errors.NonceInvalid):
        factors.finish_step(user_id, nonce, lambda: enrolled.totp.check(user_id, enrolled.code()))
    assert enrolled.check(enrolled.code()), "no code was used up for a nonce that is worth nothing"


def test_a_step_is_its_users_alone_and_ends_with_the_password(enrolled: Enrolled) -> None:
    factors, user_id = enrolled.services.second_factors, enrolled.user.user_id
    other = make_user(enrolled.services)
    nonce = factors.begin_step(log_in(enrolled.services, enrolled.user))
    for wrong in (Secret("00" * 20), Secret("")):
        with pytest.raises(errors.NonceInvalid):
            factors.finish_step(user_id, wrong, lambda: None)
    with pytest.raises(errors.NonceInvalid):
        factors.finish_step(other.user_id, nonce, lambda: None)
    enrolled.services.users.set_password(OPERATOR, user_id, Secret("another password"))
    with pytest.raises(errors.NonceInvalid):
        factors.finish_step(user_id, nonce, lambda: None)


def test_a_step_ends_with_its_user_or_tenant_suspended_meanwhile(enrolled: Enrolled, other_node: MailServices) -> None:
    factors, user_id = enrolled.services.second_factors, enrolled.user.user_id
    nonce = factors.begin_step(log_in(enrolled.services, enrolled.user))
    other_node.tenants.set_state(OPERATOR, enrolled.user.tenant_id, State.SUSPENDED)
    with pytest.raises(errors.UserDisabled):
        factors.finish_step(user_id, nonce, lambda: None)
    other_node.tenants.set_state(OPERATOR, enrolled.user.tenant_id, State.ACTIVE)
    with pytest.raises(errors.NonceInvalid):
        factors.finish_step(user_id, nonce, lambda: None)
    nonce = factors.begin_step(log_in(enrolled.services, enrolled.user))
    other_node.users.set_state(OPERATOR, user_id, State.SUSPENDED)
    with pytest.raises(errors.NonceInvalid):
        factors.finish_step(user_id, nonce, lambda: None)


def test_a_step_taken_twice_at_once_is_taken_once(enrolled: Enrolled, monkeypatch: pytest.MonkeyPatch) -> None:
    factors, user_id = enrolled.services.second_factors, enrolled.user.user_id

    def taken() -> int:
        nonce = factors.begin_step(log_in(enrolled.services, enrolled.user))
        start = threading.Barrier(4)

        def finish(_number: int) -> bool:
            try:
                factors.finish_step(user_id, nonce, lambda: start.wait(10))
            except errors.NonceInvalid:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            return sum(threads.map(finish, range(4)))

    assert taken() == 1
    monkeypatch.setattr(Nonces, "consume", Nonces.find)
    assert taken() == 4, "control"
