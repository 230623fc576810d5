"""Signing up: nothing is made before the address is confirmed, and then all of it at once."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from mailcore import fault
from mailcore.errors import NonceInvalid, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.tenants.tenants import clean_name
from portal.accounts import links, services
from portal.accounts.emails import read_email
from portal.accounts.models import LinkPurpose, Member, MemberPasskey, Organisation
from portal.database import unit_of_work
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
    with unit_of_work():
        link = links.use(LinkPurpose.SIGN_UP, token)
        if link is None:
            raise NonceInvalid
        fault.hit("sign_up.link_used")
        member, is_new = services.member_of_link(
            link, link.email, link.canonical_email, link.content["name"], password_hash, passkey
        )
        if is_new:
            fault.hit("sign_up.member_added")
        organisation = services.create_organisation(actor, link.content["organisation"], link.content["region"], member)
        fault.hit("sign_up.organisation_added")
        enqueue_after_commit("portal.provision", organisation_id=str(organisation.id))
    fault.hit("sign_up.committed")
    return member, organisation, is_new
