"""Writing to those whose outgoing mail is held: the user, and the owners of the organisation."""

from __future__ import annotations

import logging

from sqlalchemy import select

from mailcore.errors import MailError, NotFound
from mailcore.model.reputation import HeldSender
from mailcore.services import MailServices
from portal.accounts.models import Member, Membership, Organisation
from portal.database import session
from portal.notices import Notice, SenderMissing, send
from portal.permissions import Role
from portal.settings import PortalSettings

log = logging.getLogger(__name__)


def tell(mail: MailServices, settings: PortalSettings, held: HeldSender) -> bool:
    """Write to whom a hold concerns, each once; tell whether all were written to."""
    try:
        user = None if held.user_id is None else mail.users.get(held.user_id)
    except NotFound:  # deleted, and the hold with it
        log.info("deliveries.nobody_to_tell", extra={"hold": str(held.hold.id)})
        return False
    address = "" if user is None else user.address
    people = [(member.email, member.language or "en") for member in _owners(held)]
    if user is not None:
        people.append((address, user.settings.language[:2] or "en"))
    values = {
        "cause": held.hold.cause.value,
        "who": address,
        "url": f"{settings.public_url}/deliveries/hold",
        "refused": held.hold.counts.bounced,
        "complained": held.hold.counts.complained,
    }
    try:
        for to, language in people:
            send(mail, settings, Notice("held", to, language, values), key=held.hold.id.binary + to.encode())
    except (MailError, SenderMissing) as error:
        log.warning("deliveries.not_told", extra={"hold": str(held.hold.id), "reason": type(error).__name__})
        return False
    mail.sending_holds.note_told(held)
    return True


def _owners(held: HeldSender) -> list[Member]:
    wanted = (
        select(Member)
        .join(Membership, Membership.member_id == Member.id)
        .join(Organisation, Organisation.id == Membership.organisation_id)
        .where(Organisation.tenant == str(held.tenant_id), Membership.role == Role.OWNER)
    )
    return list(session().scalars(wanted))
