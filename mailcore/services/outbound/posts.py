"""Posts to groups that wait for a moderator: found for each who may decide, and noted once somebody was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

from bson import ObjectId

from mailcore.message.automatic import forbids_answers, is_machine
from mailcore.message.headers import header_size
from mailcore.message.html_text import visible_text
from mailcore.model.ids import TenantId, UserId
from mailcore.model.outbound import OutboundEntry, QueueId, WaitingPost
from mailcore.services.inbound.srs import sender_behind
from mailcore.services.outbound.outbound import MOST, entry_of
from mailcore.services.process.clock import now
from mailcore.store.keys import message_key
from mailcore.store.placement import Placement

TOLD_WITHIN: Final = timedelta(days=3)
"""So late somebody is still told; what waits longer is on the page alone."""


class Posts:
    """Looks at the queue as the moderators of groups see it."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    def list_of_groups(self, tenant_id: TenantId, groups: Sequence[str]) -> list[OutboundEntry]:
        """Return what waits for moderators of these groups, in whosever queue, latest first.

        None without groups, else one round trip for each shard of the tenant's region.
        """
        if not groups:
            return []
        found = [
            entry_of(document)
            for shard in self._placement.shards(self._placement.tenant(tenant_id).region)
            for document in shard.outbound.list_posts(tenant_id, groups, MOST)
        ]
        return sorted(found, key=lambda entry: entry.created_at, reverse=True)[:MOST]

    def list_recent(self) -> list[WaitingPost]:
        """Return what came lately and still waits, whosever it is, in order on each shard; one round trip for each."""
        since = now() - TOLD_WITHIN
        return [
            _post(document) for shard in self._placement.shards() for document in shard.outbound.list_posts_since(since)
        ]

    def note_told(self, user_id: UserId, posts: Iterable[WaitingPost]) -> None:
        """Remember that a moderator was written to about these; twice is once."""
        by_owner = sorted(posts, key=lambda post: post.user_id)
        for owner, some in groupby(by_owner, key=lambda post: post.user_id):
            keys = [message_key(owner, bytes.fromhex(post.id)) for post in some]
            self._placement.home(owner).shard.outbound.note_told(keys, user_id)


def sender_of(reverse_path: str, group: str) -> str | None:
    """Return to whom may be written about a post: who sent it, however it was rewritten; None if nobody reads that."""
    found = sender_behind(reverse_path)
    return None if is_machine(found) or found.lower() == group.lower() else found


def may_be_answered(raw: bytes) -> bool:
    """Whether a program may answer a message, by its header (RFC 3834 §2)."""
    return forbids_answers(raw[: header_size(raw)]) is None


def text_of_html(markup: str, most: int) -> str:
    """Return how the text begins that HTML shows, without tags: so many characters."""
    return visible_text(markup, most)[:most]


def _post(document: dict[str, Any]) -> WaitingPost:
    key = bytes(document["_id"])
    return WaitingPost(
        QueueId(key[12:].hex()),
        UserId(ObjectId(key[:12])),
        TenantId(ObjectId(bytes(document["tenant"]))),
        document["group"],
        document["message_id"],
        document["sha256"],
        frozenset(UserId(one) for one in document.get("told", ())),
    )
