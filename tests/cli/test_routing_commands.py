"""`eider address|group`, aliases of domains, the postmaster: what they change is what mail then finds."""

from __future__ import annotations

import pytest
from bson import ObjectId

from tests.cli.conftest import Eider


@pytest.fixture
def domain(eider: Eider) -> str:
    """A tenant, its domain, each of that name, and two users."""
    name = f"{ObjectId()}.test"
    eider("tenant", "create", name, "--region", "eu")
    eider("domain", "create", name, "--tenant", name)
    for user in ("ann", "bob"):
        eider("user", "create", f"{user}@{name}", "--tenant", name, "--password-stdin", stdin="correct horse battery\n")
    return name


def reached(eider: Eider, address: str) -> list[str]:
    """Whom `address resolve` names."""
    said = eider("address", "resolve", address)
    assert said.status == 0, said.err
    return sorted(line.split()[0] for line in said.out.splitlines()[2:])


def test_addresses_and_wildcards_of_a_user(eider: Eider, domain: str) -> None:
    ann = f"ann@{domain}"
    assert eider("address", "create", f"*@{domain}", "--user", ann).status == 0
    assert eider("address", "create", f"info@{domain}", "--user", f"bob@{domain}").status == 0
    assert reached(eider, f"anything@{domain}") == [ann]
    assert "by a wildcard" in eider("address", "resolve", f"anything@{domain}").out
    assert reached(eider, f"in.fo+x@{domain}") == [f"bob@{domain}"]
    assert f"*@{domain}" in eider("address", "list", "--user", ann).out
    assert eider("address", "delete", f"*@{domain}", "--user", ann).status == 0
    refused = eider("address", "resolve", f"anything@{domain}")
    assert (refused.status, refused.out) == (1, "")


def test_forwarded_addresses(eider: Eider, domain: str) -> None:
    old = f"old@{domain}"
    assert eider("address", "forward", old, "--tenant", domain, "--to", f"ann@{domain}", "x@else.test").status == 0
    assert reached(eider, old) == [f"ann@{domain}", "x@else.test"]
    assert eider("address", "forward", old, "--tenant", domain, "--to", "y@else.test").status == 0
    assert reached(eider, old) == ["y@else.test"]
    assert "y@else.test" in eider("address", "list", "--tenant", domain).out
    assert "come back" in eider("address", "forward", old, "--tenant", domain, "--to", old).err
    assert eider("address", "delete", old, "--tenant", domain).status == 0
    assert eider("address", "resolve", old).status == 1


def test_groups(eider: Eider, domain: str) -> None:
    team, ann, bob = (f"{name}@{domain}" for name in ("team", "ann", "bob"))
    assert eider("group", "create", team, "--tenant", domain, "--members", ann, "x@else.test").status == 0
    assert reached(eider, team) == [ann, "x@else.test"]
    changed = eider("group", "change", team, "--tenant", domain, "--posters", "members", "--moderators", bob)
    assert "2 members, takes mail of members" in changed.out
    listed = eider("group", "list", "--tenant", domain).out.splitlines()[1]
    assert listed.split("  ")[-1].strip() == bob
    assert eider("group", "delete", team, "--tenant", domain).status == 0
    assert eider("group", "change", team, "--tenant", domain).status == 1


def test_aliases_of_domains_and_the_postmaster(eider: Eider, domain: str) -> None:
    alias = f"alias-{domain}"
    assert eider("domain", "alias", alias, domain, "--tenant", domain).status == 0
    assert reached(eider, f"bob@{alias}") == [f"bob@{domain}"]
    assert reached(eider, f"abuse@{alias}") == [f"ann@{domain}"]
    assert eider("tenant", "set-postmaster", domain, f"bob@{domain}").status == 0
    assert reached(eider, f"abuse@{alias}") == [f"bob@{domain}"]
    assert eider("tenant", "set-postmaster", domain).status == 0
    assert reached(eider, f"postmaster@{domain}") == [f"ann@{domain}"]
    assert domain in eider("domain", "list", "--tenant", domain).out.splitlines()[2]
    assert eider("domain", "unalias", alias, "--tenant", domain).status == 0
    assert eider("address", "resolve", f"bob@{alias}").status == 1
