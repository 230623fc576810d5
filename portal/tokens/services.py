"""Tokens of an organisation end with the right of the member who made them."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import select

from mailcore.errors import TokenNotFound
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from portal.accounts.models import Member, Membership, Organisation
from portal.database import session
from portal.permissions import ROLES, Permission

ENDER: Final = Actor(ActorKind.SYSTEM, Door.WORKER, "portal")


def revoke_left_over(mail: MailServices, organisation_id: UUID) -> int:
    """Revoke tokens whose maker may make none any more, and return how many; may run as often as it likes.

    Each is told in the organisation's audit log, with who had made it. Those that no member made stay.

    Raises:
        StoreUnavailable: the mail plane does not answer.
    """
    organisation = session().get(Organisation, organisation_id, populate_existing=True)
    if organisation is None or organisation.provisioned_at is None:
        return 0
    owner, makers, count = owner_of_tenant(organisation.tenant_id), _makers(organisation_id), 0
    for token in mail.tokens.list_of(owner):
        if not token.made_by or token.made_by in makers:
            continue
        why = {"description": token.description, "made_by": token.made_by}
        try:
            mail.tokens.revoke(ENDER, owner, token.id, why)
        except TokenNotFound:
            continue  # somebody else was faster
        count += 1
    return count


def _makers(organisation_id: UUID) -> set[str]:
    """Return the addresses of members who may make tokens now."""
    roles = [role for role, permissions in ROLES.items() if Permission.MANAGE_TOKENS in permissions]
    wanted = select(Member.email).join(Membership, Membership.member_id == Member.id)
    found = wanted.where(Membership.organisation_id == organisation_id, Membership.role.in_(roles))
    return set(session().scalars(found))
