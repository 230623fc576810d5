"""Looking at the records of domains, writing them, and letting the mail plane follow."""

from __future__ import annotations

from uuid import UUID

from portal.domains import applying, checking, ledger, under_way
from portal.progress import announce
from workers.context import JobContext


def due(context: JobContext) -> None:
    """Put a look at every domain that is due on the queue, and what a worker died over while it wrote."""
    if context.portal is not None:
        with context.in_portal():
            checking.enqueue_due()
            ledger.enqueue_due()


def check(context: JobContext, claim_id: str) -> None:
    """Look at one domain."""
    with context.in_portal() as portal:
        checking.check(portal, UUID(claim_id))
    _tell(context, claim_id)


def apply(context: JobContext, claim_id: str) -> None:
    """Let the mail plane have one domain as the portal says."""
    with context.in_portal() as portal:
        applying.apply(portal, UUID(claim_id))
    _tell(context, claim_id)


def write(context: JobContext, claim_id: str) -> None:
    """Write what an admin let be written of one domain's records."""
    with context.in_portal() as portal:
        ledger.carry_out(portal, UUID(claim_id), lambda: announce(context.redis, ledger.topic(UUID(claim_id))))


def rotate(context: JobContext, claim_id: str) -> None:
    """Begin to replace the DKIM keys of one domain."""
    with context.in_portal() as portal:
        applying.rotate(portal, UUID(claim_id))
    _tell(context, claim_id)


def reconcile(context: JobContext) -> int:
    """Let the mail plane have every domain as the portal says; return how many could not be."""
    if context.portal is None:
        return 0
    with context.in_portal() as portal:
        return applying.reconcile(portal)


def _tell(context: JobContext, claim_id: str) -> None:
    """Let who has the domain's page open see what came of it."""
    announce(context.redis, under_way.topic(UUID(claim_id)))
