"""Several messages over one connection: each its own transaction, never on another way than a new one would go."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from mailcore.model.limits import OutboundLimits
from mailcore.model.outbound import QueueId, RecipientState
from mailcore.model.secret import Secret
from mailcore.relay import lines as lines_module
from mailcore.relay.lines import Hold, Lines
from mailcore.relay.routes import Route
from tests.builders import OPERATOR, MadeUser, make_user
from tests.relay.conftest import MESSAGE, Relaying
from tests.stubs.outside import Behaviour, MailExchanger

SENT, QUEUED = RecipientState.SENT, RecipientState.QUEUED
LIMITS = OutboundLimits()


def queue(relaying: Relaying, number: int, domain: str, **more: Any) -> list[QueueId]:
    """Queue messages that differ."""
    return [
        relaying.send(f"bob{each}@{domain}", message=MESSAGE + b"%d\r\n" % each, run=False, **more)
        for each in range(number)
    ]


def with_limits(relaying: Relaying, **changes: int) -> Relaying:
    lines = Lines(relaying.services.slots, replace(LIMITS, **changes))
    return replace(relaying, parts=replace(relaying.parts, lines=lines))


def states(relaying: Relaying, queue_ids: list[QueueId]) -> list[RecipientState]:
    return [relaying.recipient(queue_id).state for queue_id in queue_ids]


def test_one_connection_carries_them_all(relaying: Relaying) -> None:
    """One greeting, one handshake; RSET before each further one; every octet as it was."""
    exchanger = relaying.world.domain("reuse.test", Behaviour(tls=relaying.world.tls("mx.reuse.test")))
    queue_ids = queue(relaying, 10, "reuse.test")
    relaying.run()
    assert states(relaying, queue_ids) == [SENT] * 10
    assert exchanger.connections == 1
    one = ["MAIL", "RCPT", "DATA"]
    assert exchanger.verbs == ["EHLO", "STARTTLS", "EHLO", *one, *(["RSET", *one] * 9), "QUIT"]
    assert all(taken.is_tls for taken in exchanger.taken)
    pairs = sorted((taken.recipients, taken.message) for taken in exchanger.accepted)
    assert pairs == [((f"TO:<bob{n}@reuse.test>",), MESSAGE + b"%d\r\n" % n) for n in range(10)]


@pytest.mark.parametrize(("limits", "connections"), [({"connection_messages": 3}, 4), ({"connection_age_s": 0}, 10)])
def test_so_many_and_so_long(relaying: Relaying, limits: dict[str, int], connections: int) -> None:
    exchanger = relaying.world.domain(f"cap{connections}.test")
    queue(relaying, 10, f"cap{connections}.test")
    with_limits(relaying, **limits).run()
    assert (len(exchanger.accepted), exchanger.connections) == (10, connections)


def test_one_that_waits_too_long_is_ended(relaying: Relaying) -> None:
    """Its slot is free with it."""
    exchanger = relaying.world.domain("idle.test")
    clock = count(0.0, 1.0)
    lines = Lines(relaying.services.slots, LIMITS, lambda: next(clock))
    replace(relaying, parts=replace(relaying.parts, lines=lines))._run()
    queue(relaying, 1, "idle.test")
    replace(relaying, parts=replace(relaying.parts, lines=lines))._run()
    assert len(lines) == 1
    assert [slots_of(relaying, "idle.test"), exchanger.open_now] == [1, 1]
    found = [line for _ in range(LIMITS.connection_idle_s) for line in lines.over()]
    assert (len(found), len(lines)) == (1, 0)
    lines.end(found[0])
    assert slots_of(relaying, "idle.test") == 0


def slots_of(relaying: Relaying, destination: str) -> int:
    """How many slots this process holds."""
    return len(relaying.services.slots._own.get(destination, ()))


ENDS = [
    pytest.param({"reset": None}, id="closed while it waited"),
    pytest.param({"reset": "421 4.7.0 enough"}, id="no more over this one"),
    pytest.param({"reset": "502 5.5.1 what?"}, id="no RSET"),
]


@pytest.mark.parametrize("behaviour", ENDS)
def test_what_is_good_no_more_is_replaced(relaying: Relaying, behaviour: dict[str, Any]) -> None:
    """No try is lost, nothing is put off, nobody gets it twice."""
    exchanger = relaying.world.domain("replaced.test", Behaviour(**behaviour))
    queue_ids = queue(relaying, 3, "replaced.test")
    relaying.run()
    assert states(relaying, queue_ids) == [SENT] * 3
    assert [relaying.recipient(each).attempts for each in queue_ids] == [1, 1, 1]
    assert (len(exchanger.taken), exchanger.connections) == (3, 3)
    exchanger.stop()


def test_a_server_that_says_enough_at_mail_gets_the_rest_by_another(relaying: Relaying) -> None:
    numbers = count()
    exchanger = relaying.world.domain(
        "enough.test", Behaviour(mail=lambda _: "421 4.7.0 enough" if next(numbers) % 3 == 2 else "250 2.1.0 OK")
    )
    queue_ids = queue(relaying, 4, "enough.test")
    relaying.run()
    assert states(relaying, queue_ids) == [SENT] * 4
    assert (len(exchanger.taken), exchanger.connections) == (4, 2)


def test_an_answer_that_is_lost_is_not_repeated_by_another(relaying: Relaying) -> None:
    """Promise P17: all was sent over a connection that carried one before, and no answer came."""
    numbers = count()
    exchanger = relaying.world.domain(
        "lost.test", Behaviour(content=lambda _: None if next(numbers) == 1 else "250 2.0.0 taken")
    )
    queue_ids = queue(relaying, 3, "lost.test")
    relaying.run()
    assert states(relaying, queue_ids) == [SENT, QUEUED, SENT]
    assert len(exchanger.taken) == 3, "the second was not sent again at once"
    assert exchanger.connections == 2


# -- never another way --------------------------------------------------------------------------


def smarthosts(relaying: Relaying, *passwords: str) -> tuple[MailExchanger, list[str], list[MadeUser]]:
    """Users, each of another tenant, who send by the same host with passwords of their own, and those it heard."""
    said: list[str] = []

    def auth(argument: str) -> str:
        said.append(base64.b64decode(argument.partition(" ")[2]).split(b"\0")[2].decode())
        return "235 2.7.0 OK"

    name = f"smart{time.monotonic_ns()}.test"
    behaviour = Behaviour(auth=auth, tls=relaying.world.tls(name))
    behaviour.extensions = (*behaviour.extensions, "AUTH PLAIN")
    exchanger = relaying.world.exchanger(name, behaviour)
    users = [make_user(relaying.services, shard="a") for _ in passwords]
    for user, password in zip(users, passwords, strict=True):
        url = Secret(f"smtp://relay:{password}@{name}:25")
        relaying.services.smarthosts.set_for_tenant(OPERATOR, user.tenant_id, url)
    return exchanger, said, users


def test_no_message_goes_under_anothers_password(relaying: Relaying) -> None:
    exchanger, said, users = smarthosts(relaying, "one", "two", "one")
    for user in (*users, *users):
        queue(relaying, 1, "anywhere.test", user=user)
    relaying.run()
    assert (len(exchanger.accepted), exchanger.connections) == (6, 2)
    assert sorted(said) == ["one", "two"]


def test_a_way_known_by_its_destination_alone_would_be_shared(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: a connection that is chosen by the host carries mail under another's password."""
    exchanger, said, users = smarthosts(relaying, "one", "two")

    def by_destination(lines: Lines, route: Route) -> Hold | None:
        for other, waiting in list(lines._waiting.items()):
            if other.destination == route.destination:
                line = waiting.pop()
                lines._waiting.pop(other)
                return Hold(line.token, line)
        token = lines._slots.take(route.destination)
        return None if token is None else Hold(token)

    monkeypatch.setattr(lines_module.Lines, "hold", by_destination)
    for user in users:
        queue(relaying, 1, "anywhere.test", user=user)
    relaying.run()
    assert (len(exchanger.accepted), said) == (2, ["one"])


def test_what_must_be_encrypted_takes_no_connection_from_before(relaying: Relaying) -> None:
    """A policy that came up meanwhile holds for the next message."""
    exchanger = relaying.world.domain("policy.test")
    relaying.send("bob@policy.test", run=False)
    relaying._run()
    assert len(relaying.parts.lines) == 1
    relaying.world.policy("policy.test", "version: STSv1\r\nmode: enforce\r\nmx: mx.policy.test\r\nmax_age: 9999\r\n")
    relaying.parts.routes._mta_sts._cached.clear()
    queue_id = relaying.send("eve@policy.test")
    status = relaying.recipient(queue_id)
    assert (status.state, status.answer and status.answer.enhanced) == (QUEUED, "4.7.5")
    assert len(exchanger.accepted) == 1


@pytest.mark.soak
def test_cpu_of_a_sent_message(relaying: Relaying, capsys: pytest.CaptureFixture[str]) -> None:
    """What one thread spends on a message for one destination under TLS, claims and records included."""
    exchanger = relaying.world.domain("cost.test", Behaviour(tls=relaying.world.tls("mx.cost.test")))
    for name, limits in (("a connection each", {"connection_messages": 1}), ("fifty over each", {})):
        scene = with_limits(relaying, **limits)
        scene.send("warm@cost.test")
        queue(relaying, 300, "cost.test")
        before = time.thread_time()
        scene._run()
        spent_ms = (time.thread_time() - before) * 1000 / 300
        with capsys.disabled():
            print(f"\n{name}: {spent_ms:.2f} ms of CPU for each message")
    assert len(exchanger.accepted) == 602
