"""`eider user rename|delete`, `deleted-user`, `shared-mailbox`, `tenant set-quota|set-users|sum-up`."""

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


def test_a_user_is_deleted_listed_held_and_restored(eider: Eider, tenant: str) -> None:
    ada = f"ada@{tenant}.test"
    for wrong in ("-5", "x", "9999999", "99999999999"):
        assert eider("user", "delete", ada, "--days", wrong).status == 2
        assert eider("restore", ada, "--hours", wrong * 2).status == 2
    assert eider("user", "delete", ada, "--days", "7").out.startswith(f"{ada} is deleted, and erased after 20")
    assert ada not in eider("user", "list", "--tenant", tenant).out
    listed = eider("deleted-user", "list", "--tenant", tenant).out
    assert ada in listed
    assert "kept" in listed
    assert eider("deleted-user", "hold", ada).out == f"{ada} is held\n"
    assert eider("deleted-user", "release", ada).out == f"{ada} is released\n"
    assert eider("deleted-user", "restore", ada).out == f"{ada} is restored, with 1 addresses\n"
    assert ada in eider("user", "list", "--tenant", tenant).out
    assert eider("deleted-user", "restore", ada).status == 1
    assert eider("user", "delete", f"nobody@{tenant}.test").status == 1
