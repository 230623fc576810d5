"""Directory repositories on a real MongoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from bson import ObjectId

from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import AddressRoute, Domain, ManagedBy, Shard, State, Tenant, User
from mailcore.store.client import Clients
from mailcore.store.directory import Directory
from mailcore.store.directory.certs import StoredCertificate

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def directory(directory_uri: str) -> Directory:
    directory = Directory.of(Clients({}).database(directory_uri))
    directory.ensure_indexes()
    return directory


def make_tenant(name: str) -> Tenant:
    return Tenant(TenantId(ObjectId()), name, "eu", "a", State.ACTIVE, ManagedBy.OPERATOR, b"sealed", NOW)


def make_user(tenant_id: TenantId) -> User:
    return User(UserId(ObjectId()), tenant_id, "a@x.test", "A", State.ACTIVE, "a", 1, 1, None, NOW)


def test_indexes_are_made_once_however_often_and_by_however_many(directory: Directory) -> None:
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(directory.ensure_indexes) for _ in range(4)]:
            made.result()
    assert directory.database["addresses"].index_information()["canonical"]["unique"]
    assert directory.database["domains"].index_information()["name"]["unique"]
    assert directory.database["tenants"].index_information()["name_key"]["unique"]


def test_tenants_come_back_as_they_went_in(directory: Directory) -> None:
    tenant = make_tenant(f"Größe {ObjectId()}")
    assert directory.tenants.insert(tenant)
    assert directory.tenants.find(tenant.id) == tenant
    assert directory.tenants.find_by_name(tenant.name.upper()) == tenant
    assert not directory.tenants.insert(make_tenant(tenant.name.replace("ö", "o\u0308").upper()))
    assert directory.tenants.find(TenantId(ObjectId())) is None
    assert directory.tenants.set_state(tenant.id, State.SUSPENDED)
    before = TenantId(ObjectId((int.from_bytes(tenant.id.binary) - 1).to_bytes(12)))
    assert tenant.id in {found.id for found in directory.tenants.list_all(before)}


def test_one_domain_has_one_tenant(directory: Directory) -> None:
    name = f"d{ObjectId()}.test"
    mine, theirs = TenantId(ObjectId()), TenantId(ObjectId())
    domain = Domain(ObjectId(), mine, name, NOW, NOW)
    assert directory.domains.insert(domain)
    assert not directory.domains.insert(Domain(ObjectId(), theirs, name, NOW, NOW))
    assert directory.domains.find(mine, name) == domain
    assert directory.domains.find(theirs, name) is None
    assert directory.domains.list_of(theirs) == []


def test_of_many_who_claim_one_address_at_once_one_gets_it(directory: Directory) -> None:
    canonical = f"a@{ObjectId()}.test"
    routes = [
        AddressRoute(ObjectId(), TenantId(ObjectId()), UserId(ObjectId()), canonical, canonical, NOW) for _ in range(12)
    ]
    with ThreadPoolExecutor(6) as pool:
        won = [
            route for route, taken in zip(routes, pool.map(directory.addresses.insert, routes), strict=True) if taken
        ]
    assert len(won) == 1
    assert directory.addresses.find(canonical) == won[0]
    assert directory.addresses.list_of_user(won[0].user_id) == won
    loser = next(route for route in routes if route not in won)
    assert not directory.addresses.delete(loser.user_id, canonical)
    assert directory.addresses.delete(won[0].user_id, canonical)
    assert directory.addresses.find(canonical) is None


def test_changes_that_end_sessions_raise_auth_version(directory: Directory) -> None:
    user = make_user(TenantId(ObjectId()))
    directory.users.insert(user, "hash-1")
    users = directory.user_changes
    assert directory.users.find(user.id) == user
    versions = []
    for changed in (
        users.set_password(user.id, "hash-2"),
        users.set_state(user.id, State.DISABLED),
        users.end_sessions(user.id),
        users.set_quota(user.id, 5),
    ):
        assert changed is not None
        versions.append(changed.auth_version)
    assert versions == [2, 3, 4, 4]
    assert users.set_password(UserId(ObjectId()), "x") is None


def test_a_hash_is_upgraded_only_if_the_password_is_still_that_one(directory: Directory) -> None:
    user = make_user(TenantId(ObjectId()))
    directory.users.insert(user, "old")
    directory.users.upgrade_hash(user.id, "older", "wrong")
    directory.users.upgrade_hash(user.id, "old", "new")
    found = directory.users.find_credentials(user.id)
    assert found is not None
    assert (found.password_hash, found.user.auth_version) == ("new", 1)


def test_users_are_listed_by_tenant_in_pages(directory: Directory) -> None:
    tenant_id = TenantId(ObjectId())
    users = [make_user(tenant_id) for _ in range(3)]
    for user in [*users, make_user(TenantId(ObjectId()))]:
        directory.users.insert(user, None)
    assert directory.users.list_of_tenant(tenant_id) == users
    assert directory.users.list_of_tenant(tenant_id, after=users[0].id) == users[1:]
    assert directory.users.count_of_tenant(tenant_id) == 3


def test_shards_are_listed_by_name(directory: Directory) -> None:
    names = sorted(f"s{ObjectId()}" for _ in range(2))
    for name in reversed(names):
        assert directory.shards.insert(Shard(name, "mars", "mongodb://h/hot", "mongodb://h/cold", is_open=True))
    assert not directory.shards.insert(Shard(names[0], "mars", "x", "y", is_open=True))
    assert [shard.name for shard in directory.shards.list_all() if shard.region == "mars"] == names
    assert directory.shards.update(Shard(names[0], "mars", "mongodb://i/hot", "mongodb://h/cold", is_open=False))
    assert not directory.shards.update(Shard(names[0], "venus", "x", "y", is_open=True))
    directory.database["shards"].delete_many({"name": {"$in": names}})  # others go through all shards


def certificate(fingerprint: str, *names: str, is_default: bool = False) -> StoredCertificate:
    return StoredCertificate(fingerprint, names, is_default, b"chain", b"sealed", NOW)


def test_a_newer_certificate_takes_over_the_names_it_holds(directory: Directory) -> None:
    unique = f"{ObjectId()}.test"
    mail, imap, other = (f"{name}.{unique}" for name in ("mail", "imap", "other"))
    certs = directory.certs
    certs.replace(certificate("1", mail, imap, is_default=True))
    certs.replace(certificate("2", mail, imap))
    assert certs.find([mail]) == certificate("2", mail, imap)
    certs.replace(certificate("3", imap, other))
    assert certs.find([imap]) == certificate("3", imap, other)
    assert certs.find([mail]) == certificate("2", mail)
    certs.replace(certificate("4", f"*.{unique}", is_default=True))
    assert certs.find_default() == certificate("4", f"*.{unique}", is_default=True)
    assert certs.find([f"x.{unique}", f"*.{unique}"]) == certificate("4", f"*.{unique}", is_default=True)
    assert certs.find(["nothing.test"]) is None
