"""Members and organisations: who they are, made and changed."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from mailcore.errors import AddressInvalid, AddressTaken, AuthenticationFailed, NonceInvalid, Unavailable, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.login_guard import Permit
from mailcore.services.tenants.tenants import clean_name
from portal.accounts import links, owners_links, sessions
from portal.accounts.emails import lookalike_of, read_email
from portal.accounts.models import LinkPurpose, MailedLink, Member, MemberPasskey, Membership, Organisation
from portal.audit.services import record
from portal.database import session, unit_of_work
from portal.permissions import Role

SLUG_CHARACTERS: Final = 40


def create_organisation(actor: Actor, name: str, region: str, owner: Member) -> Organisation:
    """Create an organisation with its owner; a job makes its tenant in the mail plane afterwards.

    Raises:
        ValueInvalid: not a name.
    """
    with unit_of_work() as current:
        organisation = Organisation(name=clean_name(name), slug=_free_slug(name), region=region)
        current.add(organisation)
        current.flush()
        current.add(Membership(organisation_id=organisation.id, member_id=owner.id, role=Role.OWNER))
        record(
            actor,
            "organisation.created",
            organisation.name,
            {"owner": owner.email, "region": region},
            organisation_id=organisation.id,
        )
    return organisation


def rename_organisation(actor: Actor, organisation: Organisation, name: str) -> None:
    """Give an organisation another name; its slug and its tenant's name stay.

    Raises:
        ValueInvalid: not a name.
    """
    name = clean_name(name)
    if name == organisation.name:
        return
    with unit_of_work():
        before, organisation.name = organisation.name, name
        record(actor, "organisation.renamed", name, {"before": before}, organisation_id=organisation.id)


def new_member(mail: MailServices, email: str, name: str, password: Secret | None) -> Member:
    """Return a member who is not stored yet.

    Raises:
        AddressInvalid, PasswordUnsuitable, PasswordLeaked, ValueInvalid: what is wrong.
    """
    display, canonical = read_email(email)
    password_hash = mail.passwords.hash_new(password) if password is not None else None
    return Member(
        email=display,
        canonical_email=canonical,
        lookalike_email=lookalike_of(canonical),
        name=clean_name(name),
        password_hash=password_hash,
    )


def store_member(member: Member) -> None:
    """Store a new member, within the unit of work that makes the rest.

    Raises:
        AddressTaken: somebody has this address, or one that people take for it.
    """
    try:
        with unit_of_work() as current:
            current.add(member)
            current.flush()
    except IntegrityError as error:
        raise AddressTaken(member.email) from error


def find_by_canonical(canonical: str) -> Member | None:
    """Return the member of an address in its canonical form, or None."""
    return session().scalars(select(Member).where(Member.canonical_email == canonical)).one_or_none()


def member_of_link(
    link: MailedLink, email: str, canonical: str, name: str, password_hash: str | None, passkey: MemberPasskey | None
) -> tuple[Member, bool]:
    """Return the member whose address a link proved, and whether it is new and stored by this.

    Raises:
        AddressTaken: the address looks like another member's.
        ValueInvalid: no name, or neither password nor passkey.
    """
    known = find_by_canonical(canonical)
    if known is not None:
        return known, False
    if password_hash is None and passkey is None:
        raise ValueInvalid("a member has a password or a passkey")
    member = Member(
        id=UUID(link.content["member"]),
        email=email,
        canonical_email=canonical,
        lookalike_email=lookalike_of(canonical),
        name=clean_name(name),
        password_hash=password_hash,
        language=link.language,
    )
    store_member(member)
    if passkey is not None:
        session().add(passkey)
    return member, True


def find_member(email: str) -> Member | None:
    """Return the member of an address, or None."""
    try:
        _, canonical = read_email(email)
    except AddressInvalid:
        return None
    return find_by_canonical(canonical)


def check_password(mail: MailServices, email: str, password: Secret, remote_address: str) -> Member:
    """Return the member who signs in with this password; unknown members cost what a wrong password costs.

    Raises:
        AuthenticationFailed: unknown, without a password, or another one.
        TooManyAttempts: too many were wrong; the password was not looked at.
        ServerBusy: too many hashes wait.
    """
    permit = admit(mail, email, remote_address)
    member = find_member(email)
    if not is_right(mail, permit, member, password) or member is None:
        raise AuthenticationFailed
    return member


def admit(mail: MailServices, email: str, remote_address: str) -> Permit:
    """Count a try at the password of the member of an address, whether there is one or not.

    Raises:
        TooManyAttempts: too many were wrong.
    """
    return mail.failed_logins.admit(f"member:{_counted(email)}", None, None, remote_address)


def is_right(mail: MailServices, permit: Permit, member: Member | None, password: Secret) -> bool:
    """Return whether it is the member's password, for None after the same work; only a wrong one stays counted.

    Raises:
        ServerBusy: too many hashes wait.
    """
    try:
        found = mail.passwords.verify(member.password_hash if member is not None else None, password)
    except Unavailable:
        mail.failed_logins.take_back(permit)
        raise
    if found:
        mail.failed_logins.take_back(permit, is_good=True)
    return found


def _counted(email: str) -> str:
    """Return what tries are counted by: the form by which members are found, however the address is spelt."""
    try:
        return read_email(email)[1]
    except AddressInvalid:
        return email.strip().lower()[:300]


def ask_for_password(mail: MailServices, email: str, language: str) -> None:
    """Have a link for a new password mailed, if there is such a member; the same is done if there is none.

    Raises:
        AddressInvalid: not an address.
    """
    display, canonical = read_email(email)
    links.mail_link(mail, LinkPurpose.RESET, display, canonical, language)


def reset_password(mail: MailServices, actor: Actor, token: str, password: Secret) -> Member:
    """Set a new password by a mailed link: every session ends, second factors stay as they are.

    Raises:
        NonceInvalid: used, too old, held back, or none.
        PasswordUnsuitable, PasswordLeaked, ServerBusy: about the password.
    """
    password_hash = mail.passwords.hash_new(password)
    with unit_of_work():
        link = links.use(LinkPurpose.RESET, token)
        member = (
            session().scalars(select(Member).where(Member.canonical_email == link.canonical_email)).one_or_none()
            if link is not None
            else None
        )
        if link is None or member is None or owners_links.is_held_back(link):
            raise NonceInvalid
        member.password_hash = password_hash
        links.forget(link.canonical_email, LinkPurpose.RESET)
        sessions.end_sessions(member.id)
        record_for(replace(actor, identity=member.email), "password.reset", member)
    return member


def change_password(mail: MailServices, actor: Actor, member: Member, password: Secret) -> None:
    """Set a member's own password; links that were asked for to set another open nothing any more.

    Raises:
        PasswordUnsuitable, PasswordLeaked, ServerBusy: about the password.
    """
    password_hash = mail.passwords.hash_new(password)
    with unit_of_work():
        member.password_hash = password_hash
        links.forget(member.canonical_email, LinkPurpose.RESET)
        record_for(actor, "password.changed", member)


def set_language(member: Member, language: str) -> None:
    """Remember in which language a member reads."""
    with unit_of_work():
        member.language = language


def record_for(actor: Actor, what: str, member: Member, details: Mapping[str, object] | None = None) -> None:
    """Tell every organisation of a member what was done to how that member signs in."""
    for organisation in sessions.organisations_of(member.id):
        record(actor, what, member.email, details, organisation_id=organisation.id)


def regions(mail: MailServices) -> list[str]:
    """Return where mail can be kept, by the shards that take new users."""
    return sorted({shard.region for shard in mail.shards.list_all() if shard.is_open})


def _free_slug(name: str) -> str:
    """Return the slug of a name, with a random end where the plain one is taken."""
    base = slug_of(name)
    is_taken = session().scalars(select(Organisation.id).where(Organisation.slug == base)).first() is not None
    return f"{base}-{secrets.token_hex(3)}" if is_taken else base


def slug_of(name: str) -> str:
    """Return a name as it may stand in an address: ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_CHARACTERS] or "organisation"
