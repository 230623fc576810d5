"""A relay of this process on real databases, and an outside that does what a test says."""

from __future__ import annotations

import email
import email.message
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from mailcore.model.ids import UserId
from mailcore.model.outbound import (
    NewOutbound,
    OutboundEntry,
    OutboundRecipient,
    QueueId,
    Reason,
    RecipientStatus,
)
from mailcore.relay import client
from mailcore.relay.handling import Handling, Parts
from mailcore.relay.server import background
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.stubs.outside import Outside, outside

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MESSAGE = b"From: ann@here.test\r\nTo: bob@else.test\r\nSubject: Hello\r\nMessage-ID: <1@here.test>\r\n\r\nHello\r\n"


@dataclass
class Relaying:
    """What a test of the relay works with; `run` does what a relay process would do now."""

    services: MailServices
    world: Outside
    user: MadeUser
    parts: Parts

    def send(
        self,
        *to: str | OutboundRecipient,
        message: bytes = MESSAGE,
        reverse_path: str | None = None,
        key: bytes | None = None,
        user: MadeUser | None = None,
        run: bool = True,
        reason: Reason = Reason.SUBMISSION,
        **more: Any,
    ) -> QueueId:
        sender = user or self.user
        new = NewOutbound(
            user_id=sender.user_id,
            tenant_id=sender.tenant_id,
            reverse_path=sender.address if reverse_path is None else reverse_path,
            forward_paths=tuple(
                each if isinstance(each, OutboundRecipient) else OutboundRecipient(each) for each in to
            ),
            message=message,
            reason=reason,
            key=os.urandom(12) if key is None else key,
            header_message_id="<1@here.test>",
            **more,
        )
        queue_id = self.services.queueing.enqueue(new, OPERATOR)
        if run:
            self.run()
        return queue_id

    def run(self) -> int:
        """Handle everything that is due, also what comes due by that; return how many leases it took.

        Then connections have waited long enough for another message.
        """
        count = self._run()
        for line in self.parts.lines.over(0.0):
            self.parts.lines.end(line)
        return count

    def _run(self) -> int:
        count = 0
        while True:
            claims = [self.parts.work.claim(shard) for shard in self.services.placement.shards()]
            for claim in filter(None, claims):
                count += 1
                Handling(self.parts, claim, one_after_the_other).run()
            if not any(claims):
                return count

    def entry(self, queue_id: QueueId, user: MadeUser | None = None) -> OutboundEntry:
        return self.services.outbound.get((user or self.user).user_id, queue_id)

    def recipient(self, queue_id: QueueId, number: int = 0) -> RecipientStatus:
        return self.entry(queue_id).recipients[number]

    def expire(self, queue_id: QueueId, user: MadeUser | None = None) -> None:
        """Let the entry's whole time be over, and the next try be due."""
        self._set(queue_id, {"expires_at": _LONG_AGO, "next_at": _LONG_AGO}, user)

    def age(self, queue_id: QueueId) -> None:
        """Let the entry be a day old, and the next try be due."""
        self._set(queue_id, {"created_at": _LONG_AGO, "next_at": _LONG_AGO, "recipients.0.due_at": _LONG_AGO}, None)

    def _set(self, queue_id: QueueId, fields: dict[str, Any], user: MadeUser | None) -> None:
        user_id = (user or self.user).user_id
        home = self.services.placement.home(user_id)
        key = user_id.binary + bytes.fromhex(queue_id)
        assert home.shard.hot["outbound"].update_one({"_id": key}, {"$set": fields}).matched_count == 1

    def inbox(self, user: MadeUser | None = None) -> list[bytes]:
        """Raw messages of a user's INBOX, oldest first."""
        user_id: UserId = (user or self.user).user_id
        view = self.services.mailboxes.open(user_id, "INBOX")
        oids = [oid.tobytes() for oid in view.message_oids]
        return [b"".join(content.read()) for content in self.services.content.open_many(user_id, oids)]

    def reports(self, user: MadeUser | None = None) -> list[Report]:
        return [Report(email.message_from_bytes(raw)) for raw in self.inbox(user) if b"multipart/report" in raw]

    def host_users_domain(self) -> str:
        """Let the user's domain be one whose mail comes here: reports reach the mailbox."""
        domain = self.user.address.rpartition("@")[2]
        self.world.dns.add(domain, "MX", "10 mx.eider.test.")
        return domain


@dataclass
class Report:
    """A report as a mail program reads it."""

    message: email.message.Message

    @property
    def fields(self) -> list[dict[str, str]]:
        """Of the message, then of each recipient."""
        part = self.part(1)
        blocks = part.get_payload()
        if isinstance(blocks, str):
            raw = part.get_payload(decode=True)
            assert isinstance(raw, bytes)
            blocks = [email.message_from_bytes(block) for block in raw.strip().split(b"\r\n\r\n")]
        assert isinstance(blocks, list)
        return [dict(block.items()) for block in blocks]

    @property
    def text(self) -> str:
        payload = self.part(0).get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode()

    def part(self, number: int) -> email.message.Message:
        parts = self.message.get_payload()
        assert isinstance(parts, list)
        found = parts[number]
        assert isinstance(found, email.message.Message)
        return found


def one_after_the_other(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside() as made:
        yield made


@pytest.fixture(scope="module")
def relay_services(
    directory_uri: str,
    shard_uris: dict[str, Any],
    redis_url: str,
    world: Outside,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MailServices]:
    services = make_services(
        directory_uri,
        shard_uris,
        redis_url,
        EIDER_HOSTNAME="relay.eider.test",
        EIDER_MX_HOSTS="mx.eider.test,mx2.eider.test",
        EIDER_DNS_TRUSTED="1",
        **world.environment(tmp_path_factory.mktemp("outside")),
    )
    yield services
    services.close()


def impatient(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.3) -> None:
    """Wait for no answer longer than so; for tests of silence, where it matters not which answer was too slow."""
    for name in ("GREETING_S", "COMMAND_S", "DATA_S", "BLOCK_S", "FINAL_S"):
        monkeypatch.setattr(client, name, seconds)


@pytest.fixture
def relaying(relay_services: MailServices, world: Outside) -> Relaying:
    """Nothing in the queue that another test left."""
    for shard in relay_services.placement.shards():
        shard.hot["outbound"].delete_many({})
    made = background(relay_services, relay_services.settings)
    relaying = Relaying(relay_services, world, make_user(relay_services, shard="a"), made._parts)
    relaying.host_users_domain()
    return relaying
