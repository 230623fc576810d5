"""`eider audit list`: what happened, page after page, and nothing in it that steers a terminal."""

from __future__ import annotations

import json
from typing import Any

from bson import ObjectId

from mailcore.model.actor import Actor, ActorKind, Door
from tests.builders import make_services
from tests.cli.conftest import Eider


def test_list_pages_through_a_tenants_changes(eider: Eider, directory_uri: str, shard_uris: dict[str, Any]) -> None:
    unique = str(ObjectId())
    eider("tenant", "create", unique, "--region", "eu", "--shard", "a")
    eider("domain", "create", f"{unique}.test", "--tenant", unique)
    address = f"a@{unique}.test"
    eider("user", "create", address, "--tenant", unique)
    eider("user", "set-quota", address, "5G")
    services = make_services(directory_uri, shard_uris)
    evil = Actor(ActorKind.MEMBER, Door.PORTAL, "eve\r\n\x1b[2J\u2028root", remote_address="192.0.2.1")
    services.users.set_quota(evil, services.addresses.get(address).user_id, 1 << 30)
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    services.close()
    whole = eider("audit", "list", "--tenant", unique)
    kinds = [line.split()[2] for line in whole.out.splitlines()[1:-1]]
    assert kinds[:2] == ["tenant.created", "domain.created"]
    assert kinds[-2:] == ["user.quota", "user.quota"]
    assert "eve\\x0d\\x0a\\x1b[2J\\x2028root" in whole.out
    assert whole.out.isprintable() or set(whole.out) & {"\x1b", "\r", "\u2028"} == set()
    first = eider("audit", "list", "--tenant", unique, "--limit", "2", "--json").out.splitlines()
    cursor = json.loads(first[-1])["cursor"]
    rest = eider("audit", "list", "--tenant", unique, "--after", cursor, "--json").out.splitlines()
    assert [json.loads(line)["event"] for line in first[:-1] + rest[:-1]] == kinds
    refused = eider("audit", "list", "--tenant", unique, "--after", "nonsense!")
    assert (refused.status, refused.err) == (1, "eider: not a cursor of the event stream\n")
    assert "shard.added" in eider("audit", "list", "--platform").out
