"""Many players on the same mailboxes, and what came of it.

    report = play(servers, user, seed="7", sessions=10, operations=60)
    assert report.faults == []

Every third player ends as a listener: it goes on idling while the others change mailboxes, and has to end
with their true state by what IDLE tells alone. The others ask once (NOOP). Seeds decide what each player does;
how the players meet is the machine's business.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.builders import MadeUser
from tests.system.agreement import Ledger, compare, read_truth
from tests.system.players import FLEETING, SHARED, Player
from tests.system.servers import RunningServer
from tests.system.strict_imap import StrictImap
from tests.system.tracked_session import TrackedSession

CONVERGE_S = 40.0
"""The poll finds within 35 s what no notice told."""
HANGS_AFTER_S = 90.0
"""Without a single operation."""


@dataclass(repr=False)
class Report:
    """What a run showed."""

    seed: str
    faults: list[str]
    counts: Counter[str]

    def __repr__(self) -> str:
        return f"seed {self.seed}: {dict(sorted(self.counts.items()))}; {len(self.faults)} faults {self.faults[:12]}"


def play(
    servers: Sequence[RunningServer],
    user: MadeUser,
    *,
    seed: str,
    sessions: int,
    operations: int = 0,
    seconds: float = 0.0,
    converge_s: float = CONVERGE_S,
) -> Report:
    """Play so many operations a session, or so many seconds; then compare every view with the truth."""
    ledger = Ledger()
    port = servers[0].port("imap")
    with StrictImap.signed_in(port, user) as client:
        for name in (*SHARED[1:], FLEETING[0]):
            client.ok(b"CREATE " + name.encode())
    players = [
        Player(lambda: TrackedSession(port, user, ledger.faults), ledger, seed, number) for number in range(sessions)
    ]
    _spread_out(servers, players)
    ends_at = time.monotonic() + seconds
    for player in players:
        share = 2 / 3 if player.is_listener else 1.0
        if seconds:
            begun = time.monotonic()
            player.may_go_on = lambda _, last=begun + (ends_at - begun) * share: time.monotonic() < last
        else:
            player.may_go_on = lambda done, most=int(operations * share): done < most
        player.start()
    for player in players:
        _await(player)
    with StrictImap.signed_in(port, user) as client:
        for name in SHARED:  # however slow they were: who idles by now has something to hear
            client.ok(b"SELECT " + name.encode())
            client.ok(b"UID STORE 1:* -FLAGS.SILENT (\\Flagged)")
            client.ok(b"UID STORE 1:* +FLAGS.SILENT (\\Flagged)")
            _append_last(client, name, ledger)
        truths = {truth.uid_validity: truth for truth in (read_truth(client, name) for name in SHARED)}
    compare(truths, [(player.session, player.is_listener) for player in players], ledger, converge_s)
    for player in players:
        ledger.counts["operations"] += player.operations
        ledger.counts["responses"] += player.session.responses
        ledger.counts["removals told"] += player.session.view.removals
        player.session.close()
    return Report(seed, ledger.faults, ledger.counts)


def _append_last(client: StrictImap, name: str, ledger: Ledger) -> None:
    """Add a message, so that something changes in a mailbox that is empty, or whose flags are as they will be."""
    code = client.append(b"Subject: last\r\n\r\n", name.encode()).code
    assert code is not None
    _, uid_validity, uid = code.split()
    ledger.bear((int(uid_validity), int(uid)), b"last")


def _await(player: Player) -> None:
    """Wait until a player rests, as long as it gets on, however slowly."""
    done = -1
    while not player.at_rest.wait(HANGS_AFTER_S):
        assert player.operations > done, f"player {player.number} hangs"
        done = player.operations


def _spread_out(servers: Sequence[RunningServer], players: Sequence[Player]) -> None:
    """The kernel chooses the process of a connection: connect again until each has its share."""
    for player in itertools.islice(itertools.cycle(players), 100 * len(players)):
        held = [server.metric('eider_connections_open{server="imap"}') for server in servers]
        if min(held) >= max(1, len(players) // 3):
            return
        player.connect_anew()
    raise AssertionError(f"connections are not spread: {held}")
