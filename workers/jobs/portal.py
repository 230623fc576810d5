"""Jobs of the portal: they make the mail plane equal to what organisations say, and mail links."""

from __future__ import annotations

import logging
from uuid import UUID

from mailcore.errors import MailError
from portal.accounts import links, passkeys, provisioning
from portal.audit import feed
from portal.progress import announce
from portal.tokens import services as tokens
from workers.context import JobContext

log = logging.getLogger(__name__)


def provision(context: JobContext, organisation_id: str) -> None:
    """Make one organisation's tenant, or give it the organisation's state."""
    with context.in_portal() as portal:
        provisioning.provision(portal.mail, UUID(organisation_id))
    announce(context.redis, provisioning.topic(UUID(organisation_id)))


def mail_link(context: JobContext, link_id: str) -> None:
    """Queue the mail of one link."""
    with context.in_portal() as portal:
        links.deliver(portal.mail, portal.settings, UUID(link_id))


def revoke_tokens(context: JobContext, organisation_id: str) -> None:
    """Revoke tokens of an organisation whose makers may make none any more."""
    with context.in_portal() as portal:
        tokens.revoke_left_over(portal.mail, UUID(organisation_id))


def reconcile(context: JobContext) -> None:
    """Do again what a crash, or a moment without Redis, left undone; quietly nothing where there is no Postgres."""
    if context.portal is None:
        return
    with context.in_portal():
        for organisation_id in provisioning.unprovisioned():
            context.enqueue("portal.provision", organisation_id=str(organisation_id))
        for link_id in links.unsent():
            context.enqueue("portal.mail_link", link_id=str(link_id))


def take_over_events(context: JobContext) -> None:
    """Add to every organisation's audit log what happened in the mail plane since the last run."""
    if context.portal is None:
        return
    with context.in_portal() as portal:
        for organisation in feed.organisations():
            try:
                while feed.take_over(portal.mail, organisation):
                    pass
            except MailError as error:
                fields = {"organisation": str(organisation.id), "reason": type(error).__name__}
                log.warning("portal.events_wait", extra=fields)


def compare(context: JobContext) -> None:
    """See that each organisation has its tenant in the right state, and remove what nobody may use any more."""
    if context.portal is None:
        return
    with context.in_portal() as portal:
        links.forget_old()
        passkeys.forget_old()
        after = None
        while True:
            astray, after = provisioning.astray(portal.mail, after)
            for organisation_id in astray:
                context.enqueue("portal.provision", organisation_id=str(organisation_id))
            if after is None:
                break
        for organisation in feed.organisations():
            tokens.revoke_left_over(portal.mail, organisation.id)
