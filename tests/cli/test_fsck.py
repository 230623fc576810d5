"""`eider fsck`: status 0 says sound, 1 says what is not."""

from __future__ import annotations

from typing import Any

import pytest

from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.keys import mailbox_key
from tests.builders import OPERATOR, make_services, make_user
from tests.cli.conftest import Eider


def test_sound_then_damaged_then_repaired(
    eider: Eider, directory_uri: str, shard_uris: dict[str, Any], redis_url: str
) -> None:
    services = make_services(directory_uri, shard_uris, redis_url)
    user = make_user(services)
    services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: x\r\n\r\ny\r\n")])
    sound = eider("fsck", "--user", user.address, "--deep")
    assert (sound.status, sound.out) == (0, "1 users, 1 messages checked: all sound\n")
    key = mailbox_key(user.user_id, services.mailboxes.find(user.user_id, "INBOX").id)
    services.placement.home(user.user_id).shard.hot["mailboxes"].update_one({"_id": key}, {"$inc": {"unseen": 1}})
    damaged = eider("fsck", "--user", user.address)
    assert damaged.status == 1
    assert damaged.out.startswith(f"{user.address}  INBOX  head.unseen  2 instead of 1\n")
    repaired = eider("fsck", "--user", user.address, "--repair")
    assert repaired.status == 0
    assert "(repaired)" in repaired.out
    assert eider("fsck", "--user", user.address).status == 0
    everybody = eider("fsck", "--all")
    assert user.address not in everybody.out
    assert " users, " in everybody.out
    services.close()


@pytest.mark.parametrize("arguments", [(), ("--user", "a@b.test", "--all")])
def test_it_asks_for_whom(eider: Eider, arguments: tuple[str, ...]) -> None:
    assert eider("fsck", *arguments).status == 2
