"""What a plan allows holds at every door: who adds a user, and who stores mail, also many at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from mailcore.api.app import create_app as create_api
from mailcore.errors import OverQuota
from mailcore.model.ids import UserId
from mailcore.model.roles import Role as TokenRole
from mailcore.services.messages import NewMessage
from mailcore.services.tokens import owner_of_tenant
from portal.accounts.models import Membership, Organisation
from portal.database import unit_of_work
from portal.permissions import Role
from tests.api.conftest import Api
from tests.builders import OPERATOR
from tests.cli.conftest import Eider, eider
from tests.portal.billing.conftest import Billed
from tests.portal.conftest import browser_of, make_member
from tests.services.inbound_mail import mail, take

__all__ = ["eider"]
SEATS = 3
AT_ONCE = 50
POOL = 200_000
_numbers = itertools.count(1)


@dataclass
class Customer:
    """An organisation on a plan of three seats, its domain, and ways to ask."""

    billed: Billed
    organisation: Organisation
    domain: str
    eider: Eider

    def address(self) -> str:
        return f"u{next(_numbers)}@{self.domain}"

    def users(self) -> int:
        return self.billed.mail.users.count_of_tenant(self.organisation.tenant_id)

    def api(self) -> Api:
        owner = owner_of_tenant(self.organisation.tenant_id)
        token = self.billed.mail.tokens.create(OPERATOR, owner, TokenRole.ROOT, "test")[1]
        return Api(create_api(self.billed.mail), token.reveal_text())

    def user(self) -> UserId:
        tenant_id = self.organisation.tenant_id
        return self.billed.mail.users.create(OPERATOR, self.address(), None, "", tenant_id)


@pytest.fixture
def customer(billed: Billed, eider: Eider) -> Customer:
    organisation = billed.subscribed(quantity=SEATS)
    domain = f"l{organisation.tenant}.test"
    billed.mail.domains.create(OPERATOR, organisation.tenant_id, domain)
    return Customer(billed, organisation, domain, eider)


def by_api(customer: Customer) -> Callable[[], object]:
    api = customer.api()
    return lambda: api.post("/users", {"username": customer.address(), "password": "correct horse battery 9"})


def by_portal(customer: Customer) -> Callable[[], object]:
    member = make_member(customer.billed.mail)
    with unit_of_work() as current:
        current.add(Membership(organisation_id=customer.organisation.id, member_id=member.id, role=Role.ADMIN))
    browsers = [browser_of(customer.billed.app, member) for _ in range(8)]
    for browser in browsers:
        browser.get("/people/new")

    def add() -> object:
        browser = browsers[next(_numbers) % len(browsers)]
        return browser.post("/people/new", {"address": customer.address(), "name": "", "quota": ""})

    return add


def by_command_line(customer: Customer) -> Callable[[], object]:
    tenant = customer.billed.mail.tenants.get(customer.organisation.tenant_id).name
    return lambda: customer.eider(
        "user", "create", customer.address(), "--tenant", tenant, stdin="correct horse battery 9\n"
    )


@pytest.mark.parametrize("door", [by_api, by_portal])
def test_fifty_at_once_make_as_many_users_as_there_are_seats(
    customer: Customer, door: Callable[[Customer], Callable[[], object]]
) -> None:
    add = door(customer)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: add(), range(AT_ONCE)))
    assert customer.users() == SEATS


def test_the_command_line_makes_as_many_users_as_there_are_seats(customer: Customer) -> None:
    add = by_command_line(customer)
    said = [add() for _ in range(SEATS + 1)]
    assert customer.users() == SEATS, said
    assert said[-1].status != 0  # type: ignore[attr-defined]


def by_delivery(customer: Customer, user: UserId) -> Callable[[], object]:
    address = customer.billed.mail.users.get(user).address
    return lambda: take(customer.billed.mail, mail(address, body="x" * 20_000), address)


def by_upload(customer: Customer, user: UserId) -> Callable[[], object]:
    api = customer.api()
    boxes = api.get(f"/users/{user}/mailboxes").body["results"]
    inbox = next(box["id"] for box in boxes if box["path"] == "INBOX")
    raw = "Subject: x\r\n\r\n" + "x" * 20_000
    return lambda: api.post(f"/users/{user}/mailboxes/{inbox}/messages", {"raw": raw})


def by_append(customer: Customer, user: UserId) -> Callable[[], object]:
    raw = b"Subject: x\r\n\r\n" + b"x" * 20_000
    return lambda: customer.billed.mail.messages.append(user, OPERATOR, "INBOX", [NewMessage(raw)])


@pytest.mark.parametrize("door", [by_delivery, by_upload, by_append])
def test_the_pool_of_the_plan_is_not_passed(
    customer: Customer, door: Callable[[Customer, UserId], Callable[[], object]]
) -> None:
    """Two users share it; a process that counts by itself lets in no more than the pool and what is on its way."""
    services = customer.billed.mail
    services.pools.set_quota(OPERATOR, customer.organisation.tenant_id, POOL)
    first, second = customer.user(), customer.user()
    services.pools.sum_up()
    asks = [door(customer, first), door(customer, second)]

    def ask(number: int) -> None:
        try:
            asks[number % 2]()
        except OverQuota:
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(30)))
    services.pools.sum_up()
    used = services.tenants.get(customer.organisation.tenant_id).used_bytes
    assert 0 < used <= POOL + 4 * 21_000
