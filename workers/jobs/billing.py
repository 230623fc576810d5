"""Jobs of billing: seats to the payment provider, limits to the mail plane, and the comparison with both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from uuid import UUID

from portal.billing import changes, enforcement, metering, telling
from portal.billing.gateway import PaymentRefused
from portal.billing.services import Payments
from portal.database import session
from portal.mail_plane import Portal
from workers.context import JobContext

log = logging.getLogger(__name__)


def apply_change(context: JobContext, change_id: str) -> None:
    """Make a change of the plan, of seats or of GB that was confirmed."""
    with context.in_portal() as portal:
        changes.apply_change(Payments.of(portal), UUID(change_id))


def enforce(context: JobContext, organisation_id: str) -> None:
    """Give one tenant what its organisation is entitled to, and write to those whom it concerns."""
    with context.in_portal() as portal:
        _follow(portal, UUID(organisation_id))


def tick(context: JobContext) -> None:
    """Let stages and limits follow the clock, and make again what a crash left undone."""
    if context.portal is None:
        return
    with context.in_portal() as portal:
        if portal.payments is None:
            for organisation_id in enforcement.adjusted_organisations():
                _follow(portal, organisation_id)
            return
        for organisation_id in _pages(enforcement.organisations):
            try:
                _follow(portal, organisation_id)
            except Exception:  # one that fails must not keep the others from what they are entitled to
                log.exception("billing.not_followed", extra={"organisation": str(organisation_id)})
                session().rollback()
        for change_id in enforcement.unmade_changes():
            context.enqueue("billing.apply_change", change_id=str(change_id))


def compare(context: JobContext) -> None:
    """Enqueue the comparison of every customer with what the payment provider has; forget old previews."""
    if context.portal is None or context.portal.payments is None:
        return
    with context.in_portal() as portal:
        changes.purge_previews(portal.clock())
        for organisation_id in _pages(enforcement.customers):
            context.enqueue("billing.reconcile", organisation_id=str(organisation_id))


def reconcile(context: JobContext, organisation_id: str) -> None:
    """Make the mirror of one customer equal to what the provider has, and the tenant to what follows."""
    with context.in_portal() as portal:
        enforcement.reconcile(Payments.of(portal).client, UUID(organisation_id))
        _follow(portal, UUID(organisation_id))


def meter(context: JobContext) -> None:
    """Report what lay where yesterday, once for each day."""
    if context.portal is None or context.portal.payments is None:
        return
    with context.in_portal() as portal:
        payments = Payments.of(portal)
        for organisation_id in _pages(enforcement.customers):
            try:
                metering.report(payments, organisation_id)
            except PaymentRefused:  # a customer that was deleted there, say; the others are told all the same
                log.exception("billing.not_metered", extra={"organisation": str(organisation_id)})


def _follow(portal: Portal, organisation_id: UUID) -> None:
    now = portal.clock()
    enforcement.enforce(portal.mail, organisation_id, now, pays=portal.payments is not None)
    telling.tell(portal, organisation_id, now)


def _pages(page_of: Callable[[UUID | None], list[UUID]]) -> Iterator[UUID]:
    after = None
    while found := page_of(after):
        yield from found
        after = found[-1]
