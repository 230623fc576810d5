"""Signing up: nothing is made before the address is confirmed, and then all of it at once."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select

from mailcore import fault
from mailcore.errors import NonceInvalid, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.tenants.tenants import clean_name
from portal.accounts import links, services
from portal.accounts.emails import lookalike_of, read_email
from portal.accounts.models import LinkPurpose, Member, MemberPasskey, Organisation
from portal.database import session, unit_of_work
from portal.jobs import enqueue_after_commit

_NO_NAME: Final = ("://", "www.")
"""What stands in advertisements and in no organisation's name; the name goes into a mail to a stranger."""


def ask(mail: MailServices, organisation: str, name: str, email: str, region: str, language: str) -> None:
    """Mail a link by which the address is confirmed; the same is done for known and unknown addresses.

    Raises:
        AddressInvalid: not an address, or one that looks like another's.
        ValueInvalid: a name that is none.
    """
    display, canonical = read_email(email)
    organisation, name = clean_name(organisation), clean_name(name)
    if any(sign in organisation.lower() for sign in _NO_NAME):
        raise ValueInvalid("an organisation's name is no web address")
    content = {"organisation": organisation, "name": name, "region": region, "member": str(uuid4())}
    links.mail_link(mail, LinkPurpose.SIGN_UP, display, canonical, language, content)


def finish(
    mail: MailServices,
    actor: Actor,
    token: str,
    *,
    password: Secret | None = None,
    passkey: MemberPasskey | None = None,
) -> tuple[Member, Organisation, bool]:
    """Make member and organisation in one commit, then have the tenant made; tell whether the member is new.

    Somebody who is a member already gets one organisation more, and keeps how they sign in.

    Raises:
        NonceInvalid: used, too old, or none.
        AddressTaken: the address looks like another member's.
        PasswordUnsuitable, PasswordLeaked, ServerBusy: about the password.
    """
    password_hash = mail.passwords.hash_new(password) if password is not None else None
    with unit_of_work() as current:
        link = links.use(LinkPurpose.SIGN_UP, token)
        if link is None:
            raise NonceInvalid
        fault.hit("sign_up.link_used")
        member = find_by_canonical(link.canonical_email)
        is_new = member is None
        if member is None:
            if password_hash is None and passkey is None:
                raise ValueInvalid("a member has a password or a passkey")
            member = Member(
                id=UUID(link.content["member"]),
                email=link.email,
                canonical_email=link.canonical_email,
                lookalike_email=lookalike_of(link.canonical_email),
                name=link.content["name"],
                password_hash=password_hash,
                language=link.language,
            )
            services.store_member(member)
            fault.hit("sign_up.member_added")
            if passkey is not None:
                current.add(passkey)
        organisation = services.create_organisation(actor, link.content["organisation"], link.content["region"], member)
        fault.hit("sign_up.organisation_added")
        enqueue_after_commit("portal.provision", organisation_id=str(organisation.id))
    fault.hit("sign_up.committed")
    return member, organisation, is_new


def find_by_canonical(canonical: str) -> Member | None:
    """Return the member of an address in its canonical form, or None."""
    return session().scalars(select(Member).where(Member.canonical_email == canonical)).one_or_none()
