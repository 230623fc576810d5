"""A process that stores messages of one user until it is told that no more fit; prints how many it stored."""

from __future__ import annotations

import json
import sys

from bson import ObjectId

from infra.devstack.endpoints import ShardUris
from mailcore.errors import OverQuota
from mailcore.model.ids import UserId
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.directory.pool_use import PoolUse
from tests.builders import OPERATOR, make_services


def main(given: str, user: str, blind: str = "") -> None:
    """Store until it is full, or as much as the whole pool is stored; `blind` takes room that nobody looks for."""
    if blind:
        PoolUse.take = lambda *_: True  # type: ignore[method-assign, assignment]
    asked = json.loads(given)
    shards = {name: ShardUris(**uris) for name, uris in asked["shards"].items()}
    services = make_services(asked["directory"], shards, asked["redis"])
    stored = 0
    try:
        while stored * asked["size"] < asked["pool"]:
            message = NewMessage(b"Subject: x\r\n\r\n" + b"x" * asked["size"])
            services.messages.append(UserId(ObjectId(user)), OPERATOR, "INBOX", [message])
            stored += 1
    except OverQuota:
        pass
    finally:
        services.close()
    print(stored)


if __name__ == "__main__":
    main(*sys.argv[1:])
