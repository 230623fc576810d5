"""What a plan allows holds at every door: who adds a user, and who stores mail, also many at once."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import func, select

from mailcore.api.app import create_app as create_api
from mailcore.errors import OverQuota, TooManyUsers
from mailcore.lmtp.policy import LmtpPolicy
from mailcore.model.actions import Peer, Send
from mailcore.model.roles import Role as TokenRole
from mailcore.model.secret import Secret
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.services.accounts.usage import Usage
from mailcore.services.keeping.import_folders import find_mailboxes
from mailcore.smtp.connection import SmtpConnection
from mailcore.store.directory.pool_use import PoolUse
from mailcore.submission.policy import SubmissionPolicy
from portal.accounts.models import Membership, Organisation
from portal.billing.models import Adjustment
from portal.database import session, unit_of_work
from portal.domains import queries
from portal.domains import services as domains
from portal.domains.models import DomainClaim
from portal.people import imports
from portal.permissions import Role
from tests.api.conftest import Api
from tests.builders import OPERATOR, PASSWORD, MadeUser
from tests.cli.conftest import Eider, eider
from tests.portal.billing.conftest import Billed
from tests.portal.conftest import Browser, browser_of, make_member
from tests.portal.people import MEMBER
from tests.portal.test_api import Client as ApiClient
from tests.transcripts.imap.dialogue import Imap
from tests.transcripts.submission.conftest import Client as Submission

__all__ = ["eider"]
SEATS = 3
AT_ONCE = 50
POOL = 200_000
RAW = b"Subject: x\r\n\r\n" + b"x" * 20_000
RECIPIENTS = 10
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

    def user(self) -> MadeUser:
        tenant_id, address = self.organisation.tenant_id, self.address()
        user_id = self.billed.mail.users.create(OPERATOR, address, Secret(PASSWORD), "", tenant_id)
        return MadeUser(user_id, tenant_id, address)


@pytest.fixture
def customer(billed: Billed, eider: Eider) -> Customer:
    organisation = billed.subscribed(quantity=SEATS)
    domain = f"l{organisation.tenant}.test"
    billed.mail.domains.create(OPERATOR, organisation.tenant_id, domain)
    return Customer(billed, organisation, domain, eider)


def by_api(customer: Customer) -> Callable[[], object]:
    api = customer.api()
    return lambda: api.post("/users", {"username": customer.address(), "password": "correct horse battery 9"})


def admins(customer: Customer) -> list[Browser]:
    """An admin in many windows."""
    member = make_member(customer.billed.mail)
    with unit_of_work() as current:
        current.add(Membership(organisation_id=customer.organisation.id, member_id=member.id, role=Role.ADMIN))
    return [browser_of(customer.billed.app, member) for _ in range(8)]


def by_portal(customer: Customer) -> Callable[[], object]:
    browsers = admins(customer)
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


def by_shared_mailbox(customer: Customer) -> Callable[[], object]:
    """What several people read takes a seat, as anybody does."""
    shared = customer.billed.mail.shared_mailboxes
    tenant_id = customer.organisation.tenant_id

    def add() -> object:
        try:
            return shared.create(OPERATOR, tenant_id, customer.address(), "Shared", [])
        except TooManyUsers:
            return None

    return add


def by_list(customer: Customer) -> Callable[[], object]:
    """A list of people that a worker brings in, ten at a time."""
    mail = customer.billed.mail

    def add() -> object:
        text = "\n".join(["address", *(customer.address() for _ in range(10))])
        with customer.billed.parts.database.scope():
            brought = imports.bring(mail, MEMBER, customer.organisation, "people.csv", text.encode())
            imports.start(MEMBER, customer.organisation, brought.id)
            return imports.run(mail, MEMBER, brought.id, lambda *_: None)

    return add


@pytest.mark.parametrize("door", [by_api, by_portal, by_shared_mailbox])
def test_fifty_at_once_make_as_many_users_as_there_are_seats(
    customer: Customer, door: Callable[[Customer], Callable[[], object]]
) -> None:
    add = door(customer)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: add(), range(AT_ONCE)))
    assert customer.users() == SEATS


def test_lists_of_people_make_as_many_users_as_there_are_seats(customer: Customer) -> None:
    add = by_list(customer)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: add(), range(5)))
    assert customer.users() == SEATS


def test_the_command_line_makes_as_many_users_as_there_are_seats(customer: Customer) -> None:
    add = by_command_line(customer)
    said = [add() for _ in range(SEATS + 1)]
    assert customer.users() == SEATS, said
    assert said[-1].status != 0  # type: ignore[attr-defined]


def by_lmtp(customer: Customer, user: MadeUser) -> Callable[[], object]:
    services = customer.billed.mail
    policy = LmtpPolicy(services.delivery, services.spam, services.settings)

    def deliver() -> object:
        connection = SmtpConnection(policy, Peer("127.0.0.1", 2525, None, "session1"), offers_tls=False)
        said = list(connection.greeting())
        for line in ("LHLO mx.test", "MAIL FROM:<bob@else.test>", f"RCPT TO:<{user.address}>", "DATA"):
            said += connection.receive(line.encode() + b"\r\n")
        said += connection.receive(RAW + b"\r\n.\r\n")
        return b"".join(each.data for each in said if isinstance(each, Send))

    return deliver


def by_upload(customer: Customer, user: MadeUser) -> Callable[[], object]:
    api = customer.api()
    boxes = api.get(f"/users/{user.user_id}/mailboxes").body["results"]
    inbox = next(box["id"] for box in boxes if box["path"] == "INBOX")
    return lambda: api.post(f"/users/{user.user_id}/mailboxes/{inbox}/messages", {"raw": RAW.decode()})


def by_append(customer: Customer, user: MadeUser) -> Callable[[], object]:
    imap = Imap(customer.billed.mail, user)

    def append() -> object:
        client = imap.sign_in(str(next(_numbers)))
        try:
            return client.ask(b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(RAW), RAW))
        finally:
            client.close()

    return append


def by_copy(customer: Customer, user: MadeUser) -> Callable[[], object]:
    imap = Imap(customer.billed.mail, user)
    imap.append(RAW)

    def copy() -> object:
        client = imap.sign_in(str(next(_numbers)), select="INBOX")
        try:
            return client.ask(b"c COPY 1 INBOX\r\n")
        finally:
            client.close()

    return copy


def by_import(customer: Customer, user: MadeUser) -> Callable[[], object]:
    def bring() -> object:
        with TemporaryDirectory() as folder:
            for part in ("cur", "new", "tmp"):
                (Path(folder) / part).mkdir()
            number = next(_numbers)
            (Path(folder) / "cur" / f"{number}:2,").write_bytes(b"Message-ID: <%d@x>\r\n%s" % (number, RAW))
            try:
                return customer.billed.mail.imports.run(OPERATOR, user.user_id, find_mailboxes(Path(folder)))
            except OverQuota:
                return None

    return bring


def by_sending(customer: Customer, user: MadeUser) -> Callable[[], object]:
    """The copy in Sent, and the queue's before it."""
    submit = by_submission(customer, user)
    return lambda: submit(RAW)


STORING = [by_lmtp, by_upload, by_append, by_copy, by_import, by_sending]


@pytest.mark.parametrize("door", STORING)
def test_the_pool_of_the_plan_is_not_passed(
    customer: Customer, door: Callable[[Customer, MadeUser], Callable[[], object]]
) -> None:
    """Two users share it, fifty ask at once: no more is stored, and so much that no message more fits."""
    services = customer.billed.mail
    services.pools.set_quota(OPERATOR, customer.organisation.tenant_id, POOL)
    asks = [door(customer, customer.user()) for _ in range(2)]
    services.pools.sum_up()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: asks[number % 2](), range(AT_ONCE)))
    used = services.pools.used(customer.organisation.tenant_id)
    assert POOL - 2 * len(RAW) < used <= POOL


def test_control_a_pool_that_nobody_looks_at_is_passed(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PoolUse, "take", lambda *_: True)
    with pytest.raises(AssertionError):
        test_the_pool_of_the_plan_is_not_passed(customer, by_append)


def by_submission(customer: Customer, user: MadeUser) -> Callable[..., object]:
    policy = SubmissionPolicy(customer.billed.mail, customer.billed.mail.settings)

    def send(raw: bytes = b"Subject: x\r\n\r\nx") -> object:
        client = Submission(customer.billed.mail, policy, user)
        return client.sign_in().send(raw + b"\r\n")

    return send


def by_submit(customer: Customer, user: MadeUser) -> Callable[[], object]:
    api = customer.api()
    return lambda: api.post(
        f"/users/{user.user_id}/submit", {"to": [{"address": "bob@else.test"}], "subject": "x", "text": "x"}
    )


@pytest.mark.parametrize("door", [by_submission, by_submit])
def test_fifty_at_once_send_to_as_many_as_a_day_has(
    customer: Customer, door: Callable[[Customer, MadeUser], Callable[[], object]]
) -> None:
    """What an organisation of this age may send in a day, whoever of its users asks."""
    services = customer.billed.mail
    tenant_id = customer.organisation.tenant_id
    services.tenants.set_sending_limit(OPERATOR, tenant_id, "tenant_recipients_per_day", RECIPIENTS, "a small one")
    users = [customer.user() for _ in range(2)]
    asks = [door(customer, user) for user in users]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: asks[number % 2](), range(AT_ONCE)))
    assert sum(len(services.outbound.list_of_user(user.user_id)) for user in users) == RECIPIENTS


def test_control_recipients_that_nobody_counts_are_more(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Usage, "spend_on_sending", lambda *_: None)
    with pytest.raises(AssertionError):
        test_fifty_at_once_send_to_as_many_as_a_day_has(customer, by_submit)


def domain_of(customer: Customer) -> str:
    return f"n{next(_numbers)}.{customer.organisation.tenant}.example"


def domain_by_portal(customer: Customer) -> Callable[[], object]:
    browsers = admins(customer)
    return lambda: browsers[next(_numbers) % len(browsers)].post("/domains/add", {"name": domain_of(customer)})


def domain_by_api(customer: Customer) -> Callable[[], object]:
    owner = owner_of_tenant(customer.organisation.tenant_id)
    token = customer.billed.mail.tokens.create(OPERATOR, owner, TokenRole.ROOT, "test")[1]
    client = ApiClient(customer.billed.app, token.reveal_text())
    return lambda: client.ask("POST", "/domains", {"domain": domain_of(customer)})


def domains_at_once(customer: Customer, door: Callable[[Customer], Callable[[], object]]) -> int:
    """Add fifty domains at once to an organisation that may have five; return how many it has then."""
    limit = Adjustment(organisation_id=customer.organisation.id, name="domains", value=5, reason="x", set_by="x")
    with unit_of_work() as current:
        current.add(limit)
    add = door(customer)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: add(), range(AT_ONCE)))
    claims = select(func.count()).where(DomainClaim.organisation_id == customer.organisation.id)
    return session().scalar(claims) or 0


@pytest.mark.parametrize("door", [domain_by_portal, domain_by_api])
def test_fifty_at_once_add_as_many_domains_as_there_may_be(
    customer: Customer, door: Callable[[Customer], Callable[[], object]]
) -> None:
    assert domains_at_once(customer, door) == 5


def test_control_without_the_turn_more_domains_are_added(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(8)
    counted = queries.count_claims

    def count_together(organisation: Organisation) -> int:
        found = counted(organisation)
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(20)
        return found

    monkeypatch.setattr(domains, "_take_turn", lambda _: None)
    monkeypatch.setattr(queries, "count_claims", count_together)
    monkeypatch.setattr(f"{__name__}.AT_ONCE", 8)
    assert domains_at_once(customer, domain_by_api) == 8
