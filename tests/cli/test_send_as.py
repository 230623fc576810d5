"""`eider send-as`: grants, and what becomes of mail in others' names."""

from __future__ import annotations

from bson import ObjectId

from tests.cli.conftest import Eider


def test_grants_and_the_tenants_choice(eider: Eider) -> None:
    name = str(ObjectId())
    eider("tenant", "create", name, "--region", "eu")
    eider("domain", "create", f"{name}.test", "--tenant", name)
    ann, boss = f"ann@{name}.test", f"boss@{name}.test"
    for address in (ann, boss):
        eider("user", "create", address, "--tenant", name)
    assert eider("send-as", "grant", boss, "--user", ann).out == f"{ann} may send as {boss}\n"
    again = eider("send-as", "grant", boss, "--user", ann)
    assert (again.status, len(again.err.splitlines())) == (1, 1)
    assert boss in eider("send-as", "list", "--user", ann).out
    assert eider("send-as", "revoke", boss, "--user", ann).status == 0
    assert boss not in eider("send-as", "list", "--user", ann).out
    assert eider("send-as", "grant", "somebody@else.test", "--user", ann).status == 1
    assert "rewritten" in eider("send-as", "foreign", "rewrite", "--tenant", name).out
    assert "refused" in eider("send-as", "foreign", "refuse", "--tenant", name).out
    assert eider("limits", "set", "--tenant", name, "tenant_messages_per_hour", "5").status == 0
