"""What a process does beside serving goes on whatever happens to it: sessions end, limits hold, sign-ins are logged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import StoreUnavailable
from mailcore.model.access import Protocol
from mailcore.model.reputation import Fate
from mailcore.model.tally import Counted
from mailcore.services import MailServices
from mailcore.services.accounts import auth_log, connections, sessions, usage
from mailcore.services.accounts.auth_log import AuthLog
from mailcore.services.accounts.connections import Connections
from mailcore.services.accounts.login_guard import Attempt
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.accounts.usage import Usage
from mailcore.services.outbound import reputation
from mailcore.services.outbound.reputation import Reputation
from mailcore.services.process import background
from mailcore.services.tenants import tallies
from mailcore.services.tenants.tallies import Tallies
from mailcore.store.user.tallies import TallyRows
from tests.builders import make_services, make_user
from tests.waiting import wait_until

PARTS: dict[str, tuple[type, str]] = {
    "lease": (Connections, "beat"),
    "traffic": (Usage, "flush"),
    "sign-ins": (AuthLog, "flush"),
    "sessions": (Sessions, "poll"),
}


@pytest.fixture
def rounds(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Counter[str]]:
    """How often each part came round; its first time it fails. They wait for hardly anything."""
    counted: Counter[str] = Counter()
    for module, name in (
        (connections, "BEAT_S"),
        (usage, "FLUSH_S"),
        (auth_log, "FLUSH_S"),
        (sessions, "POLL_S"),
    ):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(background, "BEGIN_ANEW_S", 0.05)
    for part, (owner, name) in PARTS.items():
        monkeypatch.setattr(owner, name, failing_once(part, getattr(owner, name), counted))
    services = make_services(directory_uri, shard_uris, redis_url)
    services.start(lambda work: threading.Thread(target=work, daemon=True).start())
    ended = threading.Event()
    noting = threading.Thread(target=note_sign_ins, args=(services, ended))
    noting.start()
    yield counted
    ended.set()
    noting.join()
    services.close()


def note_sign_ins(services: MailServices, ended: threading.Event) -> None:
    """Sign-ins are written when there are some; these are of nobody's."""
    attempt = Attempt("nobody@example.test", Protocol.IMAP, "192.0.2.1", ObjectId())
    while not ended.wait(0.02):
        services.auth_log.note(attempt, "wrong password")


def failing_once(part: str, real: Callable[..., Any], counted: Counter[str]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        counted[part] += 1
        if counted[part] == 1:
            raise KeyError(part)
        return real(*arguments, **named)

    return call


@pytest.mark.parametrize("part", PARTS)
def test_a_fault_that_nobody_foresaw_ends_no_work(rounds: Counter[str], part: str) -> None:
    wait_until(
        lambda: rounds[part] >= 3 and all(rounds[other] for other in PARTS),
        said=lambda: f"{part} has ended: {rounds}",
    )


COUNTS: dict[str, tuple[type, Any, Callable[[MailServices, Any], None]]] = {
    "tallies": (Tallies, tallies, lambda services, user: services.tallies.add(user.tenant_id, Counted.SENT)),
    "reputation": (
        Reputation, reputation, lambda services, user: services.reputation.note(user.tenant_id, user.user_id, Fate.SENT)
    ),
}  # fmt: skip


@pytest.mark.parametrize("part", COUNTS)
def test_who_counts_wakes_for_what_was_counted_and_for_nothing_else(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    owner, module, count = COUNTS[part]
    written = flushes(monkeypatch, owner, module)
    services = make_services(directory_uri, shard_uris, redis_url)
    user = make_user(services)
    getattr(services, part).start(lambda work: threading.Thread(target=work, daemon=True).start())
    for number in (1, 2):
        assert not threading.Event().wait(module.FLUSH_S * 5)
        assert len(written) == number - 1
        count(services, user)
        wait_until(lambda number=number: len(written) == number, said=lambda: written)
    services.close()


def test_what_could_not_be_written_is_tried_again_without_anything_new(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = flushes(monkeypatch, Tallies, tallies)
    real, failed = TallyRows.put, threading.Event()

    def away_once(self: TallyRows, *arguments: Any) -> Any:
        if failed.is_set():
            return real(self, *arguments)
        failed.set()
        raise StoreUnavailable("away")

    monkeypatch.setattr(TallyRows, "put", away_once)
    services = make_services(directory_uri, shard_uris, redis_url)
    user = make_user(services)
    services.tallies.start(lambda work: threading.Thread(target=work, daemon=True).start())
    services.tallies.add(user.tenant_id, Counted.SENT)
    wait_until(lambda: written == [0, 1], said=lambda: written)
    services.close()


def flushes(monkeypatch: pytest.MonkeyPatch, owner: type, module: Any) -> list[Any]:
    """What each flush returned, of parts that wait for hardly anything."""
    monkeypatch.setattr(module, "FLUSH_S", 0.05)
    returned: list[Any] = []
    real: Callable[[Any], Any] = vars(owner)["flush"]
    monkeypatch.setattr(owner, "flush", lambda self: returned.append(real(self)))
    return returned
