"""Who receives mail for an address: precedence, wildcards, domain aliases, groups, forwarded addresses, duty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import (
    AddressCycle,
    AddressInvalid,
    AddressNotFound,
    AddressTaken,
    DomainNotFound,
    DomainTaken,
    MailError,
    NotPermitted,
    PostingRefused,
    RateExceeded,
    StoreUnavailable,
    TooManyMembers,
    UserDisabled,
    UserNotFound,
    ValueInvalid,
    WildcardNotPermitted,
)
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import RoutingLimits
from mailcore.model.routing import ForwardedAutoreply, Group, Posters
from mailcore.model.tenant import State
from mailcore.model.wildcard import covering
from mailcore.services import MailServices
from mailcore.services.addresses import address_book, resolution
from mailcore.services.addresses.onward_addresses import OnwardAddresses
from mailcore.services.addresses.resolution import ANYBODY, Resolution, Resolutions
from mailcore.services.inbound.delivery import Delivery
from mailcore.store.directory.addresses import Addresses
from mailcore.store.directory.domains import Domains
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user

MEMBER = Actor(ActorKind.MEMBER, Door.PORTAL, "member@example.com")


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: Mapping[str, Any]) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@dataclass(frozen=True)
class Scene:
    """A tenant with a domain and users."""

    services: MailServices
    tenant_id: TenantId
    domain: str

    def user(self) -> MadeUser:
        return make_user(self.services, tenant=(self.tenant_id, self.domain))

    def at(self, local: str) -> str:
        return f"{local}@{self.domain}"

    def alias(self, user: MadeUser, *patterns: str) -> None:
        for pattern in patterns:
            self.services.addresses.create(OPERATOR, user.user_id, pattern, allow_wildcard=True)

    def resolve(self, address: str, sender: str | None = "x@elsewhere.test") -> Resolution:
        return self.services.resolutions.resolve(address, sender)

    def users(self, address: str, sender: str | None = "x@elsewhere.test") -> list[UserId]:
        return [recipient.user_id for recipient in self.resolve(address, sender).recipients]


@pytest.fixture
def scene(services: MailServices) -> Scene:
    return Scene(services, *make_tenant(services))


# -- users --------------------------------------------------------------------------------------


def test_dots_labels_case_and_aliases_reach_the_user(scene: Scene) -> None:
    user = scene.user()
    scene.alias(user, scene.at("jane.roe"))
    local = user.address.partition("@")[0]
    for spelling in (local, f"{local}+shop", "JaneRoe", "j.a.n.e.r.o.e+x+y", "jane.roe"):
        assert scene.users(scene.at(spelling)) == [user.user_id]
    assert not scene.resolve(user.address).catch_all


@pytest.mark.parametrize("address", ["nobody", "", "@", "a@b@c", "x" * 2000, "*", "**"])
def test_nobody_is_told_as_such(scene: Scene, address: str) -> None:
    with pytest.raises(AddressNotFound):
        scene.resolve(address)
    with pytest.raises(AddressNotFound):
        scene.resolve(scene.at(address))


def test_suspended_users_get_mail_and_disabled_ones_do_not(scene: Scene) -> None:
    user = scene.user()
    scene.services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED)
    assert scene.users(user.address) == [user.user_id]
    scene.services.users.set_state(OPERATOR, user.user_id, State.DISABLED)
    with pytest.raises(UserDisabled):
        scene.resolve(user.address)


# -- wildcards and domain aliases ---------------------------------------------------------------


def test_the_most_particular_entry_counts(scene: Scene) -> None:
    """The order of decision 13, from the last to the first: each step adds an entry that comes before."""
    scene.services.domains.create(OPERATOR, scene.tenant_id, f"alias-{scene.domain}")
    scene.services.domains.create_alias(OPERATOR, scene.tenant_id, f"alias-{scene.domain}", scene.domain)
    alias = f"alias-{scene.domain}"
    order = [
        f"*@{scene.domain}",
        f"*@{alias}",
        f"*s@{scene.domain}",
        f"*es@{alias}",
        f"sa*@{alias}",
        f"sale*@{scene.domain}",
        f"*ales@{alias}",
        f"sale*@{alias}",
        "sales@*",
        f"sales@{scene.domain}",
        f"sales@{alias}",
    ]
    for pattern in order:
        user = scene.user()
        scene.alias(user, pattern)
        found = scene.resolve(f"Sa.les+eu@{alias}")
        assert [one.user_id for one in found.recipients] == [user.user_id], pattern
        assert found.catch_all == ("*" in pattern)


def test_another_order_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were the catch-all asked first."""
    monkeypatch.setattr(address_book, "covering", lambda *known: reversed(list(covering(*known))))
    with pytest.raises(AssertionError):
        test_the_most_particular_entry_counts(scene)


def test_a_wildcard_covers_what_it_says(scene: Scene) -> None:
    ends, begins, everywhere = scene.user(), scene.user(), scene.user()
    scene.alias(ends, scene.at("*.Support"))
    scene.alias(begins, scene.at("info.*"))
    scene.alias(everywhere, "boss@*")
    assert scene.users(scene.at("eu-sup.port+x")) == [ends.user_id]
    assert scene.users(scene.at("infodesk")) == [begins.user_id]
    assert scene.users(scene.at("b.oss")) == [everywhere.user_id]
    with pytest.raises(AddressNotFound):
        scene.resolve(scene.at("other"))
    scene.services.addresses.delete(OPERATOR, ends.user_id, scene.at("*support"))
    with pytest.raises(AddressNotFound):
        scene.resolve(scene.at("eu-support"))


@pytest.mark.parametrize(
    "pattern", ["a*b@{}", "**@{}", "*@*", "*", "a*@*", "*+x@{}", "*" + "x" * 33 + "@{}", "a b*@{}", "*@", "*@[1.2.3.4]"]
)
def test_other_patterns_are_refused(scene: Scene, pattern: str) -> None:
    with pytest.raises(AddressInvalid):
        scene.services.addresses.create(
            OPERATOR, scene.user().user_id, pattern.format(scene.domain), allow_wildcard=True
        )


def test_wildcards_are_made_only_where_they_are_meant(scene: Scene) -> None:
    user = scene.user()
    with pytest.raises(WildcardNotPermitted):
        scene.services.addresses.create(OPERATOR, user.user_id, scene.at("*"))
    with pytest.raises(WildcardNotPermitted):
        scene.services.groups.create(OPERATOR, scene.tenant_id, scene.at("*"), [user.address])
    scene.alias(user, scene.at("*"))
    with pytest.raises(AddressTaken):
        scene.alias(scene.user(), scene.at("*"))


def test_a_wildcard_never_covers_another_tenants_address(scene: Scene) -> None:
    """Attack M12: neither a domain of another tenant nor, by `user@*`, an address in one."""
    other = Scene(scene.services, *make_tenant(scene.services))
    user = scene.user()
    with pytest.raises(DomainNotFound):
        scene.alias(user, other.at("*"))
    scene.alias(user, "boss@*", scene.at("*"))
    with pytest.raises(AddressNotFound):
        other.resolve(other.at("boss"))
    theirs = other.user()
    other.alias(theirs, "boss@*")  # the same pattern is another in another tenant
    assert other.users(other.at("boss")) == [theirs.user_id]
    assert scene.users(scene.at("boss")) == [user.user_id]


def test_a_wildcard_of_everybody_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were `user@*` the same pattern whoever has it, and nobody looked whose it is."""
    monkeypatch.setattr("mailcore.model.wildcard._of_every_domain", lambda base, _: f"{base}@*")
    monkeypatch.setattr(
        address_book,
        "_first",
        lambda wanted, entries, _: next((entries[one] for one in wanted if one in entries), None),
    )
    with pytest.raises((AssertionError, pytest.fail.Exception, AddressTaken)):
        test_a_wildcard_never_covers_another_tenants_address(scene)
    scene.services.addresses._directory.database["addresses"].delete_many({"canonical": "boss@*"})


def test_unverified_domains_get_no_mail_by_wildcard_alias_or_duty(scene: Scene) -> None:
    """Attack W26: what nobody proved to own receives nothing."""
    name = f"claimed-{scene.domain}"
    user = scene.user()
    scene.services.domains.create(MEMBER, scene.tenant_id, name)
    scene.services.domains.create_alias(MEMBER, scene.tenant_id, name, scene.domain)
    scene.alias(user, "boss@*")
    for local in ("boss", "postmaster", user.address.partition("@")[0]):
        with pytest.raises(AddressNotFound):
            scene.resolve(f"{local}@{name}")
    with pytest.raises(NotPermitted):
        scene.alias(user, f"*@{name}")
    with pytest.raises(NotPermitted):
        scene.services.groups.create(OPERATOR, scene.tenant_id, f"all@{name}", [user.address])


def test_domain_aliases_make_no_chains(scene: Scene) -> None:
    domains, one, two = scene.services.domains, f"one-{scene.domain}", f"two-{scene.domain}"
    domains.create_alias(OPERATOR, scene.tenant_id, one, scene.domain)
    for alias, name, error in (
        (two, one, NotPermitted),
        (scene.domain, one, NotPermitted),
        (scene.domain, scene.domain, NotPermitted),
        (one, scene.domain, DomainTaken),
        (two, "nowhere.test", DomainNotFound),
    ):
        with pytest.raises(error):
            domains.create_alias(OPERATOR, scene.tenant_id, alias, name)
    other = Scene(scene.services, *make_tenant(scene.services))
    with pytest.raises(DomainTaken):
        domains.create_alias(OPERATOR, other.tenant_id, scene.domain, other.domain)
    user = scene.user()
    local = user.address.partition("@")[0]
    assert scene.users(f"{local}@{one}") == [user.user_id]
    assert [alias.name for alias in domains.list_aliases(scene.tenant_id)] == [one]
    domains.delete_alias(OPERATOR, scene.tenant_id, one)
    with pytest.raises(AddressNotFound):
        scene.resolve(f"{local}@{one}")
    with pytest.raises(DomainNotFound):
        domains.delete_alias(OPERATOR, scene.tenant_id, one)


def test_postmaster_and_abuse_reach_somebody_in_every_domain(scene: Scene) -> None:
    """RFC 5321 §4.5.1: the oldest user, else whom the tenant names, else whoever has the address or covers it."""
    with pytest.raises(AddressNotFound):
        scene.resolve(scene.at("postmaster"))
    oldest, named, owner, catcher = (scene.user() for _ in range(4))
    assert scene.users(scene.at("Post.master")) == scene.users(scene.at("abuse+x")) == [oldest.user_id]
    scene.services.users.set_state(OPERATOR, oldest.user_id, State.DISABLED)
    assert scene.users(scene.at("postmaster")) == [named.user_id]
    scene.services.tenants.set_postmaster(OPERATOR, scene.tenant_id, owner.user_id)
    assert scene.users(scene.at("abuse")) == [owner.user_id]
    scene.services.users.set_state(OPERATOR, owner.user_id, State.DISABLED)
    assert scene.users(scene.at("abuse")) == [named.user_id]
    scene.alias(catcher, scene.at("*"))
    assert scene.users(scene.at("abuse")) == [catcher.user_id]
    scene.alias(named, scene.at("abuse"))
    assert scene.users(scene.at("abuse")) == [named.user_id]
    with pytest.raises(UserNotFound):
        scene.services.tenants.set_postmaster(OPERATOR, scene.tenant_id, make_user(scene.services).user_id)


# -- groups and forwarded addresses -------------------------------------------------------------


def test_a_group_reaches_members_here_and_elsewhere_each_once(scene: Scene) -> None:
    one, two, three = (scene.user() for _ in range(3))
    stranger = make_user(scene.services)
    scene.alias(two, scene.at("second"))
    scene.alias(three, scene.at("*-catch"))
    groups = scene.services.groups
    inner = groups.create(OPERATOR, scene.tenant_id, scene.at("inner"), [scene.at("sec.ond"), "A.b+c@gmail.test"])
    members = [one.address, two.address, inner.display, "a.b+c@gmail.test", stranger.address, scene.at("it-catch")]
    groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [*members, scene.at("gone")])
    found = scene.resolve(scene.at("A.ll+x"))
    assert {user.user_id for user in found.recipients} == {one.user_id, two.user_id, three.user_id}
    assert len(found.recipients) == 3
    assert {target.address for target in found.forwards} == {"a.b+c@gmail.test", stranger.address}
    assert found.group is not None
    assert found.group.canonical == scene.at("all")
    assert {recipient.address for recipient in found.recipients} == {scene.at("A.ll+x")}


def test_a_group_without_anybody_is_nobody(scene: Scene) -> None:
    user = scene.user()
    scene.services.groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [user.address])
    scene.services.users.set_state(OPERATOR, user.user_id, State.DISABLED)
    with pytest.raises(AddressNotFound):
        scene.resolve(scene.at("all"))


def test_who_may_post(scene: Scene) -> None:
    user, other = scene.user(), scene.user()
    groups = scene.services.groups
    groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [user.address, "Ext@gmail.test"], posters=Posters.MEMBERS)
    scene.alias(user, scene.at("nick"))
    for sender in (user.address, scene.at("n.i.c.k+l"), "e.x.t@GMAIL.test"):
        assert scene.users(scene.at("all"), sender) == [user.user_id]
    for sender in (other.address, "ext@other.test", None, "", "junk", "ext@gmail.test\r\n"):
        with pytest.raises(PostingRefused):
            scene.resolve(scene.at("all"), sender)
    groups.update(OPERATOR, scene.tenant_id, scene.at("all"), posters=Posters.TENANT)
    assert scene.users(scene.at("all"), other.address) == [user.user_id]
    with pytest.raises(PostingRefused):
        scene.resolve(scene.at("all"), "ext@gmail.test")
    groups.update(OPERATOR, scene.tenant_id, scene.at("all"), posters=Posters.ANYONE)
    assert scene.users(scene.at("all"), None) == [user.user_id]


def test_moderators_decide_where_there_are_any(scene: Scene) -> None:
    user, moderator = scene.user(), scene.user()
    groups = scene.services.groups
    groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [user.address])
    assert scene.resolve(scene.at("all")).moderators == ()
    groups.update(OPERATOR, scene.tenant_id, scene.at("all"), moderators=[moderator.user_id])
    found = scene.resolve(scene.at("all"))
    assert [one.user_id for one in found.moderators] == [moderator.user_id]
    assert [one.user_id for one in found.recipients] == [user.user_id]
    with pytest.raises(UserNotFound):
        groups.update(OPERATOR, scene.tenant_id, scene.at("all"), moderators=[make_user(scene.services).user_id])
    scene.services.users.set_state(OPERATOR, moderator.user_id, State.DISABLED)
    with pytest.raises(UserDisabled):  # nobody is there to decide: not let through
        scene.resolve(scene.at("all"))


def test_a_forwarded_address_goes_on(scene: Scene) -> None:
    user = scene.user()
    forwarded = scene.services.forwarded_addresses
    reply = ForwardedAutoreply(subject="Moved", text="I have moved")
    address = scene.at("old.name")
    made = forwarded.create(
        OPERATOR, scene.tenant_id, address, ["new@else.test", user.address], forwards_per_day=7, autoreply=reply
    )
    found = scene.resolve(scene.at("oldname+x"))
    assert [one.user_id for one in found.recipients] == [user.user_id]
    assert [target.address for target in found.forwards] == ["new@else.test"]
    assert found.forwarded == made == forwarded.get(scene.tenant_id, address)
    forwarded.update(OPERATOR, scene.tenant_id, address, is_disabled=True)
    with pytest.raises(UserDisabled):
        scene.resolve(address)
    forwarded.delete(OPERATOR, scene.tenant_id, address)
    with pytest.raises(AddressNotFound):
        scene.resolve(address)
    forwarded.create(OPERATOR, scene.tenant_id, scene.at("*"), ["all@else.test"], allow_wildcard=True)
    assert scene.resolve(address).catch_all


def test_forwarded_addresses_and_groups_are_no_logins_and_keep_their_address(scene: Scene) -> None:
    user = scene.user()
    scene.services.groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [user.address])
    assert scene.services.addresses.find(scene.at("all")) is None
    with pytest.raises(AddressTaken):
        scene.alias(user, scene.at("a.l.l"))
    with pytest.raises(AddressTaken):
        scene.services.forwarded_addresses.create(OPERATOR, scene.tenant_id, scene.at("ALL"), ["x@y.test"])


def test_another_tenants_entries_are_not_found(scene: Scene) -> None:
    other = Scene(scene.services, *make_tenant(scene.services))
    scene.services.groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [scene.user().address])
    scene.services.forwarded_addresses.create(OPERATOR, scene.tenant_id, scene.at("old"), ["x@y.test"])
    with pytest.raises(AddressNotFound):
        scene.services.groups.update(OPERATOR, other.tenant_id, scene.at("all"), members=["evil@y.test"])
    with pytest.raises(AddressNotFound):
        scene.services.forwarded_addresses.delete(OPERATOR, other.tenant_id, scene.at("old"))
    with pytest.raises(DomainNotFound):
        scene.services.groups.create(OPERATOR, other.tenant_id, scene.at("mine"), [])
    assert scene.services.groups.list_of(other.tenant_id) == []
    assert len(scene.services.groups.list_of(scene.tenant_id)) == 1
    assert len(scene.services.forwarded_addresses.list_of(scene.tenant_id)) == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"targets": []}, ValueInvalid),
        ({"targets": ["x@y.test"], "forwards_per_day": -1}, ValueInvalid),
        ({"targets": ["x@y.test\r\nBcc: z@z.test"]}, AddressInvalid),
        ({"targets": [f"x{number}@y.test" for number in range(101)]}, TooManyMembers),
        ({"targets": ["x@y.test"], "autoreply": ForwardedAutoreply(subject="a\r\nBcc: b@c.test")}, ValueInvalid),
        ({"targets": ["x@y.test"], "autoreply": ForwardedAutoreply(text="x" * 131073)}, ValueInvalid),
        ({"targets": ["x@y.test"], "name": "a\nb\x00"}, ValueInvalid),
    ],
)
def test_malformed_ones_are_refused(scene: Scene, fields: dict[str, Any], error: type[MailError]) -> None:
    with pytest.raises(error):
        scene.services.forwarded_addresses.create(OPERATOR, scene.tenant_id, scene.at("old"), **fields)


# -- cycles -------------------------------------------------------------------------------------


def chain(scene: Scene, length: int) -> list[str]:
    """Groups that each have the next one as their member."""
    names = [scene.at(f"g{number}") for number in range(length)]
    last = scene.user().address
    for name in reversed(names):
        scene.services.groups.create(OPERATOR, scene.tenant_id, name, [last])
        last = name
    return names


def test_cycles_are_refused_when_saved(scene: Scene) -> None:
    """Attack M11."""
    first, second, third = chain(scene, 3)
    groups = scene.services.groups
    for name in (first, second, third, f"{third.replace('@', '+x@')}"):
        with pytest.raises(AddressCycle):
            groups.update(OPERATOR, scene.tenant_id, third, members=[name])
    with pytest.raises(AddressCycle):
        scene.services.forwarded_addresses.create(OPERATOR, scene.tenant_id, scene.at("me"), [scene.at("m.e")])
    with pytest.raises(AddressCycle):  # a catch-all that comes back to itself by any address of the domain
        scene.services.forwarded_addresses.create(
            OPERATOR, scene.tenant_id, scene.at("*"), [scene.at("whatever")], allow_wildcard=True
        )
    alias = f"alias-{scene.domain}"
    scene.services.domains.create_alias(OPERATOR, scene.tenant_id, alias, scene.domain)
    with pytest.raises(AddressCycle):
        groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [f"all@{alias}"])


def test_no_chain_is_longer_than_the_limit(scene: Scene) -> None:
    with pytest.raises(AddressCycle):
        chain(scene, RoutingLimits().depth + 1)


def looped(scene: Scene, length: int) -> str:
    """A circle of groups that no check saw being made, the first with a member of its own."""
    addresses = scene.services.placement.directory.addresses
    user, now = scene.user().address, datetime.now(UTC)
    names = [scene.at(f"g{number}") for number in range(length)]
    for number, name in enumerate(names):
        members = (names[(number + 1) % length], user)
        assert addresses.insert(Group(ObjectId(), scene.tenant_id, name, name, now, members))
    return names[0]


def count_queries(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    find_one, find_all, by_names = Addresses.find_entry, Addresses.find_entries, Domains.find_by_names
    monkeypatch.setattr(Addresses, "find_entry", lambda self, c: counted.append(1) or find_one(self, c))
    monkeypatch.setattr(Addresses, "find_entries", lambda self, c: counted.append(len(c)) or find_all(self, c))
    monkeypatch.setattr(Domains, "find_by_names", lambda self, c: counted.append(len(c)) or by_names(self, c))
    return counted


@pytest.mark.parametrize("length", [2, 100])
def test_cycles_are_cut_at_run(scene: Scene, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack M11: made by two changes at once, say; each user is reached once, in a bounded number of queries."""
    start = looped(scene, length)
    counted = count_queries(scene, monkeypatch)
    assert len(scene.users(start)) == 1
    assert len(counted) <= 1 + 3 * RoutingLimits().depth


def test_a_cycle_that_nobody_cuts_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the memory of what was passed and without a depth it goes round until it is stopped."""

    class Forgetful(set[str]):
        def add(self, _: str) -> None:
            pass

    start = looped(scene, 2)
    endless = Resolutions(scene.services.placement.directory, scene.services.placement, RoutingLimits(depth=1000))
    monkeypatch.setattr(resolution._Reached, "__init__", lambda self, passed: _forget(self, Forgetful()))
    counted = count_queries(scene, monkeypatch)
    endless.resolve(start)
    assert len(counted) > 1 + 3 * RoutingLimits().depth


def test_cycles_that_no_check_looks_for_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of the check when saved."""
    monkeypatch.setattr(OnwardAddresses, "_check_ways", lambda *_: None)
    with pytest.raises(pytest.fail.Exception):
        test_cycles_are_refused_when_saved(scene)


def _forget(reached: Any, passed: set[str]) -> None:
    reached.users, reached.elsewhere, reached.passed = {}, {}, passed


def test_what_spreads_too_far_is_refused(scene: Scene) -> None:
    groups = scene.services.groups
    few = Resolutions(scene.services.placement.directory, scene.services.placement, RoutingLimits(reached=10))
    for number in range(3):
        members = [f"m{number}-{one}@else.test" for one in range(4)]
        groups.create(OPERATOR, scene.tenant_id, scene.at(f"part{number}"), members)
    groups.create(OPERATOR, scene.tenant_id, scene.at("all"), [scene.at(f"part{number}") for number in range(3)])
    assert len(scene.resolve(scene.at("all")).forwards) == 12
    with pytest.raises(TooManyMembers):
        few.resolve(scene.at("all"))


# -- catch-all ----------------------------------------------------------------------------------


def test_who_guesses_addresses_fills_no_mailbox(scene: Scene) -> None:
    """Attack M12: by a wildcard a user gets so much an hour; the user's own addresses go on."""
    user = scene.user()
    scene.alias(user, scene.at("*"))
    delivery = scene.services.delivery
    scene.services.users.set_limit(OPERATOR, user.user_id, "catch_all_per_hour", 10)
    asked = [delivery.resolve(scene.at(f"guess{number}"), ANYBODY, only_asks=True) for number in range(30)]
    assert len(asked) == 30  # who only asks uses nothing up
    taken = sum(not raises_rate(scene, f"guess{number}") for number in range(30))
    assert taken == 2  # without Redis each process allows a fifth
    with pytest.raises(RateExceeded):
        delivery.resolve(scene.at("another"), ANYBODY, only_asks=True)
    assert delivery.resolve(user.address, None).recipients[0].user_id == user.user_id


def raises_rate(scene: Scene, local: str) -> bool:
    try:
        scene.services.delivery.resolve(scene.at(local), "x@elsewhere.test")
    except RateExceeded:
        return True
    return False


def test_a_catch_all_without_a_quota_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(Delivery, "_count", lambda *_, **__: None)
    with pytest.raises(AssertionError):
        test_who_guesses_addresses_fills_no_mailbox(scene)


# -- round trips and trouble --------------------------------------------------------------------


def test_an_address_itself_costs_one_look_and_a_miss_two_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    user = scene.user()
    scene.resolve(user.address)
    counted = count_queries(scene, monkeypatch)
    scene.resolve(user.address)
    assert len(counted) == 1
    counted.clear()
    with pytest.raises(AddressNotFound):
        scene.resolve(scene.at("x" * 64))
    assert len(counted) == 3
    assert max(counted) <= 66
    counted.clear()
    with pytest.raises(AddressNotFound):
        scene.resolve("a@not-hosted.test")
    assert len(counted) == 2


def test_nobody_is_never_said_while_the_directory_is_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """P12: at whichever look it goes away, the answer is that it is not known now."""
    for repository, method in (
        (Addresses, "find_entry"),
        (Domains, "find_by_names"),
        (Addresses, "find_entries"),
    ):

        def away(*_: object) -> None:
            raise StoreUnavailable("away")

        with monkeypatch.context() as patch:
            patch.setattr(repository, method, away)
            with pytest.raises(StoreUnavailable):
                scene.resolve(scene.at("nobody"))


def test_a_users_own_address_may_be_known_and_nothing_else(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMTP takes an address for true that was read two seconds ago; that nobody has it is always asked."""
    resolutions = scene.services.resolutions
    user = scene.user()
    asked: list[object] = []
    look_up = type(resolutions._book).look_up

    def counting(book: Any, addresses: Any) -> Any:
        asked.append(addresses)
        return look_up(book, addresses)

    monkeypatch.setattr(type(resolutions._book), "look_up", counting)
    for _ in range(3):
        assert resolutions.resolve(user.address, None, max_age_s=60).recipients[0].user_id == user.user_id
    assert len(asked) == 1
    resolutions.resolve(user.address, None)
    assert len(asked) == 2
    for nobody in range(2):
        with pytest.raises(AddressNotFound):
            resolutions.resolve(f"nobody-{user.address}", None, max_age_s=60)
        assert len(asked) == 3 + nobody
    clock = resolutions._recent[user.address][0]
    resolutions._recent[user.address] = clock - 100, resolutions._recent[user.address][1]
    resolutions.resolve(user.address, None, max_age_s=60)
    assert len(asked) == 5
