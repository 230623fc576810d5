"""DKIM keys: whose domain signs, how keys follow one another, and that no private half leaves (attack W25)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

import dkim
import pytest
from bson import ObjectId

from mailcore.errors import (
    DkimKeyExists,
    DkimKeyNotFound,
    DomainNotFound,
    NotPermitted,
    StoreUnavailable,
    TooManyDkimKeys,
    ValueInvalid,
)
from mailcore.model.actor import SYSTEM, Actor, ActorKind, Door
from mailcore.model.dkim import DkimAlgorithm, DkimKey, DkimKeyState
from mailcore.model.ids import TenantId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.outbound.dkim import Dkim
from mailcore.services.outbound.dkim_keys import DkimKeys
from mailcore.services.outbound.dkim_private_keys import new_key
from mailcore.services.process.clock import now
from tests.builders import OPERATOR, make_tenant

MEMBER = Actor(ActorKind.MEMBER, Door.PORTAL, "ada@example.org")
SEEN = timedelta(hours=2)


@pytest.fixture
def owner(services: MailServices) -> tuple[TenantId, str]:
    """A tenant with a verified domain."""
    return make_tenant(services)


def database(services: MailServices) -> Any:
    return services.users._directory.database


def message(domain: str) -> bytes:
    return f"From: a@{domain}\r\nSubject: x\r\n\r\nbody\r\n".encode()


def signatures(services: MailServices, tenant_id: TenantId, domain: str, dns: list[DkimKey]) -> list[bool]:
    """How the keys published as `dns` verify what is signed now; empty if nothing is."""
    services.dkim._signers.clear()
    raw = message(domain)
    signed = services.dkim.sign(tenant_id, domain, raw) + raw
    records = {f"{key.record_name}.".encode(): key.record_value.encode() for key in dns}
    return [
        dkim.DKIM(signed).verify(index, dnsfunc=lambda name, timeout=5: records.get(name))
        for index in range(signed.count(b"DKIM-Signature:"))
    ]


class Dns:
    """What the tenant has published."""

    def __init__(self) -> None:
        self.keys: list[DkimKey] = []
        self.is_away = False

    def __call__(self, name: str) -> list[str]:
        if self.is_away:
            raise StoreUnavailable("DNS")
        return [key.record_value for key in self.keys if key.record_name == name]


def states(services: MailServices, tenant_id: TenantId) -> dict[str, list[str]]:
    """The states of keys by kind, in order of creation."""
    found: dict[str, list[str]] = {}
    for key in services.dkim_keys.list_of(tenant_id):
        found.setdefault(key.algorithm.key_type, []).append(key.state.value)
    return found


def test_keys_follow_one_another_without_a_gap(services: MailServices, owner: tuple[TenantId, str]) -> None:
    """Made by the job, used once published, replaced after half a year, and gone ten days later."""
    tenant_id, domain = owner
    keys, dns, at = services.dkim_keys, Dns(), now()
    keys.rotate(SYSTEM, tenant_id, at)
    assert states(services, tenant_id) == {"rsa": ["pending"], "ed25519": ["pending"]}
    assert signatures(services, tenant_id, domain, []) == []

    dns.keys = keys.list_of(tenant_id, domain)
    assert keys.check(SYSTEM, tenant_id, dns) == 2
    keys.rotate(SYSTEM, tenant_id)
    assert signatures(services, tenant_id, domain, dns.keys) == [True, True]

    at = services.dkim_keys.list_of(tenant_id)[0].changed_at + timedelta(days=181)  # type: ignore[operator]
    keys.rotate(SYSTEM, tenant_id, at)
    keys.rotate(SYSTEM, tenant_id, at)
    assert states(services, tenant_id) == {"rsa": ["active", "pending"], "ed25519": ["active", "pending"]}
    assert signatures(services, tenant_id, domain, dns.keys) == [True, True]

    keys.rotate(
        SYSTEM, tenant_id, at
    )  # the tenant has not published them yet: nothing happens, however long that takes
    assert keys.check(SYSTEM, tenant_id, dns) == 0
    assert states(services, tenant_id)["rsa"] == ["active", "pending"]

    dns.keys = keys.list_of(tenant_id, domain)
    assert keys.check(SYSTEM, tenant_id, dns) == 2
    keys.rotate(SYSTEM, tenant_id, now())  # seen, but not for long enough
    assert states(services, tenant_id)["rsa"] == ["active", "pending"]
    keys.rotate(SYSTEM, tenant_id, now() + SEEN)
    assert states(services, tenant_id) == {"rsa": ["retiring", "active"], "ed25519": ["retiring", "active"]}
    assert signatures(services, tenant_id, domain, dns.keys) == [True, True]
    stored = list(database(services)["dkim_keys"].find({"tenant": tenant_id}))
    assert [("sealed_key" in one) for one in stored] == [one["state"] == "active" for one in stored]

    keys.rotate(SYSTEM, tenant_id, now() + timedelta(days=11))
    assert states(services, tenant_id) == {"rsa": ["active"], "ed25519": ["active"]}


def test_a_successor_that_replaces_at_once_would_leave_a_gap(
    services: MailServices, owner: tuple[TenantId, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: were an unpublished key to take over, what is signed would not verify."""
    tenant_id, domain = owner
    dns = [services.dkim_keys.create(SYSTEM, tenant_id, domain, is_active=True)]
    assert signatures(services, tenant_id, domain, dns) == [True]
    rotate = DkimKeys._rotate

    def hasty(
        self: DkimKeys, actor: Actor, of: Any, algorithm: DkimAlgorithm, keys: list[DkimKey], at: datetime
    ) -> None:
        rotate(self, actor, of, algorithm, keys, at)
        for key in self.list_of(tenant_id, domain):
            if key.state is DkimKeyState.PENDING and key.algorithm is algorithm:
                self.activate(actor, tenant_id, key.id)

    monkeypatch.setattr(DkimKeys, "_rotate", hasty)
    services.dkim_keys.rotate(SYSTEM, tenant_id, now() + timedelta(days=200))
    assert False in signatures(services, tenant_id, domain, dns)


def test_dns_that_does_not_answer_changes_nothing(services: MailServices, owner: tuple[TenantId, str]) -> None:
    tenant_id, domain = owner
    dns = Dns()
    dns.keys = [services.dkim_keys.create(SYSTEM, tenant_id, domain, is_active=True)]
    assert services.dkim_keys.check(SYSTEM, tenant_id, dns) == 1
    dns.is_away = True
    assert services.dkim_keys.check(SYSTEM, tenant_id, dns) == 0
    assert services.dkim_keys.list_of(tenant_id)[0].published_at is not None
    dns.is_away, dns.keys = False, []
    assert services.dkim_keys.check(SYSTEM, tenant_id, dns) == 1
    assert services.dkim_keys.list_of(tenant_id)[0].published_at is None


def test_only_a_verified_domain_of_the_tenant_signs(services: MailServices, owner: tuple[TenantId, str]) -> None:
    """Attack W25: nor does another tenant's name, a subdomain, or a name that is none."""
    tenant_id, domain = owner
    dns = [services.dkim_keys.create(SYSTEM, tenant_id, domain, is_active=True)]
    other, _ = make_tenant(services)
    assert signatures(services, tenant_id, domain, dns) == [True]
    assert signatures(services, other, domain, dns) == []
    for name in (f"sub.{domain}", "gmail.com", "", "[127.0.0.1]", "a..b"):
        assert services.dkim.sign(tenant_id, name, message(domain)) == b""
    database(services)["domains"].update_one({"name": domain}, {"$set": {"verified_at": None}})
    assert services.dkim.sign(tenant_id, domain, message(domain)) == b"", "though its keys are cached"


def test_a_domain_added_again_has_new_keys(services: MailServices, owner: tuple[TenantId, str]) -> None:
    """Attack W25: by another tenant or by the same, keys of an earlier claim are never used again."""
    tenant_id, domain = owner
    old = services.dkim_keys.create(SYSTEM, tenant_id, domain, selector="mail", is_active=True)
    database(services)["domains"].delete_one({"name": domain})
    assert services.dkim.sign(tenant_id, domain, message(domain)) == b""
    other, _ = make_tenant(services)
    services.domains.create(OPERATOR, other, domain)
    assert signatures(services, other, domain, [old]) == []
    new = services.dkim_keys.create(SYSTEM, other, domain, selector="mail", is_active=True)
    assert new.public_key != old.public_key
    assert signatures(services, other, domain, [new]) == [True]
    assert signatures(services, tenant_id, domain, [old]) == []
    database(services)["domains"].delete_one({"name": domain})
    services.domains.create(OPERATOR, tenant_id, domain)
    assert signatures(services, tenant_id, domain, [old]) == []
    for each in (tenant_id, other):
        services.dkim_keys.rotate(SYSTEM, each)
    assert old.id not in {key.id for key in services.dkim_keys.list_of(tenant_id)}
    assert services.dkim_keys.list_of(other, domain) == []


def test_keys_by_the_name_alone_would_sign_for_a_domain_that_was_lost(
    services: MailServices, owner: tuple[TenantId, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    tenant_id, domain = owner
    old = services.dkim_keys.create(SYSTEM, tenant_id, domain, is_active=True)
    database(services)["domains"].delete_one({"name": domain})
    services.domains.create(OPERATOR, tenant_id, domain)
    signers = Dkim._signers_of
    monkeypatch.setattr(Dkim, "_signers_of", lambda self, tenant, _domain: signers(self, tenant, old.domain_id))
    assert signatures(services, tenant_id, domain, [old]) == [True]


def public_values(value: object) -> Iterator[object]:
    """Everything that a returned value holds."""
    if is_dataclass(value):
        for field in fields(value):
            yield from public_values(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from public_values(one)
    else:
        yield value


@pytest.mark.parametrize("algorithm", list(DkimAlgorithm))
def test_no_private_half_is_returned(
    services: MailServices, owner: tuple[TenantId, str], algorithm: DkimAlgorithm
) -> None:
    """Attack W25: neither by what made the key nor by what lists it; and it is sealed in the database."""
    tenant_id, domain = owner
    private = new_key(algorithm).private_key
    keys = services.dkim_keys
    made = keys.create(MEMBER, tenant_id, domain, private_key=private, is_active=True)
    assert made.algorithm is algorithm
    secret = base64.b64decode(b"".join(private.reveal().split(b"\n")[1:-2]) or private.reveal())
    shown = " ".join(map(repr, public_values([made, keys.get(tenant_id, made.id), keys.list_of(tenant_id)])))
    stored = repr(list(database(services)["dkim_keys"].find()))
    for text in (shown, stored, repr(made)):
        assert private.reveal_text().strip() not in text
        assert repr(secret)[2:60] not in text
    assert signatures(services, tenant_id, domain, [made]) == [True]


def test_a_key_shown_would_be_seen(
    services: MailServices, owner: tuple[TenantId, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: were the description to hold it, the test above would fail."""
    tenant_id, domain = owner
    private = new_key(DkimAlgorithm.ED25519).private_key
    made = services.dkim_keys.create(MEMBER, tenant_id, domain, private_key=private, description=private.reveal_text())
    assert private.reveal_text() in " ".join(map(repr, public_values(made)))


def test_what_is_not_allowed(services: MailServices, owner: tuple[TenantId, str]) -> None:
    tenant_id, domain = owner
    keys = services.dkim_keys
    key = keys.create(MEMBER, tenant_id, domain, selector="s1", algorithm=DkimAlgorithm.ED25519)
    with pytest.raises(DkimKeyExists):
        keys.create(MEMBER, tenant_id, domain, selector="s1", algorithm=DkimAlgorithm.ED25519)
    for selector in ("", "a_b", "-a", "a b", "A", "x" * 70, "$ne"):
        with pytest.raises(ValueInvalid):
            keys.create(MEMBER, tenant_id, domain, selector=selector)
    with pytest.raises(ValueInvalid):
        keys.create(MEMBER, tenant_id, domain, private_key=Secret("nothing"))
    with pytest.raises(DomainNotFound):
        keys.create(MEMBER, tenant_id, "elsewhere.test")
    other, other_domain = make_tenant(services)
    with pytest.raises(DomainNotFound):
        keys.create(MEMBER, other, domain)
    for stranger in (lambda: keys.get(other, key.id), lambda: keys.delete(MEMBER, other, key.id)):
        with pytest.raises(DkimKeyNotFound):
            stranger()
    keys.activate(MEMBER, tenant_id, key.id)
    with pytest.raises(DkimKeyExists):
        keys.activate(MEMBER, tenant_id, key.id)
    services.domains.create(MEMBER, other, f"unproven.{other_domain}")
    with pytest.raises(NotPermitted):
        keys.create(MEMBER, other, f"unproven.{other_domain}")
    keys.delete(MEMBER, tenant_id, key.id)
    with pytest.raises(DkimKeyNotFound):
        keys.delete(MEMBER, tenant_id, ObjectId())
    assert keys.list_of(tenant_id) == []


def test_number_of_keys_is_bounded(services: MailServices, owner: tuple[TenantId, str]) -> None:
    tenant_id, domain = owner
    for _ in range(services.settings.limits.dkim_keys):
        services.dkim_keys.create(MEMBER, tenant_id, domain, algorithm=DkimAlgorithm.ED25519)
    with pytest.raises(TooManyDkimKeys):
        services.dkim_keys.create(MEMBER, tenant_id, domain, algorithm=DkimAlgorithm.ED25519)


@pytest.mark.parametrize(
    ("record", "is_it"),
    [
        pytest.param("v=DKIM1; k=ed25519; p={p}", True, id="ours"),
        pytest.param("v=DKIM1;p={p};k=ed25519;t=s", True, id="other-order"),
        pytest.param("v=DKIM1; k=ed25519; p= {half} {rest} ;", True, id="spaced"),
        pytest.param("v=DKIM1; p={p}", False, id="as-rsa"),
        pytest.param("v=DKIM1; k=ed25519; p=", False, id="revoked"),
        pytest.param("v=spf1 -all", False, id="something-else"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_published_record_is_read_by_its_tags(
    services: MailServices, owner: tuple[TenantId, str], record: str, is_it: bool
) -> None:
    """RFC 6376 §3.6.1: tags in any order, white space within the key."""
    tenant_id, domain = owner
    key = services.dkim_keys.create(MEMBER, tenant_id, domain, algorithm=DkimAlgorithm.ED25519)
    text = record.format(p=key.public_key, half=key.public_key[:20], rest=key.public_key[20:])
    assert key.is_in(text) is is_it
