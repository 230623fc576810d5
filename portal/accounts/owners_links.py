"""Links for a new password of owners whose mail is their organisation's: who administers it could read them.

Such a link is good only after days in which its owner did not sign in: being signed in is what an admin who took the
mailbox, or led the address elsewhere, cannot do. Whoever has a second factor does not wait, for a password alone does
not sign them in (decision 50).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import aliased

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.services import MailServices
from portal.accounts.models import LinkPurpose, MailedLink, Member, Membership, PortalSession
from portal.audit.services import record
from portal.database import session, unit_of_work, utc_now
from portal.permissions import Role

WAITS_FOR: Final = timedelta(days=3)
GOOD_THEN: Final = timedelta(days=1)
NOT_BEFORE: Final = "not_before"
"""In a link's content: when it begins to be good."""
_JOB: Final = Actor(ActorKind.SYSTEM, Door.WORKER, "portal")


def hold_back(mail: MailServices, link: MailedLink, member: Member) -> None:
    """Let a link wait where its owner's mail is in the hands of others, and tell the audit log; before it is mailed.

    Raises:
        StoreUnavailable: whether the mail arrives here is not known now.
    """
    if link.purpose != LinkPurpose.RESET or NOT_BEFORE in link.content or member.has_second_factor:
        return
    mine = Membership.member_id == member.id, Membership.role == Role.OWNER
    owned = session().scalars(select(Membership.organisation_id).where(*mine)).all()
    if not owned or mail.domains.owner_of(member.canonical_email.rpartition("@")[2]) is None:
        return
    not_before = utc_now() + WAITS_FOR
    with unit_of_work():
        link.content = {**link.content, NOT_BEFORE: not_before.isoformat()}
        link.expires_at = not_before + GOOD_THEN
        for organisation_id in owned:
            details = {"good_from": not_before.isoformat(timespec="minutes")}
            record(_JOB, "password.reset_waits", member.email, details, organisation_id=organisation_id)


def not_before(link: MailedLink) -> datetime | None:
    """Return when a link begins to be good; None: at once."""
    at = link.content.get(NOT_BEFORE)
    return None if at is None else datetime.fromisoformat(at)


def is_held_back(link: MailedLink) -> bool:
    """Tell whether a link opens nothing yet, or not any more because its owner was signed in since; one round trip."""
    at = not_before(link)
    if at is None:
        return False
    seen = (
        select(PortalSession.id)
        .join(Member, Member.id == PortalSession.member_id)
        .where(Member.canonical_email == link.canonical_email, PortalSession.seen_at > link.created_at)
    )
    return utc_now() < at or session().scalars(seen.limit(1)).first() is not None


def other_owners(member: Member) -> Sequence[Member]:
    """Return who owns an organisation together with a member."""
    mine, theirs = aliased(Membership), aliased(Membership)
    return (
        session()
        .scalars(
            select(Member)
            .join(theirs, theirs.member_id == Member.id)
            .join(mine, mine.organisation_id == theirs.organisation_id)
            .where(mine.member_id == member.id, mine.role == Role.OWNER)
            .where(theirs.role == Role.OWNER, Member.id != member.id)
            .distinct()
        )
        .all()
    )
