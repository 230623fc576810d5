"""Mail that Debian's Postfix passes on: as a smarthost behind the relay, and as the MX of another system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.devstack.endpoints import Endpoints
from mailcore.services import MailServices
from tests.stubs.outside import Outside, outside
from tests.system import mx
from tests.system.programs import needs
from tests.system.sending import (
    ARRIVES_S,
    HOST,
    hosted,
    inbox,
    message,
    own_services,
    running,
    submit,
    trace,
    verdicts,
    wait_for,
)
from tests.system.servers import environment_of, start
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str) -> Iterator[MailServices]:
    made = own_services(stack, fresh_uri, redis_url, "by_postfix")
    yield made
    made.close()


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside() as made:
        yield made


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs("postfix", "postfix"))], ids=["postfix"])
@pytest.mark.timeout(180)
def test_by_a_smarthost(services: MailServices, redis_url: str, world: Outside, tmp_path: Path, _: None) -> None:
    """Debian's Postfix with infra/smarthost passes it on unchanged to where the domain's mail goes."""
    ann = hosted(services, world)
    exchanger = world.domain("far.test")
    raw = message(ann, "bob@far.test", "smart")
    to_world = {
        "default_transport": f"smtp:[{exchanger.host}]:{world.smtp_port}",
        "smtpd_tls_security_level": "none",
        "smtp_tls_security_level": "none",
    }
    with mx.public_folder() as folder, mx.postfix(folder, to_world, "smarthost") as port:
        more = {
            "EIDER_SMARTHOST": f"smtp://{HOST}:25",
            "EIDER_OUTGOING_PORTS": f"25:{port}",
            "EIDER_OUTGOING_ALLOW": "127.0.0.0/8",
        }
        with running(services, redis_url, world, tmp_path, **more) as server:
            wait_for(services, ann, submit(server, ann, "bob@far.test", raw))
            wait_until(lambda: exchanger.taken, ARRIVES_S, (folder / "postfix.log").read_text)
    (taken,) = exchanger.taken
    assert b"by mx.test (Postfix)" in taken.message
    assert taken.message.endswith(b"\r\n" + raw)
    assert verdicts(world, taken.message) == [True, True]


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs("postfix", "postfix"))], ids=["postfix"])
@pytest.mark.timeout(180)
def test_by_smtp_and_lmtp(services: MailServices, redis_url: str, world: Outside, tmp_path: Path, _: None) -> None:
    """The long way, as for a host of another system: the relay to Postfix with infra/postfix, which hands it over."""
    ann, bob = hosted(services, world), hosted(services, world)
    world.dns.add(bob.address.partition("@")[2], "MX", "10 front.test.")
    world.dns.add("front.test", "A", HOST)
    uri = services.settings.mongo_uri.reveal_text()
    names = ["lmtp", "lookup", "imap"]
    raw = message(ann, bob.address, "long-way")
    with (
        start(names, environment_of(uri, redis_url, names), tmp_path) as behind,
        mx.public_folder() as folder,
        mx.postfix(
            folder,
            {
                "eider_lmtp": f"{HOST}:{behind.port('lmtp')}",
                "eider_lookup": f"{HOST}:{behind.port('lookup')}",
                "smtpd_milters": "",
            },
        ) as port,
    ):
        more = {"EIDER_OUTGOING_PORTS": f"25:{port}", "EIDER_OUTGOING_ALLOW": "127.0.0.0/8"}
        with running(services, redis_url, world, tmp_path, **more) as server:
            entry = wait_for(services, ann, submit(server, ann, bob.address, raw))
            found = wait_until(lambda: inbox(server, bob), ARRIVES_S, (folder / "postfix.log").read_text)
    (arrived,) = found
    assert entry.recipients[0].answer is not None
    assert "front.test" in entry.recipients[0].answer.remote
    assert arrived.endswith(b"\r\n" + raw)
    assert b"with LMTP" in arrived
    assert b"by mx.test (Postfix)" in arrived
    assert verdicts(world, arrived) == [True, True]
    assert {"queued", "sent"} <= {step for step, _ in trace(services, ann, entry.id)}
