"""Many stateless writers, killed at random steps, on the same mailboxes: all stays true (promises P4 and P7)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mailcore.model.ids import UserId
from mailcore.services import MailServices
from mailcore.store.mailbox.fsck import check_mailbox
from mailcore.store.mailbox.loading import load_view
from mailcore.store.mailbox.view import MailboxView
from tests.builders import make_services, make_user
from tests.store.fuzz_worker import MAILBOXES, Config
from tests.waiting import wait_until

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: Any) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


class Fuzz:
    """Writers and checkers on the mailboxes of one user."""

    def __init__(self, services: MailServices, directory_uri: str, folder: Path, sabotage: str = "") -> None:
        self.services = services
        self.user_id: UserId = make_user(services, shard="a").user_id
        self._uri = directory_uri
        self._folder = folder
        self._sabotage = sabotage
        self._stop = folder / "stop"
        self._number = 0
        self.kills = 0
        self._ended: dict[int, int] = {}
        self._begun: dict[str, int] = {}
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.store.fuzz_worker"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._nursery.stdout is not None
        for line in self._nursery.stdout:
            one, other = json.loads(line)
            if isinstance(one, str):
                self._begun[one] = other
            else:
                self._ended[one] = other

    def start(self, role: str, death: float = 0.0) -> int:
        """Start a process; return its id."""
        self._number += 1
        path = self._folder / f"{role}-{self._number}.json"
        Config(
            role, self._uri, str(self.user_id), str(path.with_suffix(".journal")), str(self._stop), self._number, death,
            self._sabotage,
        ).write(path)  # fmt: skip
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(f"{path}\n".encode())
        self._nursery.stdin.flush()
        return wait_until(lambda: self._begun.get(str(path)))

    def run(
        self, seconds: float, changes: int, writers: int, checkers: int, death: float, kill_every_s: float | None
    ) -> None:
        """Keep so many processes alive for a while, and until so much happened; one that died is replaced.

        A slow machine gets up to eight times as long.
        """
        writing = [self.start("writer", death) for _ in range(writers)]
        checking = [self.start("checker") for _ in range(checkers)]
        dice = random.Random(1)
        begun = time.monotonic()
        until = begun + 8 * seconds + 30
        kill_at = time.monotonic() + 1.0
        while time.monotonic() < until and not any(pid in self._ended for pid in checking):
            time.sleep(0.02)
            if time.monotonic() > begun + seconds and self.acknowledged() >= changes:
                break
            if kill_every_s is not None and time.monotonic() >= kill_at:
                kill_at = time.monotonic() + kill_every_s
                _kill(dice.choice(writing))
            for index, pid in enumerate(writing):
                if pid in self._ended:
                    if self._ended[pid] != -signal.SIGKILL:
                        until = 0.0
                        break
                    self.kills += 1
                    writing[index] = self.start("writer", death)
        self._stop.touch()
        until = time.monotonic() + 60
        while any(pid not in self._ended for pid in writing + checking):
            if time.monotonic() > until:
                self._say_where(pid for pid in writing + checking if pid not in self._ended)
            time.sleep(0.02)
        self.close()
        if any(self._ended[pid] not in {0, -signal.SIGKILL} for pid in writing + checking):
            stderr = max(self._folder.glob("*.stderr"), key=lambda path: path.stat().st_size).read_text()
            raise AssertionError(stderr[-3000:])

    def _say_where(self, stuck: Iterable[int]) -> NoReturn:
        for pid in stuck:
            os.kill(pid, signal.SIGUSR1)
        time.sleep(1)
        raise AssertionError("\n".join(path.read_text()[-2000:] for path in self._folder.glob("*.stderr")))

    def close(self) -> None:
        """End the nursery and whatever is left of its children."""
        for pid in self._begun.values():
            if pid not in self._ended:
                _kill(pid)
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        self._nursery.wait(30)

    def events(self, name: str) -> Iterator[dict[str, Any]]:
        """Every line of that name in any journal; the last line of a killed process may be cut."""
        begins = b'{"event": "%s"' % name.encode()
        for path in self._folder.glob("*.journal"):
            for line in path.read_bytes().split(b"\n"):
                if line.startswith(begins) and line.endswith(b"}"):
                    yield json.loads(line)

    def acknowledged(self) -> int:
        """Number of changes that were acknowledged."""
        return sum(1 for event in ("append", "store", "expunge", "copy", "move") for _ in self.events(event))

    # -- what must be so ------------------------------------------------------------------------

    def check(self) -> int:
        """Compare what was acknowledged with what is there; return the number of acknowledged changes."""
        faults = list(self.events("fault"))
        assert not faults, faults
        messages, stores = self.services.messages, self.services.placement.home(self.user_id).shard
        ids = {name: self.services.mailboxes.find(self.user_id, name).id for name in MAILBOXES}
        for _ in range(2):  # a fold may finish a move, which changes another mailbox
            for mailbox_id in ids.values():
                messages.fold(self.user_id, mailbox_id)
        views = {name: load_view(stores, self.user_id, mailbox_id) for name, mailbox_id in ids.items()}
        for name, mailbox_id in ids.items():
            assert check_mailbox(stores, self.user_id, mailbox_id) == [], name
            head = stores.heads.read(self.user_id, mailbox_id)
            assert head is not None
            assert head.state.log == ()
        purged = self._purged(views)
        self._check_uids(views, purged)
        self._check_messages(views, purged)
        return self.acknowledged()

    def _purged(self, views: dict[str, MailboxView]) -> dict[str, dict[int, str]]:
        stores = self.services.placement.home(self.user_id).shard
        names = {view.mailbox_id: name for name, view in views.items()}
        purged: dict[str, dict[int, str]] = {name: {} for name in MAILBOXES}
        for block in stores.purge.of_user(self.user_id):
            for row, uid in enumerate(block.rows.uids.tolist()):
                assert uid not in purged[names[block.mailbox_id]], "purged twice"
                purged[names[block.mailbox_id]][uid] = block.message_oid(row).hex()
        return purged

    def _check_uids(self, views: dict[str, MailboxView], purged: dict[str, dict[int, str]]) -> None:
        """Every UID given is live or gone, never both; appended - expunged = left."""
        stores = self.services.placement.home(self.user_id).shard
        for name, view in views.items():
            gone = set(stores.vanished.since(self.user_id, view.mailbox_id, 0))
            live = set(view.uids.tolist())
            assert not live & gone, (name, "live and vanished")
            if not stores.heads.vanished_floor(self.user_id, view.mailbox_id):
                assert live | gone == set(range(1, view.uid_next)), (name, "neither live nor vanished")
            assert not live & purged[name].keys(), (name, "live and purged")
        for event in self.events("expunge"):
            view = views[event["mailbox"]]
            assert not set(event["uids"]) & set(view.uids.tolist()), "expunged and there"
        for event in self.events("move"):
            assert not set(event["source"]) & set(views[event["mailbox"]].uids.tolist()), "moved and there"

    def _check_messages(self, views: dict[str, MailboxView], purged: dict[str, dict[int, str]]) -> None:
        """Acknowledged appends are there exactly once under the UID that was told; copies add to them, moves do not."""
        at: dict[str, dict[int, str]] = defaultdict(dict)
        for name, view in views.items():
            at[name] = dict(zip(view.uids.tolist(), (bytes(oid).hex() for oid in view.message_oids), strict=True))
            at[name] |= purged[name]
        live = Counter(bytes(oid).hex() for view in views.values() for oid in view.message_oids)
        found = Counter(oid for mailbox in at.values() for oid in mailbox.values())
        least: Counter[str] = Counter()
        most: Counter[str] = Counter()
        modseqs: set[tuple[str, int]] = set()
        for event in self.events("append?"):
            most.update(event["oids"])
        for event in self.events("append"):
            least.update(event["oids"])
            place = event["mailbox"], event["modseq"]
            assert place not in modseqs, "one place in the log for two changes"
            modseqs.add(place)
            self._check_told(at[event["mailbox"]], event["oids"], range(event["uid"], event["uid"] + 9999))
        for event in self.events("copy?"):
            most.update(event["oids"])
        for event in self.events("copy"):
            least.update(event["oids"])
            self._check_told(at[event["mailbox"]], event["oids"], event["uids"])
        for oid, count in least.items():
            assert found[oid] >= count, (oid, found[oid], count, "lost")
        for oid, count in live.items():  # a row may be expunged while a move has it in both mailboxes
            assert count <= most[oid], (oid, count, most[oid], "there more than once")

    @staticmethod
    def _check_told(mailbox: dict[int, str], oids: list[str], uids: Any) -> None:
        for oid, uid in zip(oids, uids, strict=False):
            assert mailbox.get(uid, oid) == oid, (uid, "another message than was told")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it died by itself, and has been buried
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def fuzz(services: MailServices, directory_uri: str, tmp_path: Path) -> Iterator[Callable[..., Fuzz]]:
    made: list[Fuzz] = []

    def new(sabotage: str = "") -> Fuzz:
        made.append(Fuzz(services, directory_uri, tmp_path, sabotage))
        return made[-1]

    yield new
    for each in made:
        each.close()


def test_writers_that_are_killed_at_random_lose_and_repeat_nothing(fuzz: Callable[..., Fuzz]) -> None:
    """Promise P7: dead at any fault point, a MOVE, COPY or EXPUNGE is there whole or not at all, never twice."""
    run = fuzz()
    run.run(seconds=8, changes=500, writers=6, checkers=1, death=0.001, kill_every_s=0.8)
    changes = run.check()
    print(f"{changes} changes, {run.kills} kills")
    assert changes >= 500
    assert run.kills >= 3


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_writers_for_long(fuzz: Callable[..., Fuzz]) -> None:
    run = fuzz()
    run.run(seconds=120, changes=10_000, writers=6, checkers=2, death=0.0005, kill_every_s=0.5)
    changes = run.check()
    print(f"{changes} changes, {run.kills} kills")
    assert changes >= 10_000


@pytest.mark.parametrize("sabotage", ["no-compare-and-set", "no-generation", "no-consequences", "no-keys"])
def test_a_fault_put_in_on_purpose_is_found(fuzz: Callable[..., Fuzz], sabotage: str) -> None:
    """Negative control of P4 and P7: one rule of the engine taken away, and the fuzz sees it."""
    run = fuzz(sabotage)
    with pytest.raises(AssertionError):
        run.run(seconds=1, changes=300, writers=4, checkers=1, death=0.0, kill_every_s=None)
        run.check()
