"""`eider limits` and `eider user 2fa`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.model.limits import Spending
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.cli.conftest import Eider


@pytest.fixture
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


def test_limits_are_changed_shown_and_reset(eider: Eider, services: MailServices, user: MadeUser) -> None:
    tenant = services.tenants.find(user.tenant_id)
    assert tenant is not None
    assert eider("limits", "set", "--tenant", tenant.name, "recipients_per_day", "50").status == 0
    assert eider("limits", "set", "--user", user.address, "imap_upload_bytes_per_day", "5G").status == 0
    assert eider("limits", "set", "--user", user.address, "connections", "none").status == 0
    services.usage.spend(user.user_id, Spending.RECIPIENTS, 7)
    services.connections.open(user.user_id, 0)
    services.failed_logins.admit(user.address, user.user_id, user.tenant_id, "192.0.2.1")
    lines = [line.split() for line in eider("limits", "show", user.address).out.splitlines()]
    assert ["recipients_per_day", "7", "50"] in lines
    assert ["connections", "1", "unlimited"] in lines
    assert ["imap_upload_bytes_per_day", "0", "B", "5", "GiB"] in lines
    assert ["192.0.2.0/24", "1", "0", "s"] in lines
    assert eider("limits", "reset", user.address).status == 0
    out = eider("limits", "show", user.address).out
    assert ["recipients_per_day", "0", "50"] in [line.split() for line in out.splitlines()]
    assert "FAILED" not in out
    assert eider("limits", "set", "--user", user.address, "connections", "default").status == 0
    assert ["connections", "1", "64"] in [
        line.split() for line in eider("limits", "show", user.address).out.splitlines()
    ]


def test_a_limit_that_is_no_number_is_refused(eider: Eider, user: MadeUser) -> None:
    refused = eider("limits", "set", "--user", user.address, "connections", "many")
    assert refused.status == 1
    assert "many" in refused.err


def test_second_factors_are_shown_and_removed(eider: Eider, services: MailServices, user: MadeUser) -> None:
    assert eider("user", "2fa", "status", user.address).out == "second factors: none\n"
    services.second_factors.enable_custom(OPERATOR, user.user_id)
    services.second_factors.make_recovery_codes(OPERATOR, user.user_id)
    assert eider("user", "2fa", "status", user.address).out == "second factors: custom\nrecovery codes left: 10\n"
    refused = eider("user", "2fa", "remove", user.address, "totp")
    assert (refused.status, refused.err) == (1, "eider: totp is not on\n")
    assert eider("user", "2fa", "remove", user.address, "all").status == 0
    assert eider("user", "2fa", "status", user.address).out == "second factors: none\n"
