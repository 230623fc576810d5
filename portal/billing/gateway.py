"""The payment provider: the calls we make to Stripe, its faults as ours, its objects as rows of our mirror."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import stripe

from mailcore.errors import Refused, Unavailable
from portal.billing.settings import StripeSettings

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 15


class PaymentsAway(Unavailable):
    """The payment provider does not answer; the same call may work later."""


class PaymentRefused(Refused):
    """The payment provider refuses it; the detail says why in its words."""


def client_of(settings: StripeSettings) -> stripe.StripeClient:
    """Return the SDK's client; it connects at first use."""
    return stripe.StripeClient(
        settings.key.reveal_text(),
        base_addresses={"api": settings.base_url} if settings.base_url else {},
        http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
        max_network_retries=settings.retries,
    )


@contextmanager
def asking() -> Iterator[None]:
    """Surround calls to Stripe.

    Raises:
        PaymentRefused: it understood and refuses: a card, a coupon, a number.
        PaymentsAway: it does not answer, or not in a way that says anything about what we asked.
    """
    try:
        yield
    except (stripe.InvalidRequestError, stripe.CardError) as error:
        log.info("billing.refused", extra={"code": error.code or "", "param": getattr(error, "param", "") or ""})
        raise PaymentRefused(error.user_message or str(error)) from error
    except stripe.StripeError as error:
        log.warning("billing.provider_away", extra={"reason": type(error).__name__})
        raise PaymentsAway(type(error).__name__) from error


def once(change: UUID | str) -> dict[str, Any]:
    """Return options that make a call one, however often it is sent."""
    return {"idempotency_key": f"eider-{change}"}


def coupons_of(found: stripe.Subscription) -> list[str]:
    """Return the coupons whose discounts a subscription has, as far as it was fetched with them."""
    sources = [each.source for each in found.discounts if not isinstance(each, str)]
    return [str(one.coupon if isinstance(one.coupon, str) else one.coupon.id) for one in sources if one.coupon]


def subscription_fields(found: stripe.Subscription) -> dict[str, Any]:
    """Return the columns of a subscription's row; the plan's item is the one with a quantity."""
    items = found["items"].data
    item = next(
        (each for each in items if each.price.recurring and each.price.recurring.usage_type == "licensed"), None
    )
    if item is None:
        raise PaymentRefused(f"{found.id} has no item with a quantity")
    return {
        "id": found.id,
        "status": found.status,
        "currency": found.currency,
        "price_key": item.price.lookup_key or "",
        "item": item.id,
        "quantity": item.quantity or 0,
        "discounts": [each if isinstance(each, str) else each.id for each in found.discounts],
        "period_start": instant(item.current_period_start),
        "period_end": instant(item.current_period_end),
        "trial_end": instant(found.trial_end),
        "cancel_at_period_end": found.cancel_at_period_end,
        "started_at": instant(found.created),
        "ended_at": instant(found.ended_at),
    }


def invoice_fields(found: stripe.Invoice) -> dict[str, Any]:
    """Return the columns of an invoice's row."""
    details = found.parent.subscription_details if found.parent is not None else None
    return {
        "id": found.id,
        "subscription": str(details.subscription) if details is not None else None,
        "number": found.number,
        "status": found.status or "draft",
        "currency": found.currency,
        "total": found.total,
        "amount_due": found.amount_due,
        "amount_remaining": found.amount_remaining,
        "attempt_count": found.attempt_count,
        "created_at": instant(found.created),
        "finalized_at": instant(found.status_transitions.finalized_at),
        "next_attempt_at": instant(found.next_payment_attempt),
        "hosted_url": found.hosted_invoice_url,
        "pdf_url": found.invoice_pdf,
        "lines": lines_of(found),
    }


def lines_of(found: stripe.Invoice) -> list[dict[str, Any]]:
    """Return the lines of an invoice as they are shown: text, whole minor units, period."""
    return [
        {
            "text": line.description or "",
            "amount": line.amount,
            "from": line.period.start,
            "to": line.period.end,
        }
        for line in found.lines.data
    ]


def instant(seconds: int | None) -> datetime | None:
    """Return an instant from seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
