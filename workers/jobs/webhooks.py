"""Posting events to who asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailcore.model.actor import SYSTEM
from mailcore.model.forward_target import TargetUrl
from workers.context import JobContext

ANSWER_S: Final = 10.0


def deliver(context: JobContext) -> int:
    """Deliver what is due through the one way out, and return how many events were taken."""
    client = context.outgoing

    def post(target: TargetUrl, fields: Mapping[str, str], body: bytes) -> int:
        return client.post(target, fields, [body], len(body), timeout_s=ANSWER_S)

    return context.services.webhooks.deliver_due(SYSTEM, post)
