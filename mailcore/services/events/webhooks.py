"""Webhooks: events of the ordered stream, posted to who asked for them, signed.

Each has its own place in each stream, which moves on when an event was taken: at least once, in order, none missing.
What is not taken is tried again, later each time, and holds back what follows; after many failures the webhook is
given up, which is an event. `X-Eider-Event-Id` is the same for each try.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

import orjson
from bson import ObjectId

from mailcore.errors import (
    DestinationForbidden,
    MailError,
    TooManyWebhooks,
    Unavailable,
    UserNotFound,
    ValueInvalid,
    WebhookNotFound,
)
from mailcore.model.actor import Actor
from mailcore.model.event import PLATFORM, Details, Event
from mailcore.model.forward_target import TargetUrl, read_target_url
from mailcore.model.ids import TenantId, UserId
from mailcore.model.secret import Secret
from mailcore.model.webhook import Webhook, event_name, read_types
from mailcore.services.events.audit import Audit, Change
from mailcore.services.events.events import Events
from mailcore.services.process.clock import now
from mailcore.services.trust.sealing import Sealing
from mailcore.store.directory import Directory

Post = Callable[[TargetUrl, Mapping[str, str], bytes], int]
"""Posts a body and returns the status; raises what `OutgoingClient.post` does."""

MOST: Final = 100
"""Of one tenant."""
ROUND_EVENTS: Final = 100
ROUND_S: Final = 20.0
"""So long one webhook is served before another is; an answer may take half of it."""
LEASE_S: Final = 60
IDLE_S: Final = 5.0
FIRST_WAIT_S: Final = 10.0
LONGEST_WAIT_S: Final = 3 * 3600.0
GIVE_UP_AFTER: Final = 20
"""Failures one after the other: about a day and a half."""
GONE: Final = 410
SECRET_BYTES: Final = 32

log = logging.getLogger(__name__)


class Webhooks:
    """Keeps webhooks, and delivers what is due."""

    def __init__(self, directory: Directory, events: Events, sealing: Sealing, audit: Audit) -> None:
        self._directory = directory
        self._events = events
        self._sealing = sealing
        self._audit = audit

    # -- by hand ----------------------------------------------------------------------------

    def create(
        self, actor: Actor, tenant_id: TenantId | None, user_id: UserId | None, types: Sequence[str], url: str
    ) -> tuple[Webhook, Secret]:
        """Tell an address of a tenant's events, or of everybody's, from now on; return the key of the signatures.

        Raises:
            ValueInvalid: a type is none, or the address is not one of https.
            UserNotFound: there is no such user of this tenant.
            TooManyWebhooks: there are as many as may be.
        """
        wanted = read_types(types)
        target = read_target_url(url)
        if target.scheme != "https":
            raise ValueInvalid(f"url: must begin with https://, not {target.scheme}://")
        if user_id is not None:
            user = self._directory.users.find(user_id)
            if user is None or tenant_id not in {None, user.tenant_id}:
                raise UserNotFound(user_id)
            tenant_id = user.tenant_id
        owner = PLATFORM if tenant_id is None else tenant_id
        if self._directory.webhooks.count(owner) >= MOST:
            raise TooManyWebhooks(f"at most {MOST} webhooks of one owner")
        hook_id, secret = ObjectId(), Secret(secrets.token_hex(SECRET_BYTES).encode())
        sealed = self._sealing.seal(_purpose(hook_id), secret.reveal())
        with self._change(actor, "webhook.created", owner, {"types": wanted, "place": target.place}):
            cursors = {str(each): self._events.end(each) for each in self._streams(owner)}
            hook = Webhook(hook_id, owner, user_id, wanted, url, sealed, now(), cursors)
            self._directory.webhooks.insert(hook)
        return hook, secret

    def search(
        self,
        tenant_id: TenantId | None,
        user_id: UserId | None,
        event_type: str,
        *,
        after: ObjectId | None,
        before: ObjectId | None,
        limit: int,
    ) -> tuple[list[Webhook], int]:
        """Return webhooks of a tenant, or all, nearest to an id first, and how many in all; two round trips."""
        hooks = self._directory.webhooks
        found = hooks.search(tenant_id, user_id, event_type, after=after, before=before, limit=limit)
        return found, hooks.count(tenant_id, user_id, event_type)

    def get(self, hook_id: ObjectId) -> Webhook:
        """Return one, whosever it is.

        Raises:
            WebhookNotFound: there is none such.
        """
        found = self._directory.webhooks.find_id(hook_id)
        if found is None:
            raise WebhookNotFound(hook_id)
        return found

    def delete(self, actor: Actor, hook: Webhook) -> None:
        """Tell it nothing any more.

        Raises:
            WebhookNotFound: it is gone.
        """
        with self._change(actor, "webhook.deleted", hook.tenant_id, {"webhook": str(hook.id)}):
            if not self._directory.webhooks.delete(hook.tenant_id, hook.id):
                raise WebhookNotFound(hook.id)

    # -- delivery ---------------------------------------------------------------------------

    def deliver_due(self, actor: Actor, post: Post, *, for_s: float = 50.0) -> int:
        """Deliver what is due, for about so long; return how many events were taken."""
        ends_at = time.monotonic() + for_s
        taken = 0
        while time.monotonic() < ends_at and (hook := self._directory.webhooks.claim_due(LEASE_S)) is not None:
            taken += self._deliver(actor, hook, post)
        return taken

    def _deliver(self, actor: Actor, hook: Webhook, post: Post) -> int:
        """Serve one for a while, and say when it is due again."""
        taken, problem = 0, ""
        try:
            for tenant_id, event, cursor in self._waiting(hook):
                if event is not None:
                    problem = self._post(hook, event, post)
                    if problem:
                        break
                    taken += 1
                self._directory.webhooks.advance(hook, {str(tenant_id): cursor})
        except Unavailable as away:
            log.warning("webhook.stream_away", extra={"webhook": str(hook.id), "reason": type(away).__name__})
        if not problem:
            self._directory.webhooks.settle(hook, 0, IDLE_S, None)
            return taken
        failures = (0 if taken else hook.failures) + 1
        log.info("webhook.failed", extra={"webhook": str(hook.id), "failures": failures, "reason": problem})
        is_over = failures >= GIVE_UP_AFTER or problem == str(GONE)
        if is_over:
            details: Details = {"webhook": str(hook.id), "reason": problem, "failures": failures}
            with self._change(actor, "webhook.given_up", hook.tenant_id, details):
                self._directory.webhooks.settle(hook, failures, 0, now())
        else:
            self._directory.webhooks.settle(hook, failures, wait_s(failures), None)
        return taken

    def _waiting(self, hook: Webhook) -> Iterator[tuple[TenantId, Event | None, str]]:
        """Yield what is to be told, with where its stream stands after it; None where only the place moves on."""
        ends_at = time.monotonic() + ROUND_S / 2
        for tenant_id in self._streams(hook.tenant_id):
            cursor = hook.cursors.get(str(tenant_id), "")
            while (page := self._events.read(tenant_id, cursor, ROUND_EVENTS)).events:
                for place, event in self._events.places(cursor, page):
                    if hook.wants(event.kind, event.user_id):
                        yield tenant_id, event, place
                        if time.monotonic() > ends_at:
                            return
                cursor = page.cursor
                yield tenant_id, None, cursor

    def _post(self, hook: Webhook, event: Event, post: Post) -> str:
        """Post one event; return what went wrong, "" if it was taken."""
        target = read_target_url(hook.url)
        body = orjson.dumps(_content(event))
        secret = self._sealing.open(_purpose(hook.id), hook.sealed_secret)
        fields = {
            "Content-Type": "application/json",
            "User-Agent": "Eider",
            "X-Eider-Event-Id": event_id(event),
            "X-Eider-Webhook": str(hook.id),
            "X-Eider-Signature": signature(secret, int(time.time()), body),
        }
        try:
            status = post(target, fields, body)
        except (Unavailable, DestinationForbidden) as error:
            return f"{type(error).__name__}: {error}"
        except MailError as error:
            return type(error).__name__
        return "" if 200 <= status < 300 else str(status)

    def _streams(self, owner: TenantId) -> Iterator[TenantId]:
        """Yield whose streams an owner's webhooks are told of: the platform's of everybody's."""
        yield owner
        if owner == PLATFORM:
            after = None
            while page := self._directory.tenants.list_all(after):
                for tenant in page:
                    yield tenant.id
                after = page[-1].id

    def _change(self, actor: Actor, kind: str, owner: TenantId, wanted: Details) -> AbstractContextManager[Change]:
        if owner == PLATFORM:
            return self._audit.of_platform(actor, kind, wanted)
        return self._audit.of_tenant(actor, kind, owner, wanted)


def signature(secret: bytes, at: int, body: bytes) -> str:
    """Return `t=<seconds>,v1=<hex>`: HMAC-SHA256 of the seconds, a full stop and the body, by the webhook's secret."""
    mac = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def event_id(event: Event) -> str:
    """Return the id of an event: the same however often it is told."""
    return f"{event.tenant_id}:{event.shard or 'directory'}:{event.number}"


def wait_s(failures: int) -> float:
    """Return how long to wait after so many failures one after the other."""
    return min(FIRST_WAIT_S * 2.0 ** min(failures - 1, 20), LONGEST_WAIT_S)


def _content(event: Event) -> dict[str, object]:
    found: dict[str, object] = {
        "id": event_id(event),
        "ev": event_name(event.kind),
        "kind": event.kind,
        "time": int(event.at.timestamp() * 1000),
        "tenant": str(event.tenant_id),
        "outcome": event.outcome.value,
        "actor": {"kind": event.actor.kind.value, "identity": event.actor.identity, "door": event.actor.door.value},
        "details": dict(event.details),
    }
    if event.user_id is not None:
        found["user"] = str(event.user_id)
    return found


def _purpose(hook_id: ObjectId) -> str:
    return f"webhook:{hook_id}"
