"""`eider hold|retention|restore`."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from mailcore.model.ids import UserId
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, make_services
from tests.cli.conftest import Eider
from tests.store.test_delivery import message


def expunged(services: MailServices, address: str) -> UserId:
    """A user whose only message is expunged."""
    user_id = services.addresses.get(address).user_id
    result = services.messages.append(user_id, OPERATOR, "INBOX", [NewMessage(message(b"x"))])
    services.messages.expunge(user_id, OPERATOR, result.mailbox_id, None, only_deleted=False)
    return user_id


def test_from_hold_to_restore(eider: Eider, directory_uri: str, shard_uris: dict[str, Any]) -> None:
    unique = str(ObjectId())
    address = f"a@{unique}.test"
    eider("tenant", "create", unique, "--region", "eu", "--shard", "a")
    eider("domain", "create", f"{unique}.test", "--tenant", unique)
    eider("user", "create", address, "--tenant", unique)
    assert eider("retention", "set", "--tenant", unique, "--purge-after", "0").status == 0
    assert eider("hold", "set", "--user", address).out == f"{address} is held: nothing is destroyed\n"
    assert eider("hold", "set", "--tenant", unique).status == 0
    listed = eider("hold", "list", "--tenant", unique).out.splitlines()[1:]
    assert [line.split() for line in listed] == [["tenant", unique], ["user", address]]
    services = make_services(directory_uri, shard_uris)
    user_id = expunged(services, address)
    assert services.retention.collect(user_id).messages == 0
    assert "INBOX" in eider("restore", address, "--list").out
    assert eider("restore", address, "--mailbox", "Other").out == "0 messages restored\n"
    assert eider("restore", address).out == "1 messages restored\n"
    for owner in (("--user", address), ("--tenant", unique)):
        assert eider("hold", "release", *owner).status == 0
    services.messages.expunge(user_id, OPERATOR, services.mailboxes.find(user_id, "INBOX").id, None, only_deleted=False)
    assert services.retention.collect(user_id).messages == 1
    services.close()


def test_rules_are_changed_one_by_one(eider: Eider, directory_uri: str, shard_uris: dict[str, Any]) -> None:
    unique = str(ObjectId())
    address = f"a@{unique}.test"
    eider("tenant", "create", unique, "--region", "eu")
    eider("domain", "create", f"{unique}.test", "--tenant", unique)
    eider("user", "create", address, "--tenant", unique)
    assert "restored for: 30 days" in eider("retention", "set", "--user", address, "--purge-after", "30").out
    assert eider("retention", "set", "--user", address, "--keep", "365", "--mailbox", "Archive").status == 0
    said = eider("retention", "set", "--user", address, "--keep", "7").out
    assert "30 days; kept after arrival: 7 days; rules for 1 mailboxes" in said
    for wrong in (("--user", address), ("--tenant", unique, "--keep", "1", "--mailbox", "Archive")):
        assert eider("retention", "set", *wrong).status == 1
    assert eider("retention", "set", "--tenant", unique, "--keep", "-1").status == 2
