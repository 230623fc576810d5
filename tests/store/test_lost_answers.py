"""A write was carried out and its answer got lost: it is sent again, and what it wrote the first time stays whole."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.devstack.endpoints import ShardUris
from mailcore.errors import MailboxBusy
from mailcore.model.flags import SEEN, FlagOperation, FlagSet
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.lines import Lines
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import Tier
from tests.builders import OPERATOR, make_services, make_user
from tests.store.mailbox.conftest import Engine, make_row, same


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, ShardUris]) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@pytest.fixture
def engine(services: MailServices) -> Iterator[Engine]:
    made = Engine(services, make_user(services, shard="a").user_id)
    yield made
    for other in made.others:
        other.close()


@pytest.fixture
def lose_next(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Return `lose_next(command)`: its next answer gets lost on the way; the list says which were lost."""

    def install(name: str) -> list[str]:
        lost: list[str] = []
        run = Lines.run

        def losing(self: Lines, database: str, command: dict[str, Any], codec: Any, by: Any = None) -> Any:
            reply = run(self, database, command, codec, by)
            if lost or next(iter(command)) != name:
                return reply
            assert reply is not None, "carried out"
            lost.append(name)
            return None

        monkeypatch.setattr(Lines, "run", losing)
        return lost

    return install


def many(count: int = 300) -> list[NewRow]:
    return [make_row() for _ in range(count)]


def attached(data: bytes) -> bytes:
    head = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + base64.encodebytes(data).replace(b"\n", b"\r\n")


def test_large_append_whose_answer_is_lost_keeps_its_rows(
    engine: Engine, lose_next: Callable[[str], list[str]]
) -> None:
    """Its rows lie in a row block, which the entry of the first sending names."""
    engine.add(1)
    lost = lose_next("findAndModify")
    commit = engine.add(rows=many())
    assert lost
    assert commit.first_uid == 2
    assert engine.fresh().exists == 301
    engine.fold()
    assert engine.fresh().exists == 301


def test_large_flag_change_and_expunge_whose_answers_are_lost_are_done_once(
    engine: Engine, lose_next: Callable[[str], list[str]]
) -> None:
    engine.add(rows=many(1000))
    odd = UidSet.of(range(1, 1000, 2))
    assert lose_next("findAndModify") == []
    engine.services.messages.store(engine.user_id, OPERATOR, engine.inbox, odd, FlagOperation.ADD, FlagSet(SEEN))
    assert engine.fresh().unseen == 500
    lost = lose_next("findAndModify")
    result = engine.services.messages.expunge(engine.user_id, OPERATOR, engine.inbox, odd, only_deleted=False)
    assert lost
    assert result.expunged == odd
    assert engine.fresh().exists == 500
    engine.fold()
    assert same(engine.fresh(), engine.services.mailboxes.refresh(engine.user_id, engine.inbox))


def test_appended_message_whose_answer_is_lost_keeps_its_attachment(
    engine: Engine, lose_next: Callable[[str], list[str]]
) -> None:
    """The second sending finds the first one's message: it is the same message with the same references."""
    data = os.urandom(60_000)
    raw = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(
        data
    ).replace(b"\n", b"\r\n")
    lost = lose_next("insert")
    engine.services.messages.append(engine.user_id, OPERATOR, "INBOX", [NewMessage(raw)])
    assert lost
    home = engine.services.placement.home(engine.user_id)
    collector_run = engine.services.retention.sweep_blobs("a", older_than_s=-1)
    assert collector_run.blobs == 0
    assert home.shard.blob_refs.exists(home.tenant_id, blob_address(home.tenant_key, data))
    content = engine.services.content.open(engine.user_id, engine.fresh().message_oid(0))
    assert b"".join(content.read()) == raw


@pytest.mark.parametrize("repeats", range(1, 5))
def test_attachment_whose_answers_are_lost_one_by_one_can_be_read(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, repeats: int
) -> None:
    """References, pin, chunks, message: whichever answer gets lost, it is sent again and nothing is stored twice."""
    data = os.urandom(60_000)
    run, writes = Lines.run, itertools.count(1)

    def losing(self: Lines, database: str, command: dict[str, Any], codec: Any, by: Any = None) -> Any:
        reply = run(self, database, command, codec, by)
        return None if {"insert", "update"} & command.keys() and next(writes) == repeats else reply

    monkeypatch.setattr(Lines, "run", losing)
    raw = attached(data)
    engine.services.messages.append(engine.user_id, OPERATOR, "INBOX", [NewMessage(raw)])
    assert next(writes) > repeats
    home = engine.services.placement.home(engine.user_id)
    address = blob_address(home.tenant_key, data)
    assert [address for _, address, _ in home.shard.chunks.generations(Tier.COLD)].count(address) == 1
    content = engine.services.content.open(engine.user_id, engine.fresh().message_oid(-1))
    assert b"".join(content.read()) == raw


def test_full_log_that_nobody_can_fold_makes_writers_give_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not wait for ever: whoever sent the message keeps it and comes again."""
    key = engine.user_id.binary + engine.inbox.binary
    engine.add(1)
    engine.stores.hot["mailboxes"].update_one({"_id": key}, {"$inc": {"log_bytes": 1 << 20}})
    monkeypatch.setattr("mailcore.store.mailbox.fold.Fold.run", lambda _: False)
    with pytest.raises(MailboxBusy):
        engine.add(1)
