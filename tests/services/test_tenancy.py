"""Tenants, domains, users, shards and certificates, through the services."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trustme
from bson import ObjectId

from mailcore.errors import (
    AddressInvalid,
    AddressNotFound,
    AddressTaken,
    DomainInvalid,
    DomainNotFound,
    DomainTaken,
    MailError,
    NotPermitted,
    RegionForbids,
    ShardExists,
    ShardNotFound,
    TenantExists,
    TenantNotFound,
    TooManyUsers,
    UserNotFound,
    ValueInvalid,
)
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId, UserId
from mailcore.model.secret import Secret
from mailcore.model.tenant import State, TenantLimits
from mailcore.services import MailServices
from mailcore.services.addresses.addresses import Addresses
from tests.builders import OPERATOR, PASSWORD, make_services, make_tenant, make_user

MEMBER = Actor(ActorKind.MEMBER, Door.PORTAL, "member@example.com")


def create(services: MailServices, address: str, tenant_id: TenantId) -> UserId:
    return services.users.create(OPERATOR, address, Secret(PASSWORD), "", tenant_id)


# -- tenants and placement ----------------------------------------------------------------------


def test_a_tenants_name_is_its_own(services: MailServices) -> None:
    name = f"Müller & Söhne {ObjectId()}"
    tenant_id = services.tenants.create(OPERATOR, f"  {name} ", "EU")
    tenant = services.tenants.get_by_name(name.upper())
    assert (tenant.id, tenant.name, tenant.region) == (tenant_id, name, "eu")
    with pytest.raises(TenantExists):
        services.tenants.create(OPERATOR, name.replace("ü", "u\u0308"), "eu")
    with pytest.raises(TenantNotFound):
        services.tenants.get_by_name("no such tenant")


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("", "eu"),
        ("a\x00b", "eu"),
        ("a\u202eb", "eu"),
        ("a\u2067b", "eu"),
        ("x" * 201, "eu"),
        ("ok", ""),
        ("ok", "e u"),
    ],
)
def test_malformed_tenants_are_refused(services: MailServices, name: str, region: str) -> None:
    with pytest.raises(ValueInvalid):
        services.tenants.create(OPERATOR, name, region)


def test_no_mail_of_a_region_is_placed_outside_it(
    services: MailServices, shard_uris: dict[str, Any], fresh_uri: Callable[[str, str], str]
) -> None:
    """Region: a shard elsewhere is refused, whether asked for, chosen, or moved under the tenant later."""
    name = f"us{ObjectId()}"
    uris = next(iter(shard_uris.values()))
    services.shards.add(OPERATOR, name, "us", fresh_uri(uris.hot, "us_hot"), fresh_uri(uris.cold, "us_cold"))
    with pytest.raises(RegionForbids):
        services.tenants.create(OPERATOR, f"T {ObjectId()}", "eu", name)
    with pytest.raises(ShardNotFound):
        services.tenants.create(OPERATOR, f"T {ObjectId()}", "mars")
    american = services.tenants.create(OPERATOR, f"T {ObjectId()}", "us")
    assert services.placement.tenant(american).home_shard == name
    services.shards.set_open(OPERATOR, name, is_open=False)
    with pytest.raises(ShardNotFound):
        services.tenants.create(OPERATOR, f"T {ObjectId()}", "us")
    tenant_id, domain = make_tenant(services)
    services.users._directory.database["tenants"].update_one({"_id": tenant_id}, {"$set": {"home_shard": name}})
    with pytest.raises(RegionForbids):
        create(services, f"a@{domain}", tenant_id)


def test_home_knows_shard_key_and_quota(services: MailServices) -> None:
    user = make_user(services, shard="b", quota_bytes=1 << 20)
    other = make_user(services, shard="a", tenant=None)
    home = services.placement.home(user.user_id)
    assert (home.user_id, home.tenant_id, home.shard.name) == (user.user_id, user.tenant_id, "b")
    assert (home.placement_epoch, home.quota_bytes, home.state) == (1, 1 << 20, State.ACTIVE)
    assert len(home.tenant_key) == 32
    assert home.tenant_key != services.placement.home(other.user_id).tenant_key
    assert home.tenant_key.hex() not in repr(home)
    stored = services.tenants.find(user.tenant_id)
    assert stored is not None
    assert home.tenant_key not in stored.content_key


def test_home_is_read_again_when_forgotten(services: MailServices, directory_uri: str) -> None:
    user = make_user(services)
    assert services.placement.home(user.user_id) is services.placement.home(user.user_id)
    users = services.users._directory.database["users"]
    users.update_one({"_id": user.user_id}, {"$set": {"shard": "b", "placement_epoch": 2}})
    assert services.placement.home(user.user_id).placement_epoch == 1
    services.placement.forget(user.user_id)
    home = services.placement.home(user.user_id)
    assert (home.shard.name, home.placement_epoch) == ("b", 2)


def test_an_unknown_user_has_no_home_and_is_not_remembered(services: MailServices) -> None:
    with pytest.raises(UserNotFound):
        services.placement.home(UserId(ObjectId()))


def test_a_suspended_tenant_shows_in_the_homes_of_its_users(services: MailServices) -> None:
    user = make_user(services)
    assert services.placement.home(user.user_id).state is State.ACTIVE
    services.tenants.set_state(OPERATOR, user.tenant_id, State.DISABLED)
    assert services.placement.home(user.user_id).state is State.DISABLED
    with pytest.raises(TenantNotFound):
        services.tenants.set_state(OPERATOR, TenantId(ObjectId()), State.ACTIVE)


# -- shards -------------------------------------------------------------------------------------


def test_shards_hold_compressed_collections(services: MailServices, shard_uris: dict[str, Any]) -> None:
    stores = services.placement.shard("a")
    for database, name, compressor in ((stores.hot, "messages", "zstd"), (stores.cold, "chunks", "none")):
        options = database.command("collStats", name)["wiredTiger"]["creationString"]
        assert f"block_compressor={compressor}," in options
    assert {shard.name for shard in services.shards.list_all()} >= {"a", "b"}
    with pytest.raises(ShardExists):
        services.shards.add(OPERATOR, "a", "eu", shard_uris["a"].hot, shard_uris["a"].cold)
    with pytest.raises(ShardNotFound):
        services.placement.shard("no such shard")


@pytest.mark.parametrize(
    ("name", "hot", "said"),
    [
        ("x y", "mongodb://h/d", "shard name"),
        ("x", "mongodb://user:hunter2@h/d", "EIDER_SECRET"),
        ("x", "mongodb://h", "database"),
        ("x", "mongodb://h/d?w=1", "majority"),
        ("x", "mongodb://u:${EIDER_SECRET_MISSING}@h/d", "EIDER_SECRET_MISSING"),
    ],
)
def test_malformed_shards_are_refused_without_repeating_a_password(
    services: MailServices, name: str, hot: str, said: str
) -> None:
    with pytest.raises(ValueInvalid, match=said) as refusal:
        services.shards.add(OPERATOR, name, "eu", hot, "mongodb://h/cold")
    assert "hunter2" not in str(refusal.value)


def test_two_shards_share_no_database(services: MailServices, shard_uris: dict[str, Any]) -> None:
    """Else its mail would lie in two regions, and each event of its tenants be told twice."""
    (hot, cold), other = (shard_uris["a"].hot, shard_uris["a"].cold), shard_uris["b"]
    same = hot.replace("mongodb://", "mongodb://user:${EIDER_SECRET_X}@").replace("?", "?appname=x&")
    for uris in ((hot, f"{cold}x"), (f"{hot}x", cold), (hot.replace("mongodb://", "mongodb://other:1,"), cold)):
        with pytest.raises(ValueInvalid, match="shard a "):
            services.shards.add(OPERATOR, "twice", "eu", *uris)
    with pytest.raises(ValueInvalid, match="shard a "):
        services.shards.set_uris(OPERATOR, "b", same, other.cold)
    services.shards.set_uris(OPERATOR, "b", other.hot, other.cold)
    assert "twice" not in {shard.name for shard in services.shards.list_all()}


# -- domains ------------------------------------------------------------------------------------


def test_a_domain_has_one_tenant_in_every_spelling(services: MailServices) -> None:
    (mine, _), (theirs, _) = make_tenant(services), make_tenant(services)
    unique = f"münchen-{ObjectId()}.test"
    domain = services.domains.create(OPERATOR, mine, unique.upper() + ".")
    assert domain.name.startswith("xn--")
    assert services.domains.get(mine, unique) == domain
    for spelling in (unique, domain.name, unique.replace("ü", "u\u0308")):
        with pytest.raises(DomainTaken):
            services.domains.create(OPERATOR, theirs, spelling)
    with pytest.raises(DomainNotFound):
        services.domains.get(theirs, unique)
    assert [found.name for found in services.domains.list_of(mine)][-1] == domain.name


@pytest.mark.parametrize("name", ["", "localhost", "exa mple.com", "[192.0.2.1]", "a..b", "192.0.2.1", "*.example.com"])
def test_what_is_no_domain_is_refused(services: MailServices, name: str) -> None:
    tenant_id, _ = make_tenant(services)
    with pytest.raises(DomainInvalid):
        services.domains.create(OPERATOR, tenant_id, name)


def test_a_domain_needs_a_tenant(services: MailServices) -> None:
    with pytest.raises(TenantNotFound):
        services.domains.create(OPERATOR, TenantId(ObjectId()), "example.com")


def test_an_unverified_domain_gets_no_addresses(services: MailServices) -> None:
    """Squatting: a member's word does not verify a domain, so nobody receives its mail."""
    tenant_id, _ = make_tenant(services)
    name = f"claimed-{ObjectId()}.test"
    assert services.domains.create(MEMBER, tenant_id, name).verified_at is None
    with pytest.raises(NotPermitted):
        create(services, f"a@{name}", tenant_id)


# -- users and addresses ------------------------------------------------------------------------


def test_a_user_is_found_by_every_spelling_of_its_address(services: MailServices) -> None:
    tenant_id, domain = make_tenant(services)
    user_id = create(services, f"Jörg.Müller@{domain}", tenant_id)
    for spelling in (f"jörgmüller@{domain}", f"JÖRG.MÜLLER+shop@{domain.upper()}", f"jo\u0308rg.mu\u0308ller@{domain}"):
        assert services.addresses.get(spelling).user_id == user_id
    user = services.users.get(user_id)
    assert (user.address, user.tenant_id, user.shard) == (f"Jörg.Müller@{domain}", tenant_id, user.shard)
    assert [found.id for found in services.users.list_of_tenant(tenant_id)] == [user_id]


def test_two_users_never_share_what_looks_like_one_address(services: MailServices) -> None:
    tenant_id, domain = make_tenant(services)
    create(services, f"john.doe@{domain}", tenant_id)
    for twin in (f"johndoe@{domain}", f"JOHN.DOE@{domain}", f"ｊohndoe@{domain}", f'"john.doe"@{domain}'):
        with pytest.raises(AddressTaken):
            create(services, twin, tenant_id)
    assert len(services.users.list_of_tenant(tenant_id)) == 1


def test_nobody_gets_an_address_that_reads_as_anothers(services: MailServices) -> None:
    """Attack W19, UTS 39: whichever of the two was there first, in any script."""
    tenant_id, domain = make_tenant(services)
    create(services, f"admin@{domain}", tenant_id)
    create(services, f"сара@{domain}", tenant_id)  # Cyrillic throughout
    for taken in ("adm\u0131n", "capa", "p\u043estmaster", "\u0430buse", "\u0430dmin", "c\u0430p\u0430"):
        with pytest.raises((AddressTaken, AddressInvalid)):
            create(services, f"{taken}@{domain}", tenant_id)
    for free in ("jörg", "мария", "例え", "groß", "ivan", "иван"):
        create(services, f"{free}@{domain}", tenant_id)


def test_addresses_that_are_not_compared_by_their_looks_would_be_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""
    monkeypatch.setattr(Addresses, "_check_told_apart", lambda *_: None)
    with pytest.raises(pytest.fail.Exception):
        test_nobody_gets_an_address_that_reads_as_anothers(services)


def test_addresses_that_are_not_folded_would_be_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of W19: one function makes the canonical form."""
    monkeypatch.setattr("mailcore.model.address._folded", lambda text: text)
    monkeypatch.setattr("mailcore.model.address._PLAIN", re.compile("(?!)()()"))
    with pytest.raises((pytest.fail.Exception, AddressNotFound)):
        test_two_users_never_share_what_looks_like_one_address(services)


def test_of_many_who_create_one_address_at_once_one_succeeds_and_nothing_is_left_of_the_others(
    services: MailServices,
) -> None:
    tenant_id, domain = make_tenant(services)

    def attempt(number: int) -> UserId | MailError:
        try:
            return services.users.create(OPERATOR, f"a{'.b' if number % 2 else 'b'}@{domain}", None, "", tenant_id)
        except MailError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(8)))
    created = [outcome for outcome in outcomes if isinstance(outcome, ObjectId)]
    assert len(created) == 1
    assert all(isinstance(outcome, AddressTaken) for outcome in outcomes if outcome not in created)
    assert [user.id for user in services.users.list_of_tenant(tenant_id)] == created
    assert services.addresses.get(f"ab@{domain}").user_id == created[0]


def test_users_live_in_their_tenants_domains_only(services: MailServices) -> None:
    (mine, domain), (_, foreign) = make_tenant(services), make_tenant(services)
    for address, refusal in (
        (f"a@{foreign}", DomainNotFound),
        ("a@nowhere.test", DomainNotFound),
        (f"a+label@{domain}", AddressInvalid),
        ("not an address", AddressInvalid),
    ):
        with pytest.raises(refusal):
            create(services, address, mine)
    with pytest.raises(TenantNotFound):
        create(services, f"a@{domain}", TenantId(ObjectId()))
    with pytest.raises(ValueInvalid):
        services.users.create(OPERATOR, f"a@{domain}", None, "", mine, quota_bytes=0)
    assert services.users.list_of_tenant(mine) == []


def test_a_plans_number_of_users_is_kept(services: MailServices) -> None:
    tenant_id = services.tenants.create(OPERATOR, f"Small {ObjectId()}", "eu", limits=TenantLimits(users=1))
    domain = f"small-{ObjectId()}.test"
    services.domains.create(OPERATOR, tenant_id, domain)
    create(services, f"a@{domain}", tenant_id)
    with pytest.raises(TooManyUsers):
        create(services, f"b@{domain}", tenant_id)


def test_addresses_come_and_go_but_the_main_one_stays(services: MailServices) -> None:
    user = make_user(services)
    alias = f"alias@{user.address.split('@')[1]}"
    services.addresses.create(OPERATOR, user.user_id, alias)
    assert [route.display for route in services.addresses.list_of_user(user.user_id)] == [user.address, alias]
    with pytest.raises(NotPermitted):
        services.addresses.delete(OPERATOR, user.user_id, user.address.upper())
    services.addresses.delete(OPERATOR, user.user_id, alias.upper())
    with pytest.raises(AddressNotFound):
        services.addresses.delete(OPERATOR, user.user_id, alias)
    with pytest.raises(AddressNotFound):
        services.addresses.get(alias)
    with pytest.raises(UserNotFound):
        services.addresses.create(OPERATOR, UserId(ObjectId()), alias)


def test_another_users_address_cannot_be_taken_away(services: MailServices) -> None:
    one, other = make_user(services), make_user(services)
    with pytest.raises(AddressNotFound):
        services.addresses.delete(OPERATOR, one.user_id, other.address)
    assert services.addresses.get(other.address).user_id == other.user_id


def test_changing_nobody_is_not_found(services: MailServices) -> None:
    nobody = UserId(ObjectId())
    for change in (
        lambda: services.users.get(nobody),
        lambda: services.users.set_state(OPERATOR, nobody, State.ACTIVE),
        lambda: services.users.set_quota(OPERATOR, nobody, 1),
        lambda: services.users.set_password(OPERATOR, nobody, Secret(PASSWORD)),
    ):
        with pytest.raises(UserNotFound):
            change()


def test_every_change_says_who_made_it(services: MailServices, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    user = make_user(services)
    services.users.set_quota(OPERATOR, user.user_id, 1 << 30)
    services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED)
    services.users.set_password(OPERATOR, user.user_id, Secret("another password"))
    services.addresses.create(OPERATOR, user.user_id, f"x@{user.address.split('@')[1]}")
    actors = {record.message: getattr(record, "actor", None) for record in caplog.records}
    for event in (
        "tenant.created",
        "domain.created",
        "user.created",
        "user.quota",
        "user.state",
        "user.password",
        "address.created",
    ):
        assert actors[event] == "test"


# -- certificates -------------------------------------------------------------------------------


def test_certificates_are_found_by_name_wildcard_and_default(services: MailServices) -> None:
    authority = trustme.CA()
    unique = f"{ObjectId()}.test"

    def add(*names: str, is_default: bool = False) -> bytes:
        issued = authority.issue_cert(*names)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        services.certificates.add(OPERATOR, chain, issued.private_key_pem.bytes(), is_default=is_default)
        return issued.private_key_pem.bytes()

    default = add(f"default.{unique}", is_default=True)
    wildcard = add(f"*.{unique}")
    exact = add(f"mail.{unique}")
    for name, key in (
        (f"MAIL.{unique}", exact),
        (f"imap.{unique}", wildcard),
        (f"a.b.{unique}", default),
        ("elsewhere.test", default),
        ("not a name!", default),
        (None, default),
    ):
        found = services.certificates.certificate(name)
        assert found is not None
        assert found.key_pem == key
        assert key.decode() not in repr(found)
    sealed = services.users._directory.database["certs"].find_one({"server_names": f"mail.{unique}"})
    assert sealed is not None
    assert b"PRIVATE KEY" not in sealed["sealed_key"]


def test_a_key_of_another_certificate_is_refused(services: MailServices) -> None:
    authority = trustme.CA()
    one, other = authority.issue_cert("a.test"), authority.issue_cert("b.test")
    for chain, key in (
        (one.cert_chain_pems[0].bytes(), other.private_key_pem.bytes()),
        (b"nonsense", one.private_key_pem.bytes()),
        (one.cert_chain_pems[0].bytes(), b""),
    ):
        with pytest.raises(ValueInvalid):
            services.certificates.add(OPERATOR, chain, key)


def test_services_find_what_other_processes_made(directory_uri: str, shard_uris: dict[str, Any]) -> None:
    one, other = make_services(directory_uri, shard_uris), make_services(directory_uri, shard_uris)
    user = make_user(one)
    assert other.addresses.get(user.address).user_id == user.user_id
    one.close()
    other.close()
