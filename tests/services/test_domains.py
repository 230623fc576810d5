"""Whose a domain is: proven, lost, given up (attack W26); and keys whose selectors take turns."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailcore.errors import DomainNotFound, DomainTaken, NotPermitted, ValueInvalid
from mailcore.model.actor import SYSTEM, Actor, ActorKind, Door
from mailcore.model.dkim import DkimAlgorithm, DkimKeyState
from mailcore.services import MailServices
from mailcore.services.outbound.dkim_keys import DkimKeys
from mailcore.services.process.clock import now
from tests.builders import OPERATOR, make_tenant, make_user
from tests.services.test_dkim_keys import SEEN, Dns, signatures

MEMBER = Actor(ActorKind.MEMBER, Door.PORTAL, "ada@example.org")
TURNS = ("eider1", "eider2")


def test_claim_without_proof_gives_way_to_proof(services: MailServices) -> None:
    eve, _ = make_tenant(services)
    ada, _ = make_tenant(services)
    name = f"proof-{ada}.example"
    services.domains.create(MEMBER, eve, name)
    assert services.domains.verify(SYSTEM, ada, name).verified_at is not None
    assert services.domains.owner_of(name) == ada
    assert services.domains.is_hosted(name)


def test_proven_domain_is_not_taken_by_another_proof(services: MailServices) -> None:
    ada, name = make_tenant(services)
    eve, _ = make_tenant(services)
    with pytest.raises(DomainTaken):
        services.domains.verify(SYSTEM, eve, name)
    assert services.domains.owner_of(name) == ada


def test_verifying_and_unverifying_twice_is_once(services: MailServices) -> None:
    ada, name = make_tenant(services)
    first = services.domains.get(ada, name).verified_at
    assert services.domains.verify(SYSTEM, ada, name).verified_at == first
    services.domains.unverify(SYSTEM, ada, name)
    services.domains.unverify(SYSTEM, ada, name)
    assert services.domains.get(ada, name).verified_at is None
    assert not services.domains.is_hosted(name)
    assert services.domains.verify(SYSTEM, ada, name).verified_at is not None


def test_domain_with_addresses_is_not_given_up(services: MailServices) -> None:
    user = make_user(services)
    name = user.address.rpartition("@")[2]
    with pytest.raises(NotPermitted, match="addresses"):
        services.domains.delete(SYSTEM, user.tenant_id, name)
    services.domains.create(OPERATOR, user.tenant_id, f"spare.{name}")
    services.domains.delete(SYSTEM, user.tenant_id, f"spare.{name}")
    with pytest.raises(DomainNotFound):
        services.domains.get(user.tenant_id, f"spare.{name}")


def test_keys_take_turns_without_a_gap(services: MailServices) -> None:
    """Two selectors, each in turn: whatever signs is published, and what it signed can be verified for days."""
    tenant_id, domain = make_tenant(services)
    keys, dns, at = services.dkim_keys, Dns(), now()
    keys.use_selectors(SYSTEM, tenant_id, domain, TURNS)
    signed_by: list[str] = []
    for _ in range(200):
        at += timedelta(days=7)
        keys.rotate(SYSTEM, tenant_id, at)
        dns.keys = keys.list_of(tenant_id, domain)  # our zone follows the keys
        keys.check(SYSTEM, tenant_id, dns)
        for key in dns.keys:
            assert key.algorithm is DkimAlgorithm.RSA
            services.placement.directory.dkim_keys.note_published(tenant_id, key.id, at)
        keys.rotate(SYSTEM, tenant_id, at + SEEN)
        active = [key.selector for key in keys.list_of(tenant_id, domain) if key.state is DkimKeyState.ACTIVE]
        assert len(active) == 1
        if not signed_by or signed_by[-1] != active[0]:
            signed_by.append(active[0])
            dns.keys = keys.list_of(tenant_id, domain)
            assert signatures(services, tenant_id, domain, dns.keys) == [True]
        if len(signed_by) == 4:
            break
    assert signed_by == ["eider1", "eider2", "eider1", "eider2"]


def test_key_that_signs_goes_on_until_the_one_of_the_other_kind_is_seen(services: MailServices) -> None:
    tenant_id, domain = make_tenant(services)
    keys, dns, at = services.dkim_keys, Dns(), now()
    keys.rotate(SYSTEM, tenant_id, at)
    dns.keys = keys.list_of(tenant_id, domain)
    keys.check(SYSTEM, tenant_id, dns)
    keys.rotate(SYSTEM, tenant_id, at)
    old = {key.id for key in keys.list_of(tenant_id, domain)}
    keys.use_selectors(SYSTEM, tenant_id, domain, TURNS)
    keys.rotate(SYSTEM, tenant_id, at)
    keys.rotate(SYSTEM, tenant_id, at + SEEN)
    [new] = [key for key in keys.list_of(tenant_id, domain) if key.id not in old]
    assert (new.selector, new.state) == ("eider1", DkimKeyState.PENDING)
    assert len(signatures(services, tenant_id, domain, dns.keys)) == 2, "both old ones sign"
    dns.keys = keys.list_of(tenant_id, domain)
    keys.check(SYSTEM, tenant_id, dns)
    keys.rotate(SYSTEM, tenant_id, now() + SEEN)
    assert signatures(services, tenant_id, domain, dns.keys) == [True]
    active = [key.selector for key in keys.list_of(tenant_id, domain) if key.state is DkimKeyState.ACTIVE]
    assert active == ["eider1"]


def test_control_a_key_that_signs_before_it_is_seen_would_be_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id, domain = make_tenant(services)
    monkeypatch.setattr(services.domains, "_known", {})
    services.dkim_keys.use_selectors(SYSTEM, tenant_id, domain, TURNS)
    create = DkimKeys._create

    def hasty(self: DkimKeys, actor: Actor, *arguments: object) -> object:
        return create(self, actor, *arguments[:-1], DkimKeyState.ACTIVE)  # type: ignore[arg-type]

    monkeypatch.setattr(DkimKeys, "_create", hasty)
    services.dkim_keys.rotate(SYSTEM, tenant_id, now())
    assert signatures(services, tenant_id, domain, []) == [False]


def test_one_selector_cannot_take_turns(services: MailServices) -> None:
    tenant_id, domain = make_tenant(services)
    with pytest.raises(ValueInvalid):
        services.dkim_keys.use_selectors(SYSTEM, tenant_id, domain, ["eider1"])
