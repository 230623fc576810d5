"""Members of an organisation: invited, given roles, removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from mailcore.errors import NonceInvalid, NotPermitted, ValueInvalid
from mailcore.model.actor import Actor, Door
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts import links
from portal.accounts.emails import read_email
from portal.accounts.models import (
    Invitation,
    LinkPurpose,
    MailedLink,
    Member,
    MemberPasskey,
    Membership,
    Organisation,
    PortalSession,
)
from portal.accounts.services import member_of_link
from portal.audit.services import record
from portal.database import session, unit_of_work, utc_now
from portal.jobs import enqueue_after_commit
from portal.members.queries import count_owners, find_membership
from portal.permissions import MEMBER_ROLES, Permission, Role, allows

STANDS_FOR: Final = timedelta(days=14)
"""So long an invitation can be accepted, by one fresh link after another."""


class AlreadyMember(Exception):
    """Whoever is invited is a member here."""


class LastOwner(Exception):
    """Without this owner the organisation would have none."""


def invite(
    mail: MailServices, actor: Actor, organisation: Organisation, role: Role, email: str, to: Role, language: str
) -> None:
    """Invite somebody to be `to`; asked for again, it is the same invitation with a fresh link.

    Raises:
        AddressInvalid: not an address.
        NotPermitted: the role may not give that role, or not take back the one that the address is invited to.
        AlreadyMember: nothing to invite to.
    """
    display, canonical = read_email(email)
    checkgives(role, to)
    with unit_of_work() as current:
        member = (
            session()
            .scalars(
                select(Member.id)
                .join(Membership, Membership.member_id == Member.id)
                .where(Membership.organisation_id == organisation.id, Member.canonical_email == canonical)
            )
            .first()
        )
        if member is not None:
            raise AlreadyMember(display)
        mine = Invitation.organisation_id == organisation.id, Invitation.canonical_email == canonical
        before = current.scalars(select(Invitation.role).where(*mine).with_for_update()).one_or_none()
        if before is not None:
            checkgives(role, Role(before))
        values = {"role": to, "invited_by": actor.identity, "expires_at": utc_now() + STANDS_FOR}
        invitation_id = current.scalars(
            insert(Invitation)
            .values(
                id=uuid4(),
                organisation_id=organisation.id,
                email=display,
                canonical_email=canonical,
                created_at=utc_now(),
                **values,
            )
            .on_conflict_do_update(index_elements=["organisation_id", "canonical_email"], set_=values)
            .returning(Invitation.id)
        ).one()
        inviter = actor.identity if actor.door is Door.PORTAL else organisation.name  # a token has words of its maker's
        _mail(mail, invitation_id, organisation.name, inviter, display, canonical, language)
        record(actor, "member.invited", display, {"role": to.value}, organisation_id=organisation.id)


def mail_invitation_again(mail: MailServices, old: MailedLink) -> None:
    """Mail a fresh link of an invitation to whom it was sent before."""
    content = old.content
    _mail(
        mail,
        UUID(content["invitation"]),
        content["organisation"],
        content["invited_by"],
        old.email,
        old.canonical_email,
        old.language,
    )


def _mail(
    mail: MailServices,
    invitation_id: UUID,
    organisation: str,
    invited_by: str,
    email: str,
    canonical: str,
    language: str,
) -> None:
    content = {
        "invitation": str(invitation_id),
        "organisation": organisation,
        "invited_by": invited_by,
        "member": str(uuid4()),
    }
    links.mail_link(mail, LinkPurpose.INVITATION, email, canonical, language, content)


def find_invitation(link: MailedLink) -> Invitation | None:
    """Return the invitation of a link, unless it was taken back or is over."""
    found = session().get(Invitation, UUID(link.content["invitation"]))
    return found if found is not None and found.expires_at > utc_now() else None


def withdraw(actor: Actor, organisation: Organisation, role: Role, invitation_id: UUID) -> bool:
    """Take an invitation back; False: there is none such.

    Raises:
        NotPermitted: an invitation to a role that this one may not give.
    """
    with unit_of_work() as current:
        invitation = (
            session()
            .scalars(
                select(Invitation).where(Invitation.organisation_id == organisation.id, Invitation.id == invitation_id)
            )
            .one_or_none()
        )
        if invitation is None:
            return False
        checkgives(role, Role(invitation.role))
        current.delete(invitation)
        record(actor, "member.invitation_withdrawn", invitation.email, organisation_id=organisation.id)
    return True


def accept(
    mail: MailServices,
    actor: Actor,
    token: str,
    *,
    name: str,
    password: Secret | None = None,
    passkey: MemberPasskey | None = None,
) -> tuple[Member, bool]:
    """Become a member of the organisation that the link invites to; tell whether the member is new.

    Raises:
        NonceInvalid: used, too old, taken back, or none.
        ValueInvalid: no name.
        AddressTaken: the address looks like another member's.
    """
    password_hash = mail.passwords.hash_new(password) if password is not None else None
    with unit_of_work() as current:
        link = links.use(LinkPurpose.INVITATION, token)
        invitation = find_invitation(link) if link is not None else None
        if link is None or invitation is None:
            raise NonceInvalid
        member, is_new = member_of_link(
            link, invitation.email, invitation.canonical_email, name, password_hash, passkey
        )
        _join(invitation, member)
        current.delete(invitation)
        record(
            actor,
            "member.joined",
            member.email,
            {"role": str(invitation.role), "invited_by": invitation.invited_by},
            organisation_id=invitation.organisation_id,
        )
    return member, is_new


def _join(invitation: Invitation, member: Member) -> None:
    try:
        with session().begin_nested():
            session().add(
                Membership(organisation_id=invitation.organisation_id, member_id=member.id, role=invitation.role)
            )
    except IntegrityError:
        return  # a member already, by another invitation


def change_role(actor: Actor, organisation: Organisation, role: Role, member_id: UUID, to: Role) -> bool:
    """Give a member another role; their sessions here end, so that none goes on with the old one.

    So do invitations of theirs that the new role could not give, and tokens where it may make none. False: there is no
    such member.

    Raises:
        NotPermitted: the old or the new role is not one that this role may give.
        LastOwner: nobody would own the organisation.
    """
    with unit_of_work():
        _lock(organisation)
        membership = find_membership(organisation, member_id)
        if membership is None:
            return False
        before = Role(membership.role)
        checkgives(role, before)
        checkgives(role, to)
        if before is Role.OWNER and to is not Role.OWNER:
            _keep_an_owner(organisation)
        membership.role = to
        _end_sessions(organisation, member_id)
        _withdraw_given(actor, organisation, membership.member.email, to)
        record(
            actor,
            "member.role_changed",
            membership.member.email,
            {"before": before.value, "after": to.value},
            organisation_id=organisation.id,
        )
    return True


def remove(actor: Actor, organisation: Organisation, role: Role, member_id: UUID) -> bool:
    """Remove a member from the organisation, and take back their invitations and tokens; False: no such member.

    Raises:
        NotPermitted: a member of a role that this one may not give.
        LastOwner: nobody would own the organisation.
    """
    with unit_of_work() as current:
        _lock(organisation)
        membership = find_membership(organisation, member_id)
        if membership is None:
            return False
        checkgives(role, Role(membership.role))
        if Role(membership.role) is Role.OWNER:
            _keep_an_owner(organisation)
        email = membership.member.email
        current.delete(membership)
        _end_sessions(organisation, member_id)
        _withdraw_given(actor, organisation, email, None)
        record(actor, "member.removed", email, {"role": str(membership.role)}, organisation_id=organisation.id)
    return True


def set_second_factor_roles(actor: Actor, organisation: Organisation, roles: frozenset[Role]) -> None:
    """Say members of which roles must have a second factor.

    Raises:
        ValueInvalid: a role that members do not have.
    """
    if not roles <= frozenset(MEMBER_ROLES):
        raise ValueInvalid("roles: those of members")
    with unit_of_work() as current:
        stored = current.get_one(Organisation, organisation.id, with_for_update=True)
        before, after = sorted(stored.second_factor_roles), sorted(role.value for role in roles)
        if before == after:
            return
        stored.second_factor_roles = after
        record(
            actor,
            "organisation.second_factor_roles",
            stored.name,
            {"before": before, "after": after},
            organisation_id=organisation.id,
        )


def checkgives(role: Role, to: Role) -> None:
    """See that a role may give, change and take that role.

    Raises:
        NotPermitted: it may not: only owners make and unmake owners.
    """
    if not gives(role, to):
        raise NotPermitted(f"{role.value} may not make anybody {to.value}")


def gives(role: Role, to: Role) -> bool:
    """Tell whether a role may give, change and take another."""
    needed = Permission.MANAGE_OWNERS if to is Role.OWNER else Permission.MANAGE_MEMBERS
    return to in MEMBER_ROLES and allows(role, needed)


def _withdraw_given(actor: Actor, organisation: Organisation, inviter: str, role: Role | None) -> None:
    """Take back the invitations of somebody who has this role now, and could not give theirs; None: no role at all.

    Tokens that they may not make any more are revoked by a job, within seconds of the commit.
    """
    if role is None or not allows(role, Permission.MANAGE_TOKENS):
        enqueue_after_commit("portal.revoke_tokens", organisation_id=str(organisation.id))
    wanted = select(Invitation).where(Invitation.organisation_id == organisation.id, Invitation.invited_by == inviter)
    for invitation in session().scalars(wanted.with_for_update()):
        if role is None or not gives(role, Role(invitation.role)):
            session().delete(invitation)
            record(actor, "member.invitation_withdrawn", invitation.email, organisation_id=organisation.id)


def _lock(organisation: Organisation) -> None:
    """Let changes of an organisation's members follow one another: two owners may not remove each other at once."""
    session().execute(select(Organisation.id).where(Organisation.id == organisation.id).with_for_update())


def _keep_an_owner(organisation: Organisation) -> None:
    if count_owners(organisation) < 2:
        raise LastOwner(organisation.name)


def _end_sessions(organisation: Organisation, member_id: UUID) -> None:
    session().execute(
        delete(PortalSession).where(
            PortalSession.member_id == member_id, PortalSession.organisation_id == organisation.id
        )
    )
