"""A member's own factors set up and taken off; each change gives the session a new id and ends the others."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from webauthn import base64url_to_bytes

from mailcore.errors import SecondFactorWrong
from mailcore.model.actor import Actor
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.access import SignedIn
from portal.accounts import factors, passkeys, sessions
from portal.accounts.models import Member, MemberPasskey
from portal.accounts.services import record_for
from portal.database import session, unit_of_work
from portal.settings import PortalSettings

_SETUP: Final = "totp"


class NothingLeft(Exception):
    """Without this passkey the member could not sign in."""


def start_over(who: SignedIn) -> Secret:
    """End every other session of a member, and give this one a new id."""
    with unit_of_work():
        sessions.end_sessions(_member(who).id, keep=who.session.digest)
        return sessions.renew(who.session)


def begin_totp(mail: MailServices, who: SignedIn) -> None:
    """Make a seed and keep it with this session until its first code is given."""
    with unit_of_work():
        who.session.sealed_new_totp_seed = factors.seal_seed(mail, who.session.id, factors.new_seed())


def new_seed(mail: MailServices, who: SignedIn) -> str | None:
    """Return the seed that is being set up in this session, or None."""
    sealed = who.session.sealed_new_totp_seed
    return factors.open_seed(mail, who.session.id, sealed) if sealed is not None else None


def finish_totp(mail: MailServices, actor: Actor, who: SignedIn, code: str) -> tuple[list[str], Secret]:
    """Turn the new seed on by its first code; return recovery codes, shown once, and the session's new token.

    Raises:
        SecondFactorWrong: not its code of now.
    """
    member, seed = _member(who), new_seed(mail, who)
    step = factors.step_of(seed, code) if seed is not None else 0
    if seed is None or not step:
        raise SecondFactorWrong
    with unit_of_work():
        member.sealed_totp_seed = factors.seal_seed(mail, member.id, seed)
        member.totp_step = step
        who.session.sealed_new_totp_seed = None
        codes = factors.new_recovery_codes(member)
        token = start_over(who)
        record_for(actor, "second_factor.on", member, {"factor": _SETUP})
    return codes, token


def remove_totp(actor: Actor, who: SignedIn) -> Secret:
    """Take the authenticator app off."""
    member = _member(who)
    with unit_of_work():
        member.sealed_totp_seed = None
        token = start_over(who)
        record_for(actor, "second_factor.off", member, {"factor": _SETUP})
    return token


def new_codes(actor: Actor, member: Member) -> list[str]:
    """Replace a member's recovery codes; those made before are good no more."""
    with unit_of_work():
        codes = factors.new_recovery_codes(member)
        record_for(actor, "recovery_codes.made", member)
    return codes


def add_passkey(
    settings: PortalSettings, actor: Actor, who: SignedIn, credential: str, name: str, bound_to: str
) -> Secret:
    """Store what a member's device made.

    Raises:
        NonceInvalid, SecondFactorWrong, PasskeyTaken: as `passkeys.finish_registration`.
    """
    member = _member(who)
    passkey = passkeys.finish_registration(settings, member.id, credential, name, bound_to)
    with unit_of_work() as current:
        current.add(passkey)
        token = start_over(who)
        record_for(actor, "passkey.added", member, {"name": passkey.name})
    return token


def remove_passkey(actor: Actor, who: SignedIn, passkey_id: str) -> Secret | None:
    """Forget a passkey; None: the member has none such.

    Raises:
        NothingLeft: there is no password and no other passkey.
    """
    member = _member(who)
    try:
        wanted = base64url_to_bytes(passkey_id)
    except ValueError:
        return None
    found = next((one for one in member.passkeys if one.id == wanted), None)
    if found is None:
        return None
    with unit_of_work() as current:
        if not _keeps_a_way_in(member, wanted):
            raise NothingLeft
        current.delete(current.get_one(MemberPasskey, wanted))
        token = start_over(who)
        record_for(actor, "passkey.removed", member, {"name": found.name})
    return token


def _keeps_a_way_in(member: Member, passkey_id: bytes) -> bool:
    """Return whether a member could sign in without a passkey; two that are removed at once follow one another."""
    current = session()
    mine = Member.id == member.id
    password_hash = current.scalar(select(Member.password_hash).where(mine).with_for_update())
    others = select(MemberPasskey.id).where(MemberPasskey.member_id == member.id, MemberPasskey.id != passkey_id)
    return password_hash is not None or current.scalars(others.limit(1)).first() is not None


def _member(who: SignedIn) -> Member:
    assert who.member is not None
    return who.member
