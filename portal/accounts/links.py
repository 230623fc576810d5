"""Links that are mailed: made, sent by a job, used once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select

from mailcore.services import MailServices
from portal.accounts import owners_links
from portal.accounts.models import Invitation, LinkPurpose, MailedLink, Member
from portal.database import session, unit_of_work, utc_now
from portal.jobs import enqueue_after_commit
from portal.notices import Notice, send
from portal.settings import PortalSettings

GOOD_FOR: Final = timedelta(hours=1)
KNOWN_FOR: Final = timedelta(days=30)
"""So long a link that is no longer good is known, to say so, and to offer another."""
MOST_AT_ONCE: Final = 5
"""Of one purpose and address in an hour; further ones are not made."""
TOKEN_BYTES: Final = 32
PATHS: Final = {
    LinkPurpose.SIGN_UP: "/sign-up/confirm/{}",
    LinkPurpose.RESET: "/new-password/{}",
    LinkPurpose.INVITATION: "/invitation/{}",
}


def mail_link(
    mail: MailServices,
    purpose: LinkPurpose,
    email: str,
    canonical_email: str,
    language: str,
    content: Mapping[str, Any] | None = None,
) -> MailedLink | None:
    """Make a link and have it mailed; None: this address got too many lately, and gets no more for now.

    The same work is done for every address; the job finds out what to write.
    """
    with unit_of_work() as current:
        recent = current.scalar(
            select(func.count())
            .select_from(MailedLink)
            .where(
                MailedLink.canonical_email == canonical_email,
                MailedLink.purpose == purpose,
                MailedLink.created_at > utc_now() - GOOD_FOR,
            )
        )
        if (recent or 0) >= MOST_AT_ONCE:
            return None
        token = secrets.token_urlsafe(TOKEN_BYTES)
        link = MailedLink(
            digest=digest(token),
            purpose=purpose,
            email=email,
            canonical_email=canonical_email,
            language=language,
            content=dict(content or {}),
            expires_at=utc_now() + GOOD_FOR,
        )
        current.add(link)
        current.flush()
        link.sealed_token = mail.sealing.seal(_purpose(link.id), token.encode())
        enqueue_after_commit("portal.mail_link", link_id=str(link.id))
    return link


def deliver(mail: MailServices, settings: PortalSettings, link_id: UUID) -> bool:
    """Queue the mail of a link and forget its token; False: it was queued before, or is no longer good.

    Who dies in between queues it again under the same key, which is the same entry.
    """
    link = session().get(MailedLink, link_id, populate_existing=True)
    if link is None or link.sealed_token is None or link.expires_at <= utc_now():
        return False
    token = mail.sealing.open(_purpose(link.id), link.sealed_token).decode()
    member = session().scalars(select(Member).where(Member.canonical_email == link.canonical_email)).one_or_none()
    if member is not None:
        owners_links.hold_back(mail, link, member)
    notice = _notice(link, member, settings.public_url + PATHS[LinkPurpose(link.purpose)].format(token))
    if notice is not None:
        send(mail, settings, notice, key=link.id.bytes)
    if member is not None and owners_links.not_before(link) is not None:
        for owner in owners_links.other_owners(member):
            told = Notice("reset_waits", owner.email, owner.language or "en", {"who": member.email, **_when(link)})
            send(mail, settings, told, key=link.id.bytes + owner.id.bytes)
    with unit_of_work():
        link.sealed_token = None
    return notice is not None


def _when(link: MailedLink) -> dict[str, str]:
    """Return for the texts when a link begins to be good."""
    at = owners_links.not_before(link)
    return {"good_from": "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"}


def _notice(link: MailedLink, member: Member | None, url: str) -> Notice | None:
    """Return what is written; somebody who is unknown is not written to about a password."""
    event = LinkPurpose(link.purpose).value
    if link.purpose == LinkPurpose.SIGN_UP and member is not None:
        event = "known"
    if link.purpose == LinkPurpose.RESET and member is None:
        return None
    return Notice(event, link.email, link.language, {"url": url, **link.content, **_when(link)})


def find(purpose: LinkPurpose, token: str) -> MailedLink | None:
    """Return the link of a token, good or not any more; None: there never was one, or long ago."""
    return (
        session()
        .scalars(select(MailedLink).where(MailedLink.digest == digest(token), MailedLink.purpose == purpose))
        .one_or_none()
    )


def use(purpose: LinkPurpose, token: str) -> MailedLink | None:
    """Return a good link and use it up, within the unit of work that does what it is for; else None.

    Of two at once one gets it.
    """
    with unit_of_work() as current:
        return current.scalars(
            delete(MailedLink)
            .where(
                MailedLink.digest == digest(token),
                MailedLink.purpose == purpose,
                MailedLink.expires_at > utc_now(),
            )
            .returning(MailedLink)
        ).one_or_none()


def is_good(link: MailedLink | None) -> bool:
    """Tell whether a link may still be used."""
    return link is not None and link.expires_at > utc_now()


def forget(canonical_email: str, purpose: LinkPurpose) -> None:
    """End every other link of an address for the same thing."""
    with unit_of_work() as current:
        current.execute(
            delete(MailedLink).where(MailedLink.canonical_email == canonical_email, MailedLink.purpose == purpose)
        )


def unsent() -> list[UUID]:
    """Return good links whose mail is not queued yet."""
    wanted = select(MailedLink.id).where(MailedLink.sealed_token.is_not(None), MailedLink.expires_at > utc_now())
    return list(session().scalars(wanted.limit(1000)))


def forget_old() -> int:
    """Remove links and invitations that nobody can use any more; return how many."""
    with unit_of_work() as current:
        links = current.execute(delete(MailedLink).where(MailedLink.expires_at < utc_now() - KNOWN_FOR))
        invitations = current.execute(delete(Invitation).where(Invitation.expires_at < utc_now()))
        return int(links.rowcount + invitations.rowcount)  # type: ignore[attr-defined]


def digest(token: str) -> bytes:
    """Return the hash by which a token is known."""
    return hashlib.sha256(b"eider mailed link" + token.encode("utf-8", "surrogatepass")).digest()


def _purpose(link_id: UUID) -> str:
    return f"mailed_link:{link_id}"
