"""Mailboxes of those who run the organisation: whoever opens one has a new password for the portal mailed to it."""

from __future__ import annotations

from mailcore.errors import MailError, Unavailable
from mailcore.model.ids import UserId
from mailcore.services import MailServices
from mailcore.services.addresses.resolution import ANYBODY
from portal.access import SignedIn
from portal.members.queries import list_members_of_roles
from portal.members.services import gives
from portal.permissions import MEMBER_ROLES


def may_open(mail: MailServices, who: SignedIn, user_id: UserId) -> bool:
    """Tell whether somebody may give out a new password to a mailbox, or take its second factors off.

    Not where mail to a member arrives whose role they could not give: only owners help owners, and nobody on the
    helpdesk helps members but themselves. One round trip, and one to three for each such member.

    Raises:
        Unavailable: where a member's mail arrives is not known now.
    """
    mightier = [role for role in MEMBER_ROLES if not gives(who.role, role)]
    if not mightier or who.organisation is None:
        return True
    for member in list_members_of_roles(who.organisation, mightier):
        if who.member is not None and member.id == who.member.id:
            continue
        try:
            found = mail.resolutions.resolve(member.email, ANYBODY)
        except Unavailable:
            raise
        except MailError:
            continue  # it arrives nowhere here
        if any(recipient.user_id == user_id for recipient in found.recipients):
            return False
    return True
