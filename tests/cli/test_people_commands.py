"""`eider user rename`, `eider shared-mailbox`, `eider tenant set-quota|set-users|sum-up`."""

from __future__ import annotations

import pytest
from bson import ObjectId

from tests.cli.conftest import Eider


@pytest.fixture
def tenant(eider: Eider) -> str:
    name = str(ObjectId())
    assert eider("tenant", "create", name, "--region", "eu", "--shard", "a").status == 0
    assert eider("domain", "create", f"{name}.test", "--tenant", name).status == 0
    for local in ("ada", "bob"):
        assert eider("user", "create", f"{local}@{name}.test", "--tenant", name, "--generate").status == 0
    return name


def test_rename_keeps_the_old_address(eider: Eider, tenant: str) -> None:
    renamed = eider("user", "rename", f"ada@{tenant}.test", f"lovelace@{tenant}.test")
    assert renamed.out == (
        f"ada@{tenant}.test is lovelace@{tenant}.test now and goes on to receive mail for ada@{tenant}.test\n"
    )
    assert eider("user", "rename", f"ada@{tenant}.test", f"bob@{tenant}.test").status == 1
    assert f"lovelace@{tenant}.test" in eider("user", "list", "--tenant", tenant).out


def test_shared_mailbox_and_leaver(eider: Eider, tenant: str) -> None:
    info, ada, bob = (f"{local}@{tenant}.test" for local in ("info", "ada", "bob"))
    assert eider("shared-mailbox", "create", info, ada, "--tenant", tenant, "--name", "Info").status == 0
    assert ada in eider("shared-mailbox", "show", info).out
    assert eider("shared-mailbox", "set-delegates", info, bob).out == f"{info} is read by: {bob}\n"
    assert ada not in eider("shared-mailbox", "show", info).out
    assert eider("shared-mailbox", "of-leaver", ada, bob).status == 0
    assert bob in eider("shared-mailbox", "show", ada).out
    refused = eider("shared-mailbox", "set-delegates", info, ada)
    assert refused.status == 1
    assert "nobody signs in" in refused.err


def test_limits_of_a_tenant(eider: Eider, tenant: str) -> None:
    assert eider("tenant", "set-quota", tenant, "50G").out == f"users of {tenant} share 50 GiB\n"
    assert eider("tenant", "set-quota", tenant, "much").status == 1
    assert eider("tenant", "set-users", tenant, "2").out == f"{tenant} may have 2 users\n"
    full = eider("user", "create", f"eve@{tenant}.test", "--tenant", tenant, "--generate")
    assert full.status == 1
    assert "room for 2 users" in full.err
    assert eider("tenant", "set-users", tenant, "none").status == 0
    assert eider("user", "create", f"eve@{tenant}.test", "--tenant", tenant, "--generate").status == 0
    assert eider("tenant", "sum-up").out.startswith("summed up: ")
