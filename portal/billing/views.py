"""Pages about what an organisation pays for."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

from bson import ObjectId
from flask import Blueprint, Response, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf import FlaskForm

from mailcore.errors import Conflict, LimitExceeded, NotFound, Refused, SyntaxFault, UserNotFound
from mailcore.model.ids import UserId
from portal.access import actor, current_organisation, requires
from portal.audit.services import record
from portal.billing import changes, enforcement, plans, queries, services, showing, words
from portal.billing.adjustments import adjustments_of, in_force
from portal.billing.changes import PreviewOutdated
from portal.billing.entitlements import ENDED, NOT_BEGUN, current_subscription, entitlements
from portal.billing.forms import ChangeForm, CheckoutForm, CouponForm, SpendCapForm, TaxIdForm
from portal.billing.services import Payments
from portal.billing.words import reason_of
from portal.database import unit_of_work
from portal.mail_plane import portal
from portal.permissions import Permission

blueprint = Blueprint("billing", __name__, url_prefix="/billing")


@blueprint.record_once
def _set_up(state: Any) -> None:
    words.set_up(state.app)


REFUSALS = (Conflict, LimitExceeded, NotFound, Refused, SyntaxFault)
"""What is told beside the form; everything else has a page of its own."""


@blueprint.get("")
@requires(Permission.VIEW_BILLING)
def index() -> ResponseReturnValue:
    """Show the plan, what is used of it, what comes next, and how to change it."""
    organisation = current_organisation()
    parts = portal()
    if parts.payments is None:
        adjustments = in_force(adjustments_of(organisation.id), parts.clock())
        return render_template("billing/none.html", adjustments=adjustments, limit_names=words.LIMITS)
    subscription = current_subscription(organisation)
    runs = subscription is not None and subscription.status not in ENDED | NOT_BEGUN
    users, used_bytes = showing.use_of(parts.mail, organisation)
    return render_template(
        "billing/index.html",
        organisation=organisation,
        subscription=subscription if runs else None,
        entitled=entitlements(organisation, parts.clock()),
        account=queries.account_of(organisation),
        due=queries.invoice_due(organisation),
        change=queries.change_under_way(organisation, parts.clock()),
        choices=showing.choices(subscription if runs else None, users, used_bytes),
        users=users,
        used_bytes=used_bytes,
        trial_end=organisation.created_at + plans.TRIAL,
        quantity=ChangeForm(quantity=subscription.quantity if subscription is not None else 1),
        cap=SpendCapForm(),
        coupon=CouponForm(),
        tax_id=TaxIdForm(),
        currency=plans.CURRENCY,
    )


@blueprint.get("/invoices")
@requires(Permission.VIEW_BILLING)
def invoices() -> ResponseReturnValue:
    """Show every invoice with its state."""
    return render_template("billing/invoices.html", invoices=queries.invoices_of(current_organisation()))


@blueprint.post("/checkout")
@requires(Permission.MANAGE_BILLING)
def checkout() -> ResponseReturnValue:
    """Lead to the page on which a plan is paid for."""
    form = CheckoutForm()
    if not form.validate_on_submit():
        return _back(_told(form))
    try:
        url = services.begin_checkout(
            _payments(), actor(), current_organisation(), form.plan.data or "", form.quantity.data or 0
        )
    except REFUSALS as error:
        return _back(reason_of(error))
    return redirect(url, code=303)


@blueprint.get("/welcome")
@requires(Permission.MANAGE_BILLING)
def welcome() -> ResponseReturnValue:
    """Come back from Checkout: thanks if the provider has told us, else a button that asks it."""
    _payments()
    subscription = current_subscription(current_organisation())
    runs = subscription is not None and subscription.status not in ENDED | NOT_BEGUN
    return render_template("billing/welcome.html", runs=runs)


@blueprint.post("/welcome")
@requires(Permission.MANAGE_BILLING)
def ask_provider() -> ResponseReturnValue:
    """Fetch what was paid for, whether or not an event of it has come; what is there counts at once."""
    organisation = current_organisation()
    enforcement.reconcile(_payments().client, organisation.id)
    enforcement.enforce(portal().mail, organisation.id, portal().clock())
    return redirect(url_for("billing.welcome"), code=303)


@blueprint.post("/preview")
@requires(Permission.MANAGE_BILLING)
def preview() -> ResponseReturnValue:
    """Work out the next invoice for another number of seats or GB, or for another plan."""
    form = ChangeForm()
    if not form.validate_on_submit():
        return _back(_told(form))
    return _show_preview(form.quantity.data or 0, form.plan.data or None)


@blueprint.get("/changes/<uuid:change_id>")
@requires(Permission.MANAGE_BILLING)
def change(change_id: UUID) -> ResponseReturnValue:
    """Show the next invoice as it will be, before anything is changed."""
    organisation = current_organisation()
    found = changes.find_change(organisation, change_id)
    users, used_bytes = showing.use_of(portal().mail, organisation)
    return render_template(
        "billing/change.html",
        change=found,
        before=showing.side(found.from_price, found.from_quantity),
        after=showing.side(found.to_price, found.to_quantity),
        users=users,
        used_bytes=used_bytes,
        subscription=showing.subscription_of(found),
        account=queries.account_of(organisation),
    )


@blueprint.post("/changes/<uuid:change_id>")
@requires(Permission.MANAGE_BILLING)
def confirm(change_id: UUID) -> ResponseReturnValue:
    """Make the change that was shown; where that no longer holds, show it as it is now."""
    organisation = current_organisation()
    try:
        changes.confirm(_payments(), actor(), organisation, change_id)
    except NotFound:
        abort(404)
    except PreviewOutdated as error:
        flash(reason_of(error), "error")
        shown = changes.find_change(organisation, change_id)
        other = plans.BY_KEY.get(shown.to_price) if shown.to_price != shown.from_price else None
        return _show_preview(shown.to_quantity, other.code if other is not None else None)
    except REFUSALS as error:
        return _back(reason_of(error))
    flash(_("Your plan is being changed. It takes a moment."), "success")
    return redirect(url_for("billing.index"), code=303)


@blueprint.post("/card")
@requires(Permission.MANAGE_BILLING)
def card() -> ResponseReturnValue:
    """Lead to the page on which a card is given."""
    return redirect(services.card_page(_payments(), actor(), current_organisation()), code=303)


@blueprint.get("/cancel")
@requires(Permission.MANAGE_BILLING)
def cancellation() -> ResponseReturnValue:
    """Say what happens to mail and data before it is cancelled."""
    return render_template("billing/cancel.html", subscription=services.running(current_organisation()))


@blueprint.post("/cancel")
@requires(Permission.MANAGE_BILLING)
def cancel() -> ResponseReturnValue:
    """End the subscription with the period that is paid for."""
    services.cancel(_payments(), actor(), current_organisation(), ends=True)
    flash(_("Cancelled. Everything works until the end of the period you have paid for."), "success")
    return redirect(url_for("billing.index"), code=303)


@blueprint.get("/export")
@requires(Permission.MANAGE_OWNERS)
def exports() -> ResponseReturnValue:
    """Show whose mail can be taken along; open at every stage, until the last day of the last."""
    organisation = current_organisation()
    users = portal().mail.users.list_of_tenant(organisation.tenant_id)
    until = None
    if portal().payments is not None:
        until = entitlements(organisation, portal().clock()).export_until
    return render_template("billing/export.html", users=users, until=until)


@blueprint.get("/export/<user_id>.tar")
@requires(Permission.MANAGE_OWNERS)
def export(user_id: str) -> ResponseReturnValue:
    """Send all mail of one user."""
    mail = portal().mail
    user = mail.users.get(UserId(ObjectId(user_id))) if ObjectId.is_valid(user_id) else None
    if user is None or user.tenant_id != current_organisation().tenant_id:
        raise UserNotFound(user_id)
    with unit_of_work():
        record(actor(), "mail.exported", user.address, {}, organisation_id=current_organisation().id)
    sent = Response(mail.mail_archive.whole(user.id), mimetype="application/x-tar")
    named = {"filename*": f"UTF-8''{quote(user.address, safe='')}.tar"}  # RFC 8187 section 3.2
    sent.headers.set("Content-Disposition", "attachment", filename=f"{user.id}.tar", **named)
    return sent


@blueprint.post("/resume")
@requires(Permission.MANAGE_BILLING)
def resume() -> ResponseReturnValue:
    """Let a cancelled subscription go on."""
    services.cancel(_payments(), actor(), current_organisation(), ends=False)
    flash(_("Your subscription goes on."), "success")
    return redirect(url_for("billing.index"), code=303)


@blueprint.post("/coupon")
@requires(Permission.MANAGE_BILLING)
def coupon() -> ResponseReturnValue:
    """Take a coupon off the coming invoices."""
    form = CouponForm()
    if not form.validate_on_submit():
        return _back(_told(form))
    try:
        services.use_coupon(_payments(), actor(), current_organisation(), form.code.data or "")
    except REFUSALS as error:
        return _back(reason_of(error))
    flash(_("The coupon counts from your next invoice."), "success")
    return redirect(url_for("billing.index"), code=303)


@blueprint.post("/cap")
@requires(Permission.MANAGE_BILLING)
def cap() -> ResponseReturnValue:
    """Say what a month may cost at most."""
    form = SpendCapForm()
    if not form.validate_on_submit():
        return _back(_told(form))
    amount = form.amount.data
    services.set_spend_cap(actor(), current_organisation(), None if amount is None else int(amount * 100))
    flash(_("Saved."), "success")
    return redirect(url_for("billing.index"), code=303)


@blueprint.post("/tax-ids")
@requires(Permission.MANAGE_BILLING)
def add_tax_id() -> ResponseReturnValue:
    """Let invoices bear a number for taxes."""
    form = TaxIdForm()
    if not form.validate_on_submit():
        return _back(_told(form))
    try:
        services.add_tax_id(_payments(), actor(), current_organisation(), form.kind.data, form.value.data or "")
    except REFUSALS as error:
        return _back(reason_of(error))
    flash(_("Your invoices bear the number from now on."), "success")
    return redirect(url_for("billing.index"), code=303)


@blueprint.post("/tax-ids/<tax_id>/remove")
@requires(Permission.MANAGE_BILLING)
def remove_tax_id(tax_id: str) -> ResponseReturnValue:
    """Take a number off the coming invoices."""
    services.remove_tax_id(_payments(), actor(), current_organisation(), tax_id)
    return redirect(url_for("billing.index"), code=303)


def _show_preview(quantity: int, code: str | None) -> ResponseReturnValue:
    """Lead to the next invoice as it would be, or back to the page that says why not."""
    try:
        change = changes.preview(_payments(), actor(), current_organisation(), quantity, code)
    except REFUSALS as error:
        return _back(reason_of(error))
    return redirect(url_for("billing.change", change_id=change.id), code=303)


def _payments() -> Payments:
    if portal().payments is None:
        abort(404)
    return Payments.of(portal())


def _back(reason: str) -> ResponseReturnValue:
    """Lead back to the page, which says why not."""
    flash(reason, "error")
    return redirect(url_for("billing.index"), code=303)


def _told(form: FlaskForm) -> str:
    return " ".join(str(one) for errors in form.errors.values() for one in errors) or _("Fill in the form.")
