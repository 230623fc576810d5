"""Writing to moderators that posts wait for them, and to senders whose post was declined."""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime
from typing import Any, Final

from mailcore.errors import AddressInvalid, AddressNotFound, MailError, NotFound
from mailcore.model.ids import TenantId, UserId
from mailcore.model.outbound import OutboundEntry, WaitingPost
from mailcore.services import MailServices
from mailcore.services.outbound.posts import sender_of
from portal.languages import LANGUAGES
from portal.notices import Notice, SenderMissing, is_ours, is_queued, send
from portal.own import posts
from portal.own.posts import Beginning
from portal.settings import PortalSettings

log = logging.getLogger(__name__)

WAITS: Final = "post_waits"
DECLINED: Final = "post_declined"
HOUR_S: Final = 3600
LISTED: Final = 10
"""Posts that a mail names; of the others it says how many they are."""


def tell_moderators(mail: MailServices, settings: PortalSettings, at: datetime) -> int:
    """Write to moderators about posts that they were not told of, each at most once in an hour; return to how many.

    Who was written to in this hour is told of what came meanwhile in the next one. Of who dies between a mail and its
    note, the moderator is told once more, an hour later, if the posts still wait.
    """
    told = 0
    for moderator_id, waiting in _untold(mail, settings).items():
        try:
            told += _tell(mail, settings, moderator_id, waiting, at)
        except NotFound:  # a user who is gone moderates nothing
            log.info("posts.nobody_to_tell", extra={"user": str(moderator_id)})
        except (MailError, SenderMissing) as error:
            log.warning("posts.not_told", extra={"user": str(moderator_id), "reason": type(error).__name__})
    return told


def tell_sender(
    mail: MailServices, settings: PortalSettings, entry: OutboundEntry, read: Beginning, reason: str, language: str
) -> bool:
    """Write to who sent a post that it was declined, once; False if nobody can be written to.

    A user here is written to in the own language, anybody else in that of the moderator.
    """
    to = sender_of(entry.reverse_path, entry.group)
    if to is None or not read.answerable:
        return False
    values = {"group": entry.group, "subject": read.subject, "reason": reason}
    notice = Notice(DECLINED, to, _language_of(mail, to, language), values, read.header_message_id, is_final=True)
    try:
        send(mail, settings, notice, key=entry.user_id.binary + bytes.fromhex(entry.id))
    except (MailError, SenderMissing) as error:
        log.warning("posts.sender_not_told", extra={"queue_id": entry.id, "reason": type(error).__name__})
        return False
    return True


def _untold(mail: MailServices, settings: PortalSettings) -> dict[UserId, list[WaitingPost]]:
    """Return for each moderator what waits that this one was not told of.

    Our own mail that a moderator sends on to the group waits there as any other post, and nobody is told of it.
    """
    found: dict[UserId, list[WaitingPost]] = defaultdict(list)
    moderators: dict[tuple[TenantId, str], tuple[UserId, ...]] = {}
    for post in mail.posts.list_recent():
        if is_ours(settings, WAITS, post.header_message_id):
            continue
        group = post.tenant_id, post.group
        if group not in moderators:
            moderators[group] = _moderators(mail, *group)
        for moderator_id in moderators[group]:
            if moderator_id not in post.told:
                found[moderator_id].append(post)
    return found


def _moderators(mail: MailServices, tenant_id: TenantId, group: str) -> tuple[UserId, ...]:
    try:
        return mail.groups.get(tenant_id, group).moderators
    except AddressNotFound:  # given up meanwhile
        return ()


def _tell(
    mail: MailServices, settings: PortalSettings, moderator_id: UserId, waiting: list[WaitingPost], at: datetime
) -> bool:
    user = mail.users.get(moderator_id)
    key = moderator_id.binary + int(at.timestamp() // HOUR_S).to_bytes(4, "big")
    if is_queued(mail, settings, WAITS, key):
        return False
    once = list({(post.group, post.sha256): post for post in waiting}.values())
    values = {
        "number": len(once),
        "posts": [_shown(mail, post) for post in once[:LISTED]],
        "more": max(0, len(once) - LISTED),
        "url": f"{settings.public_url}/account/posts/",
    }
    language = user.settings.language[:2].lower() or "en"
    send(mail, settings, Notice(WAITS, user.address, language, values, is_final=True), key=key)
    mail.posts.note_told(moderator_id, waiting)
    return True


def _shown(mail: MailServices, post: WaitingPost) -> dict[str, Any]:
    read = posts.read(mail, post.user_id, post.id)
    return {"group": post.group, "sender": read.sender, "subject": read.subject}


def _language_of(mail: MailServices, address: str, otherwise: str) -> str:
    try:
        chosen = mail.users.get(mail.addresses.get(address).user_id).settings.language[:2].lower()
    except (NotFound, AddressInvalid):
        chosen = ""
    return chosen if chosen in LANGUAGES else otherwise
