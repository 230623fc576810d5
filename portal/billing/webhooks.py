"""What the payment provider tells us: believed when signed, noted once, and only ever a reason to fetch again.

Whatever an event says, the object that it is about is fetched and the mirror made equal to it. So events may come late,
twice, in any order or not at all: the last one that comes ends with the state as it is, and a nightly comparison does
the same for those that never come.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Final

import stripe
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from portal.billing import mirror
from portal.billing.gateway import asking, instant
from portal.billing.models import BillingAccount, BillingEvent
from portal.billing.settings import StripeSettings
from portal.database import unit_of_work, utc_now
from portal.jobs import enqueue_after_commit

log = logging.getLogger(__name__)

TOLERANCE_S: Final = 300
"""Seconds that an event's signature may be old, or ahead."""
APPLIED: Final = "applied"
NOT_OURS: Final = "not_ours"
"""Of another account, or of a customer that is no organisation here."""


class EventForged(Exception):
    """Not signed by the payment provider, or too long ago."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event as far as it is believed: that something happened to an object of a customer."""

    id: str
    kind: str
    created: int
    about: str
    object: str
    customer: str
    account: str
    livemode: bool


def verify(settings: StripeSettings, payload: bytes, header: str) -> Told:
    """Return what the raw body of a request says, once its signature is found good.

    Raises:
        EventForged: it is not.
    """
    try:
        text = payload.decode()
        stripe.WebhookSignature.verify_header(text, header, settings.webhook_secret.reveal_text(), TOLERANCE_S)
        _check_not_ahead(header)
        return _told(_read(text))
    except (ValueError, KeyError, TypeError, stripe.SignatureVerificationError) as error:
        log.warning("billing.event_forged", extra={"reason": type(error).__name__})
        raise EventForged from error


def receive(settings: StripeSettings, client: stripe.StripeClient, told: Told) -> str:
    """Note an event, then do what it asks for unless that was done; return what became of it.

    Raises:
        PaymentsAway: it is noted and not applied; the provider tells it again, and so does the comparison.
    """
    with unit_of_work() as current:
        current.execute(
            insert(BillingEvent)
            .values(id=told.id, kind=told.kind, about=told.about, created_at=instant(told.created))
            .on_conflict_do_nothing()
        )
    with unit_of_work() as current:
        noted = current.scalars(select(BillingEvent).where(BillingEvent.id == told.id).with_for_update()).one()
        if noted.applied_at is not None:
            return noted.outcome
        outcome = apply(settings, client, told)
        current.execute(
            update(BillingEvent).where(BillingEvent.id == told.id).values(applied_at=utc_now(), outcome=outcome)
        )
    return outcome


def apply(settings: StripeSettings, client: stripe.StripeClient, told: Told) -> str:
    """Fetch what an event is about and make the mirror equal to it; within a unit of work."""
    if told.account or told.livemode != settings.is_live:
        return NOT_OURS
    account = mirror.lock_customer(told.customer) if told.customer else None
    if account is None:
        return NOT_OURS
    with asking():
        _fetch(client, account, told)
    enqueue_after_commit("billing.enforce", organisation_id=str(account.organisation_id))
    return APPLIED


def _fetch(client: stripe.StripeClient, account: BillingAccount, told: Told) -> None:
    if told.object == "subscription":
        mirror.fetch_subscription(client, account, told.about)
    elif told.object == "invoice":
        mirror.fetch_invoice(client, account, told.about)
    elif told.object == "checkout.session":
        found = client.v1.checkout.sessions.retrieve(told.about)
        if isinstance(found.subscription, str) and str(found.customer) == account.customer:
            mirror.fetch_subscription(client, account, found.subscription)
            mirror.fetch_all(client, account)
    else:
        mirror.fetch_customer(client, account)


def _read(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("an event is an object")
    return found


def _told(event: dict[str, Any]) -> Told:
    about = event["data"]["object"]
    is_customer = about["object"] == "customer"
    return Told(
        id=str(event["id"]),
        kind=str(event["type"]),
        created=int(event["created"]),
        about=str(about.get("id", "")),
        object=str(about["object"]),
        customer=str((about["id"] if is_customer else about.get("customer")) or ""),
        account=str(event.get("account") or ""),
        livemode=bool(event.get("livemode")),
    )


def _check_not_ahead(header: str) -> None:
    """Refuse a signature from the future as one from the past: the SDK looks at the past alone."""
    at = next((part[2:] for part in header.split(",") if part.startswith("t=")), "0")
    if int(at) > utc_now().timestamp() + TOLERANCE_S:
        raise ValueError("signed in the future")
