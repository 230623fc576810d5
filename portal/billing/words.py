"""How stages, states and refusals are told to people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from babel.numbers import format_currency, format_decimal
from flask import Flask
from flask_babel import format_date, get_locale, lazy_gettext
from flask_babel import gettext as _

from mailcore.errors import MailError
from portal.billing.adjustments import Limit
from portal.billing.changes import (
    NO_LONGER_FITS,
    OUTDATED,
    ChangeUnderWay,
    NothingChanges,
    PreviewOutdated,
)
from portal.billing.fitting import BeyondSpendCap, SeatsInUse, StorageInUse
from portal.billing.gateway import PaymentRefused
from portal.billing.money import Money
from portal.billing.plans import BY_KEY, CURRENCY, GIB, Plan, Tier, Unit
from portal.billing.services import CouponUsed, NoSubscription, PaymentDue, SubscriptionRuns
from portal.billing.stages import Stage
from portal.refusals import refusal

LIMITS: Final[Mapping[Limit, Any]] = {
    Limit.USERS: lazy_gettext("Users"),
    Limit.STORAGE: lazy_gettext("Storage"),
    Limit.DOMAINS: lazy_gettext("Domains"),
    Limit.RECIPIENTS: lazy_gettext("Recipients a day"),
}


def set_up(app: Flask) -> None:
    """Give templates the filters and functions of billing."""
    app.add_template_filter(money)
    app.add_template_filter(day)
    app.add_template_filter(plan_size)
    app.add_template_global(stage_name)
    app.add_template_global(stage_text)
    app.add_template_global(unit_name)
    app.add_template_global(unit_price)
    app.add_template_global(unit_question)
    app.add_template_global(invoice_state)
    app.add_template_global(refused_because)
    app.add_template_global(metered_price)
    app.add_template_global(units_of)
    app.add_template_global(Money, "amount_of")


def money(amount: Money) -> str:
    """Return an amount in the reader's language."""
    return amount.shown(str(get_locale() or "en"))


def day(seconds: int) -> str:
    """Return the day of an instant in seconds since 1970, as lines of invoices have it."""
    return format_date(datetime.fromtimestamp(seconds, UTC), "medium")


def plan_size(size_bytes: int) -> str:
    """Return bytes in the GB that plans are sold by, of which each has 2^30."""
    return f"{format_decimal(Decimal(size_bytes) / GIB, '#,##0.#', locale=str(get_locale() or 'en'))} GB"


def unit_name(unit: Unit) -> str:
    """Return what a plan is bought by."""
    return _("users") if unit is Unit.SEAT else _("GB")


def unit_price(unit: Unit, amount: str) -> str:
    """Return what one unit costs."""
    if unit is Unit.SEAT:
        return _("%(amount)s a month for each user, with 30 GB each in a common pool.", amount=amount)
    return _("%(amount)s a month for each GB, for as many users as you like.", amount=amount)


def metered_price(plan: Plan) -> str:
    """Return what is paid for use beside the plan's price."""
    cents = {one.tier: one.unit_amount_decimal for one in plan.metered}
    locale = str(get_locale() or "en")
    shown = {
        tier: format_currency(Decimal(amount) / 100, CURRENCY.upper(), locale=locale, decimal_quantization=False)
        for tier, amount in cents.items()
    }
    return _(
        "And what is stored: %(ssd)s a day for each GB on SSD, %(hdd)s on HDD.",
        ssd=shown[Tier.SSD],
        hdd=shown[Tier.HDD],
    )


def units_of(price: str, quantity: int) -> str:
    """Return a plan with how much of it."""
    plan = BY_KEY.get(price)
    if plan is None:
        return str(quantity)
    return _("%(plan)s for %(number)s %(unit)s", plan=plan.name, number=quantity, unit=unit_name(plan.unit))


def unit_question(unit: Unit) -> str:
    """Return the label of the field for how many."""
    return _("How many users") if unit is Unit.SEAT else _("How many GB")


def stage_name(stage: Stage) -> str:
    """Return a stage in a word or two."""
    return {
        Stage.ACTIVE: _("active"),
        Stage.GRACE: _("payment is due"),
        Stage.SENDING_OFF: _("sending is off"),
        Stage.READ_ONLY: _("read-only"),
        Stage.CLOSED: _("closed"),
    }[stage]


def stage_text(stage: Stage) -> str:
    """Return what a stage means for an organisation's people."""
    return {
        Stage.ACTIVE: _("Everything works."),
        Stage.GRACE: _("Everything still works. Please see to the payment."),
        Stage.SENDING_OFF: _("Nothing can be sent. Mail still arrives and can be read and filed."),
        Stage.READ_ONLY: _("Mail still arrives and can be read; nothing can be sent or changed."),
        Stage.CLOSED: _("Nobody can sign in to mail. Mail still arrives, and you can export everything."),
    }[stage]


def invoice_state(status: str) -> tuple[str, str]:
    """Return the state of an invoice in a word, and which badge it has."""
    return {
        "paid": (_("paid"), "good"),
        "open": (_("open"), "bad"),
        "void": (_("cancelled"), "off"),
        "uncollectible": (_("written off"), "off"),
    }.get(status, (status, "off"))


def refused_because(reason: str) -> str:
    """Return why a change that was confirmed was not made: a word of ours, or what the provider said."""
    known = {
        OUTDATED: _("something else was changed meanwhile. Please look at the preview again."),
        NO_LONGER_FITS: _("users or mail came meanwhile that it has no room for."),
    }
    return known.get(reason, reason)


def reason_of(error: MailError) -> str:
    """Return why something was refused, and what to do."""
    if isinstance(error, SeatsInUse):
        return _("You have %(number)s users: remove some first, or keep as many seats.", number=error.details[0])
    if isinstance(error, BeyondSpendCap):
        return _("That would cost more each month than your spend cap. Raise the cap first.")
    if isinstance(error, StorageInUse):
        stored, units = error.details
        return _(
            "You store %(stored)s GB, more than that has room for: choose at least %(units)s, or delete mail first.",
            stored=-(-int(str(stored)) // GIB),
            units=units,
        )
    if isinstance(error, PaymentDue):
        return _("An invoice is not paid yet. Pay it first, with another card if need be; then choose the plan.")
    if isinstance(error, ChangeUnderWay):
        return _("Another change is being made. Wait a moment, then look at the preview again.")
    if isinstance(error, NothingChanges):
        return _("That is what you have already: choose another number or another plan.")
    if isinstance(error, NoSubscription):
        return _("You have no plan that runs: choose one.")
    if isinstance(error, PreviewOutdated):
        return _("What was shown no longer holds. Please look at the new preview.")
    if isinstance(error, SubscriptionRuns):
        return _("You have a plan already: change it instead.")
    if isinstance(error, CouponUsed):
        return _("You have used this coupon.")
    if isinstance(error, PaymentRefused):
        return _("The payment provider refused: %(reason)s", reason=error.details[0] if error.details else "")
    return refusal(error)
