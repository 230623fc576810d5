"""Mail that comes in for tests of what becomes of it: delivered as an MTA would, and what is queued because of it."""

from __future__ import annotations

import itertools

from mailcore.errors import MailError
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.outbound import OutboundEntry
from mailcore.services import MailServices
from mailcore.services.inbound.delivery import DeliveryTarget
from tests.builders import MadeUser

MTA = Actor(ActorKind.MTA, Door.LMTP, "mx.example.net")
SENDER = "bob@outside.test"
_numbers = itertools.count(1)


def mail(to: str, *fields: str, sender: str = SENDER, body: str = "hello") -> bytes:
    """A message from an outside sender to one of ours, unlike every other."""
    number = next(_numbers)
    head = [f"From: {sender}", f"To: {to}", f"Subject: Lunch {number}", f"Message-ID: <{number}@outside.test>", *fields]
    return "\r\n".join([*head, "", body, ""]).encode()


def take(
    services: MailServices, raw: bytes, *addresses: str, sender: str = SENDER, ident: str | None = None
) -> list[MailError | None]:
    """Deliver to addresses; return the error of each."""
    targets = [
        DeliveryTarget(
            services.delivery.resolve(address, sender or None),
            f"Return-Path: <{sender}>\r\nDelivered-To: {address}\r\nReceived: from x by here; now\r\n".encode(),
        )
        for address in addresses
    ]
    return [result.error for result in services.delivery.deliver(raw, targets, ident, MTA, sender)]


def queued(services: MailServices, user: MadeUser) -> list[OutboundEntry]:
    """What waits to go out on a user's behalf, oldest first."""
    return list(reversed(services.outbound.list_of_user(user.user_id)))


def content(services: MailServices, entry: OutboundEntry) -> bytes:
    """The bytes of what is queued."""
    return b"".join(services.outbound.content(entry.user_id, entry.id).read())


def box(services: MailServices, user: MadeUser, name: str = "INBOX") -> list[bytes]:
    """Every message of a mailbox."""
    view = services.mailboxes.open(user.user_id, name)
    oids = [view.message_oid(row) for row in range(view.exists)]
    return [b"".join(found.read()) for found in services.content.open_many(user.user_id, oids)]


def count(services: MailServices, user: MadeUser, name: str = "INBOX") -> int:
    """How many messages a mailbox has."""
    return services.mailboxes.open(user.user_id, name).exists
