"""Deliveries to users with rules, forwards and automatic replies, while servers and the primary are killed.

Each acknowledged message is where its rules put it, once; what is sent because of it is queued once (P1, P3, F10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import imapclient
import pytest

from infra.devstack.stack import Stack
from mailcore.model.actor import SYSTEM
from mailcore.model.filter import Query, RuleAction, RuleContent, of_user
from mailcore.model.ids import UserId
from mailcore.model.outbound import Reason
from tests.chaos.invariants import check_ledger
from tests.chaos.ledger import Outcome
from tests.chaos.load import HEADER, Load, Login
from tests.chaos.rig import Rig, under_load

SCRIPT = 'require ["fileinto","copy","mailbox","imap4flags"]; addflag "\\\\Flagged"; fileinto :copy :create "Copies";'


class Ruled:
    """The users of the first shard and what they have set up."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.copying, self.forwarding, self.away = rig.on("a")
        services = rig.services
        copying, forwarding, away = map(self.user_id, (self.copying, self.forwarding, self.away))
        services.scripts.put(SYSTEM, copying, "main", SCRIPT)
        services.scripts.activate(SYSTEM, copying, "main")
        services.filters.create(
            SYSTEM, of_user(forwarding), RuleContent(Query(), RuleAction(targets=("one@else.example",)))
        )
        services.users.set_settings(SYSTEM, forwarding, {"targets": ("two@else.example",)})
        services.users.set_limit(SYSTEM, forwarding, "forwards_per_day", 0)
        services.autoreplies.set(SYSTEM, away, {"is_on": True, "text": "away"})
        services.filters.create(SYSTEM, of_user(away), RuleContent(Query(), RuleAction(seen=True)))

    def user_id(self, login: Login) -> UserId:
        return self.rig.services.addresses.get(login.address).user_id

    def queued(self, login: Login, reason: Reason) -> Counter[str]:
        """How often each message, by its ledger id, is queued because of a reason."""
        user_id = self.user_id(login)
        documents = (
            self.rig.services.placement.home(user_id)
            .shard.hot["outbound"]
            .find(
                {
                    "_id": {"$gte": user_id.binary + bytes(12), "$lte": user_id.binary + b"\xff" * 12},
                    "reason": reason.value,
                }
            )
        )
        return Counter(document["message_id"].strip("<>").partition("@")[0] for document in documents)

    def copies(self) -> Counter[str]:
        """How often each message is in the mailbox that a script copies to."""
        with self.rig.reader(self.copying) as client:
            if not client.folder_exists("Copies"):
                return Counter()
            client.select_folder("Copies", readonly=True)
            fetched = client.fetch(client.search("ALL"), [f"BODY.PEEK[HEADER.FIELDS ({HEADER})]"])
        values = (value for items in fetched.values() for key, value in items.items() if key.startswith(b"BODY"))
        return Counter(value.decode().partition(":")[2].strip() for value in values)

    def check(self) -> Counter[str]:
        """Compare every mailbox and the queue with what was acknowledged."""
        ledger = self.rig.ledger
        port = self.rig.ports("imap")[0]
        counted = check_ledger("127.0.0.1", port, self.rig.logins, ledger, self.rig.load)
        acked = {one.ledger_id: one.recipient for one in ledger.of_outcome(Outcome.ACKED)}
        for login, found in (
            (self.copying, self.copies()),
            (self.forwarding, self.queued(self.forwarding, Reason.FORWARD)),
        ):
            wanted = {ledger_id for ledger_id, to in acked.items() if to == login.address}
            missing = wanted - found.keys()
            assert not missing, f"{len(missing)} of {len(wanted)} are missing at {login.address}"
            twice = [ledger_id for ledger_id, count in found.items() if count != 1]
            assert not twice, f"copies of {twice[:3]} at {login.address}: done more than once"
            counted[login.address] = len(wanted)
        answers = sum(self.queued(self.away, Reason.AUTOREPLY).values())
        assert answers == 1, f"one sender was answered {answers} times"
        return counted


@pytest.fixture
def three_nodes(new_stack: Callable[..., Stack], tmp_path: Path) -> Iterator[Rig]:
    """Directory and shard A on a set of three nodes; shard B on one of its own."""
    with Rig(new_stack(nodes=3, databases=("main", "b-hot", "redis")), tmp_path, imap_processes=1) as rig:
        yield rig


def acked(load: Load) -> int:
    return len(load.ledger.of_outcome(Outcome.ACKED))


def run(rig: Rig, goal: int, kills: int) -> Counter[str]:
    """Deliver until so many are acknowledged, killing LMTP servers in turn, and the primary half-way."""
    ruled = Ruled(rig)
    lmtp = [server for server in rig.servers.values() if server.name.startswith("lmtp")]
    with under_load(rig, readers=1) as load:
        for number in range(kills):
            victim = lmtp[number % len(lmtp)]
            victim.kill()
            if number == kills // 2:
                before = rig.stack.primary()
                rig.stack.kill(before)
                load.wait_acked(10)
                rig.stack.restart(before)
            victim.start()
            load.wait_acked(max(10, goal // (2 * kills)))
        load.wait_acked(max(1, goal - acked(load)), timeout_s=240)
    assert not any(code.split("/")[-1].startswith("5") for code in load.answers), load.answers
    counted = ruled.check()
    assert counted["acked"] >= goal
    assert not rig.tracebacks(), rig.tracebacks()[:2]
    return counted


@pytest.mark.timeout(240)
def test_killed_servers_and_a_killed_primary_lose_and_repeat_nothing(three_nodes: Rig) -> None:
    """Promises P1, P3 and P12, faults F1, F10 and F11."""
    print(run(three_nodes, goal=100, kills=3))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_thousand_deliveries_under_kills_are_there_once(three_nodes: Rig) -> None:
    """The same, at length."""
    print(run(three_nodes, goal=1000, kills=12))


@pytest.mark.timeout(180)
def test_repeats_that_are_not_known_again_would_be_seen(new_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """Negative control: servers that die after all is done, and take the repeat for another message."""
    stack = new_stack(databases=("main", "redis"))
    faults = {"lmtp": "unknown-repeats,delivery.before_reply:9"}
    with Rig(stack, tmp_path, imap_processes=1, faults=faults) as rig:
        ruled = Ruled(rig)
        with under_load(rig, readers=1, warm=0) as load:
            for server in rig.servers.values():
                if server.name.startswith("lmtp"):
                    assert server.process is not None
                    assert server.process.wait(60) == -9
                    server.disarm()
                    server.start()
            load.wait_acked(20)
        with pytest.raises((AssertionError, imapclient.exceptions.IMAPClientError), match=r"copies of"):
            ruled.check()
