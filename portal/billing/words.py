"""How stages, states and refusals are told to people."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Flask
from flask_babel import format_date, get_locale
from flask_babel import gettext as _

from mailcore.errors import MailError
from portal.billing.gateway import PaymentRefused
from portal.billing.money import Money
from portal.billing.plans import Unit
from portal.billing.services import BeyondSpendCap, CouponUsed, PreviewOutdated, SeatsInUse, SubscriptionRuns
from portal.billing.stages import Stage


def set_up(app: Flask) -> None:
    """Give templates the filters and functions of billing."""
    app.add_template_filter(money)
    app.add_template_filter(day)
    app.add_template_global(stage_name)
    app.add_template_global(stage_text)
    app.add_template_global(unit_name)
    app.add_template_global(unit_price)
    app.add_template_global(unit_question)
    app.add_template_global(invoice_state)
    app.add_template_global(Money, "amount_of")


def money(amount: Money) -> str:
    """Return an amount in the reader's language."""
    return amount.shown(str(get_locale() or "en"))


def day(seconds: int) -> str:
    """Return the day of an instant in seconds since 1970, as lines of invoices have it."""
    return format_date(datetime.fromtimestamp(seconds, UTC), "medium")


def unit_name(unit: Unit) -> str:
    """Return what a plan is bought by."""
    return _("users") if unit is Unit.SEAT else _("GB")


def unit_price(unit: Unit, amount: str) -> str:
    """Return what one unit costs."""
    if unit is Unit.SEAT:
        return _("%(amount)s a month for each user, with 30 GB each in a common pool.", amount=amount)
    return _("%(amount)s a month for each GB, for as many users as you like.", amount=amount)


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


def reason_of(error: MailError) -> str:
    """Return why something was refused, and what to do."""
    if isinstance(error, SeatsInUse):
        return _("You have %(number)s users: remove some first, or keep as many seats.", number=error.details[0])
    if isinstance(error, BeyondSpendCap):
        return _("That would cost more each month than your spend cap. Raise the cap first.")
    if isinstance(error, PreviewOutdated):
        return _("What was shown no longer holds. Please look at the new preview.")
    if isinstance(error, SubscriptionRuns):
        return _("You have a plan already: change it instead.")
    if isinstance(error, CouponUsed):
        return _("You have used this coupon.")
    if isinstance(error, PaymentRefused):
        return _("The payment provider refused: %(reason)s", reason=error.details[0] if error.details else "")
    return _("That is not possible: %(reason)s", reason=error.details[0] if error.details else "")
