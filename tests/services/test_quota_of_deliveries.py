"""Quota is the sum, whatever rules make of a message and however many servers deliver at once (promise P9)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mailcore.errors import MailError, OverQuota
from mailcore.services import MailServices
from mailcore.services.tenants import quotas
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.services.inbound_mail import mail, take

SCRIPT = 'require ["fileinto","copy","mailbox"]; fileinto :copy :create "A"; fileinto :copy :create "B";'
SIZE = 4000
COPIES = 3
QUOTA = 300_000
SERVERS = 4
AT_ONCE = 2


def with_script(services: MailServices) -> MadeUser:
    user = make_user(services, quota_bytes=QUOTA)
    services.scripts.put(OPERATOR, user.user_id, "main", SCRIPT)
    services.scripts.activate(OPERATOR, user.user_id, "main")
    return user


def stored(services: MailServices, user: MadeUser) -> int:
    """The sum over all mailboxes, message by message."""
    tree = services.mailboxes.tree(user.user_id)
    return sum(int(services.mailboxes.open(user.user_id, entry.name).sizes.sum()) for entry in tree)


def check_limit_of_servers(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> None:
    """Servers deliver at once until each is told that nothing fits any more."""
    servers = [make_services(directory_uri, shard_uris, redis_url) for _ in range(SERVERS)]
    try:
        user = with_script(servers[0])
        for server in servers:
            assert server.quotas.use(user.user_id) == 0, "each has a reading from when all was empty"

        refusals: list[MailError] = []

        def serve(server: MailServices) -> None:
            for _ in range(2 * QUOTA // SIZE):
                try:
                    [error] = take(server, mail(user.address, body="x" * SIZE), user.address)
                except OverQuota as refused:
                    error = refused
                if error is not None:
                    refusals.append(error)
                    return

        threads = [threading.Thread(target=serve, args=(server,)) for server in servers for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert [type(refusal) for refusal in refusals] == [OverQuota] * len(threads)
        used = stored(servers[0], user)
        assert used == servers[0].quotas.use(user.user_id, fresh=True)
        most = QUOTA + SERVERS * AT_ONCE * COPIES * (SIZE + 600)
        assert QUOTA * 0.7 < used <= most, used
    finally:
        for server in servers:
            server.close()


def test_servers_that_deliver_at_once_pass_the_limit_by_what_is_on_its_way(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str
) -> None:
    check_limit_of_servers(directory_uri, shard_uris, redis_url)


def test_readings_that_are_used_for_anything_would_be_seen(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: each server lets in all that fitted when it looked."""
    monkeypatch.setattr(quotas, "SHARE", 1)
    monkeypatch.setattr(quotas, "FRESH_ABOVE", 1.0)
    with pytest.raises(AssertionError):
        check_limit_of_servers(directory_uri, shard_uris, redis_url)


def test_copies_that_do_not_all_fit_are_not_begun(services: MailServices) -> None:
    user = with_script(services)
    [error] = take(services, mail(user.address, body="x" * (QUOTA // 2)), user.address)
    assert isinstance(error, OverQuota)
    assert stored(services, user) == 0
