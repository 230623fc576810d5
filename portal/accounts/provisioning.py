"""Making the mail plane equal to what organisations say: jobs that may run as often as they like."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import select, update

from mailcore import fault
from mailcore.errors import TenantExists
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.tenant import ManagedBy, State, Tenant
from mailcore.services import MailServices
from portal.accounts.models import Organisation, OrganisationState
from portal.database import session, unit_of_work, utc_now

log = logging.getLogger(__name__)

RECONCILER: Final = Actor(ActorKind.SYSTEM, Door.WORKER, "portal")
STATES: Final[Mapping[OrganisationState, State]] = {
    OrganisationState.ACTIVE: State.ACTIVE,
    OrganisationState.SUSPENDED: State.SUSPENDED,
    OrganisationState.CLOSED: State.DISABLED,
}
"""State of an organisation -> of its tenant. Nothing here deletes one."""
PAGE: Final = 500


def topic(organisation_id: UUID) -> str:
    """Return under what it is announced that an organisation is ready."""
    return f"organisation:{organisation_id}"


def is_ready(organisation_id: UUID) -> bool:
    """Tell whether an organisation has its tenant; one round trip."""
    wanted = select(Organisation.provisioned_at).where(Organisation.id == organisation_id)
    return session().scalar(wanted) is not None


def provision(mail: MailServices, organisation_id: UUID) -> None:
    """Make an organisation's tenant unless it is there, give it the organisation's state, and note that it is so.

    The tenant's id stands in the organisation since that was made, so that whoever dies in between, and whoever runs
    beside, makes no second one.

    Raises:
        ShardNotFound: no shard is open in the region.
        StoreUnavailable: the mail plane does not answer.
    """
    organisation = session().get(Organisation, organisation_id, populate_existing=True)
    if organisation is None:
        return
    tenant = mail.tenants.find(organisation.tenant_id) or _make(mail, organisation)
    fault.hit("provision.tenant_made")
    wanted = STATES[OrganisationState(organisation.state)]
    if tenant.state is not wanted:
        mail.tenants.set_state(RECONCILER, tenant.id, wanted)
    fault.hit("provision.state_set")
    if organisation.provisioned_at is None:
        with unit_of_work() as current:
            current.execute(
                update(Organisation).where(Organisation.id == organisation_id).values(provisioned_at=utc_now())
            )
    log.info("portal.provisioned", extra={"organisation": str(organisation_id), "tenant": str(tenant.id)})


def unprovisioned() -> list[UUID]:
    """Return organisations whose tenant nobody has seen yet."""
    wanted = select(Organisation.id).where(Organisation.provisioned_at.is_(None)).order_by(Organisation.created_at)
    return list(session().scalars(wanted.limit(PAGE)))


def astray(mail: MailServices, after: UUID | None = None) -> tuple[list[UUID], UUID | None]:
    """Return the organisations of a page whose tenant is missing or in another state, and after which to go on."""
    wanted = select(Organisation).order_by(Organisation.id).limit(PAGE)
    if after is not None:
        wanted = wanted.where(Organisation.id > after)
    page = session().scalars(wanted).all()
    wrong = []
    for one in page:
        tenant = mail.tenants.find(one.tenant_id)
        if tenant is None or tenant.state is not STATES[OrganisationState(one.state)]:
            wrong.append(one.id)
    return wrong, page[-1].id if len(page) == PAGE else None


def _make(mail: MailServices, organisation: Organisation) -> Tenant:
    """Make the tenant under the organisation's name; where that is another's already, with the slug behind it."""
    for name in (
        organisation.name,
        f"{organisation.name} ({organisation.slug})",
        f"{organisation.slug} {organisation.id}",
    ):
        try:
            mail.tenants.create(
                RECONCILER,
                name,
                organisation.region,
                managed_by=ManagedBy.PORTAL,
                tenant_id=organisation.tenant_id,
            )
        except TenantExists:
            continue
        return mail.tenants.get(organisation.tenant_id)
    raise TenantExists(organisation.name)
