"""A portal that is billed: the local Stripe with its clock, its webhooks delivered over HTTP, jobs run when asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest
import stripe
from flask import Flask
from redis import Redis
from sqlalchemy import delete, select, text
from werkzeug.serving import make_server

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.app import create_app
from portal.billing import catalogue, enforcement, services
from portal.billing.entitlements import Entitlements, current_subscription, entitlements
from portal.billing.models import BillingAccount, Invoice, Subscription
from portal.billing.services import Payments
from portal.billing.settings import StripeSettings
from portal.database import session, unit_of_work
from portal.mail_plane import EXTENSION, Portal
from portal.migrations import migrate
from portal.settings import PortalSettings
from tests.portal.conftest import MadeOrganisation, make_organisation
from tests.stubs.stripe import API_KEY, WEBHOOK_SECRET, StripeServer, client_of, local_stripe
from workers.context import JobContext
from workers.registry import JOBS

OWNER = Actor(ActorKind.MEMBER, Door.PORTAL, "owner@firm.test")
CATALOGUE = frozenset({"product", "price", "billing.meter"})
"""What stays at the provider from one test to the next."""


@dataclass(frozen=True)
class Context(JobContext):
    """What jobs are given; what they enqueue waits here."""

    waiting: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def enqueue(self, job: str, **arguments: Any) -> str:
        self.waiting.append((job, arguments))
        return job


@dataclass
class Billed:
    """The portal, the provider, and the jobs that wait."""

    app: Flask
    parts: Portal
    server: StripeServer
    client: stripe.StripeClient
    waiting: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    former: list[UUID] = field(default_factory=list)
    """Organisations of the test before."""

    @property
    def payments(self) -> Payments:
        return Payments.of(self.parts)

    @property
    def mail(self) -> MailServices:
        return self.parts.mail

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.server.world.now, UTC)

    def run_jobs(self) -> None:
        """Carry out what was enqueued, and what that enqueues."""
        context = Context(self.mail, Redis(), self.parts, self.waiting)
        while self.waiting:
            name, arguments = self.waiting.pop(0)
            module, _, function = JOBS[name].function.rpartition(".")
            getattr(import_module(module), function)(context, **arguments)

    def settle(self) -> None:
        """Let every event arrive, and every job that follows be done."""
        assert self.server.webhooks is not None
        self.server.webhooks.settle()
        self.run_jobs()

    def advance(self, days: float) -> None:
        """Let time go by at the provider and here."""
        self.server.advance(days=days)
        self.settle()
        self.waiting.append(("billing.tick", {}))
        self.run_jobs()

    def organisation(self) -> Organisation:
        """An organisation that was made now, by the provider's clock."""
        made: MadeOrganisation = make_organisation(self.mail)
        with unit_of_work() as current:
            made.organisation.created_at = self.now()
            current.add(made.organisation)
        enforcement.enforce(self.mail, made.organisation.id, self.now())
        return made.organisation

    def subscribed(self, plan: str = "team", quantity: int = 5, card: str = "4242") -> Organisation:
        """An organisation that went through Checkout."""
        organisation = self.organisation()
        self.check_out(organisation, plan, quantity, card)
        return organisation

    def check_out(self, organisation: Organisation, plan: str, quantity: int, card: str = "4242") -> None:
        url = services.begin_checkout(self.payments, OWNER, organisation, plan, quantity)
        with self.server.lock:
            status, _ = self.server.page("POST", url.removeprefix(self.server.url), f"card={card}")
        assert status == 303
        self.settle()

    def change_card(self, organisation: Organisation, card: str) -> None:
        url = services.card_page(self.payments, OWNER, organisation)
        with self.server.lock:
            self.server.page("POST", url.removeprefix(self.server.url), f"card={card}")
        self.settle()

    def entitled(self, organisation: Organisation) -> Entitlements:
        session().expire_all()
        return entitlements(organisation, self.now())

    def subscription(self, organisation: Organisation) -> Subscription:
        session().expire_all()
        found = current_subscription(organisation)
        assert found is not None
        return found

    def customer(self, organisation: Organisation) -> str:
        session().expire_all()
        account = session().get(BillingAccount, organisation.id)
        assert account is not None
        assert account.customer is not None
        return account.customer

    def mirrored(self, organisation: Organisation) -> tuple[list[Any], list[Any]]:
        """What our rows say of an organisation."""
        session().expire_all()
        subscriptions = session().query(Subscription).filter_by(organisation_id=organisation.id)
        invoices = session().query(Invoice).filter_by(organisation_id=organisation.id)
        return (
            sorted((one.id, one.status, one.quantity, one.cancel_at_period_end) for one in subscriptions),
            sorted((one.id, one.status, one.total, one.amount_remaining) for one in invoices),
        )

    def provided(self, organisation: Organisation) -> tuple[list[Any], list[Any]]:
        """What the provider says of it, in the same form."""
        customer = self.customer(organisation)
        world = self.server.world
        return (
            sorted(
                (one["id"], one["status"], one["items"]["data"][0]["quantity"], one["cancel_at_period_end"])
                for one in world.of_kind("subscription", customer=customer)
            ),
            sorted(
                (one["id"], one["status"], one["total"], one["amount_remaining"])
                for one in world.of_kind("invoice", customer=customer)
            ),
        )


@pytest.fixture(scope="session")
def billed_portal(postgres_url: str, mail_services: MailServices) -> Iterator[Billed]:
    waiting: list[tuple[str, dict[str, Any]]] = []
    http: Any = None
    with local_stripe("http://127.0.0.1:1/") as server:
        stripe_settings = StripeSettings(Secret(API_KEY), Secret(WEBHOOK_SECRET), server.url, retries=0)
        settings = PortalSettings(postgres_url, mail_services.settings, "http://localhost", stripe=stripe_settings)
        app = create_app(settings, mail_services)
        put: Callable[..., None] = lambda job, **arguments: waiting.append((job, arguments))  # noqa: E731
        parts = replace(app.extensions[EXTENSION], clock=lambda: datetime.fromtimestamp(server.world.now, UTC))
        parts.database._enqueue = put  # jobs are run when a test says so
        app.extensions[EXTENSION] = parts
        migrate(parts.database.engine)
        http = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        assert server.webhooks is not None
        server.webhooks.endpoint = f"http://127.0.0.1:{http.server_port}/hooks/stripe"
        client = client_of(server)
        catalogue.ensure(client)
        server.webhooks.settle()
        yield Billed(app, parts, server, client, waiting)
        http.shutdown()
        parts.database.engine.dispose()


@pytest.fixture
def billed(billed_portal: Billed) -> Iterator[Billed]:
    """The billed portal with `session()` working; no customer of an earlier test is known to the provider or here.

    Each day that goes by is followed for every organisation there is.
    """
    server = billed_portal.server
    assert server.webhooks is not None
    server.webhooks.release([])
    server.webhooks.settle()
    billed_portal.waiting.clear()
    with server.lock:
        server.world.objects = {key: one for key, one in server.world.objects.items() if one["object"] in CATALOGUE}
        server.world.events.clear()
    with billed_portal.parts.database.scope():
        session().execute(text("TRUNCATE billing_accounts, billing_subscriptions, billing_invoices, billing_events"))
        session().execute(text("TRUNCATE billing_changes"))
        session().execute(delete(Organisation).where(Organisation.id.in_(billed_portal.former)))
        session().commit()
        before = set(session().scalars(select(Organisation.id)))
        session().commit()
        yield billed_portal
        session().rollback()
        billed_portal.former = list(set(session().scalars(select(Organisation.id))) - before)
