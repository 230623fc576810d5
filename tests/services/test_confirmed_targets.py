"""Where users have mail sent on to: nothing leaves for an address outside before it was confirmed, by whichever door.

Whoever holds somebody's stolen token or open session could else have a copy of all mail go on for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from random import Random
from typing import Any, Final

import pytest
from bson import ObjectId

from mailcore.errors import NonceInvalid
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.filter import RuleAction, RuleContent, of_tenant, of_user
from mailcore.model.onward_target import AGAIN_AFTER, GOOD_FOR, MOST_CONFIRMED, TargetAsk, target_key
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.users import Users
from mailcore.services.addresses import onward_targets
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from mailcore.services.events.audit import Planned
from mailcore.services.inbound.arrival import compared
from mailcore.sieve import redirects_of
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.services.inbound_mail import count, mail, queued, take
from tests.store.mailbox.test_round_trips import Listener

OUT: Final = "home@elsewhere.test"
ADMINS: Final = (OPERATOR, Actor(ActorKind.MEMBER, Door.API, "token 1"), Actor(ActorKind.SYSTEM, Door.WORKER, "x"))


@pytest.fixture(autouse=True)
def nothing_counted(services: MailServices) -> None:
    """Every test asks the same addresses, each as if on a day of its own."""
    client = services._link.client
    assert client is not None
    for key in client.scan_iter("*confirmations_per_day*"):
        client.delete(key)


def own(user: MadeUser, door: Door = Door.API) -> Actor:
    return Actor(ActorKind.USER, door, user.address, user.user_id)


Way = Callable[[MailServices, Actor, MadeUser, str], None]
"""A way to have mail sent on that leaves no copy by itself."""


def by_settings(services: MailServices, actor: Actor, user: MadeUser, target: str) -> None:
    services.users.set_settings(actor, user.user_id, {"targets": (target,), "keeps_forwarded": False})


def by_rule(services: MailServices, actor: Actor, user: MadeUser, target: str) -> None:
    action = RuleAction(targets=(target,), delete=True)
    services.filters.create(actor, of_user(user.user_id), RuleContent(action=action))


def by_changed_rule(services: MailServices, actor: Actor, user: MadeUser, target: str) -> None:
    owner = of_user(user.user_id)
    rule = services.filters.create(actor, owner, RuleContent(action=RuleAction(delete=True), is_disabled=True))
    changes = {"action": RuleAction(targets=(target,), delete=True), "is_disabled": False}
    services.filters.update(actor, owner, rule.id, changes)


def by_admins_rule(services: MailServices, actor: Actor, user: MadeUser, target: str) -> None:
    """An admin made the rule, for another target."""
    owner = of_user(user.user_id)
    action = RuleAction(targets=("other@elsewhere.test",), delete=True)
    rule = services.filters.create(OPERATOR, owner, RuleContent(action=action))
    services.filters.update(actor, owner, rule.id, {"action": replace(action, targets=(target,))})


def by_script(services: MailServices, actor: Actor, user: MadeUser, target: str) -> None:
    services.scripts.put(actor, user.user_id, "s", f'redirect "{target}";')
    services.scripts.activate(actor, user.user_id, "s")


def by_changed_script(services: MailServices, actor: Actor, user: MadeUser, target: str) -> None:
    """The active script of an admin, under its name."""
    services.scripts.put(OPERATOR, user.user_id, "s", "keep;")
    services.scripts.activate(OPERATOR, user.user_id, "s")
    services.scripts.put(actor, user.user_id, "s", f'redirect "{target}";')


def by_computed_script(services: MailServices, actor: Actor, user: MadeUser, target: str) -> None:
    local, _, domain = target.partition("@")
    text = f'require "variables"; set "d" "{domain}"; redirect "{local}@${{d}}";'
    services.scripts.put(actor, user.user_id, "s", text)
    services.scripts.rename(actor, user.user_id, "s", "t")
    services.scripts.activate(actor, user.user_id, "t")


WAYS: Final = (
    by_settings, by_rule, by_changed_rule, by_admins_rule, by_script, by_changed_script, by_computed_script,
)  # fmt: skip
DOORS: Final = (Door.API, Door.MANAGESIEVE, Door.IMAP, Door.PORTAL)


def arrives(services: MailServices, user: MadeUser) -> tuple[int, int]:
    """Let a message come in; return how many copies are here then, and how many were sent on."""
    assert take(services, mail(user.address), user.address) == [None]
    return count(services, user), sum(len(entry.recipients) for entry in queued(services, user))


def confirm(services: MailServices, user: MadeUser, number: int = -1) -> None:
    services.targets.confirm(OPERATOR, services.targets.find(link(services, user, number)))


def asks(services: MailServices, user: MadeUser) -> tuple[TargetAsk, ...]:
    return services.users.get(user.user_id).onward.asks


def link(services: MailServices, user: MadeUser, number: int = -1) -> str:
    return services.targets.token(user.user_id, asks(services, user)[number])


# -- nothing leaves unconfirmed -----------------------------------------------------------------


def check_kept_until_confirmed(services: MailServices, way: Way, door: Door) -> None:
    user = make_user(services)
    way(services, own(user, door), user, OUT)
    assert arrives(services, user) == (1, 0)
    if way is by_computed_script:  # nobody is asked whom a message might name
        assert asks(services, user) == ()
        return
    confirm(services, user)
    assert arrives(services, user)[1] == 1
    assert arrives(services, user) == (1, 2)


@pytest.mark.parametrize(("way", "door"), list(zip(WAYS, cycle(DOORS), strict=False)))
def test_mail_is_kept_until_the_target_is_confirmed(services: MailServices, way: Way, door: Door) -> None:
    check_kept_until_confirmed(services, way, door)


def test_control_without_the_gate_it_leaves(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConfirmedTargets, "released", lambda _self, _home, forwards: tuple(forwards))
    for way in WAYS:
        with pytest.raises(AssertionError):
            check_kept_until_confirmed(services, way, Door.API)


def test_control_users_who_count_as_admins_send_it_on(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("accounts.users", "inbound.filters", "inbound.scripts"):
        monkeypatch.setattr(f"mailcore.services.{module}.is_own_choice", lambda _actor: False)
    for way in WAYS:
        with pytest.raises(AssertionError):
            check_kept_until_confirmed(services, way, Door.API)


@pytest.mark.parametrize("target", ["https://hooks.elsewhere.test/in", "smtp://mx.elsewhere.test:25"])
@pytest.mark.parametrize("way", [by_settings, by_rule, by_changed_rule])
def test_a_url_waits_for_an_admin(services: MailServices, way: Way, target: str) -> None:
    user = make_user(services)
    way(services, own(user), user, target)
    assert arrives(services, user) == (1, 0)
    assert asks(services, user) == ()
    assert services.targets.waiting(services.users.get(user.user_id), [target]) == [target]
    services.targets.vouch(OPERATOR, user.user_id, [target])
    assert arrives(services, user)[1] == 1


def test_a_script_sends_to_no_url_either(services: MailServices) -> None:
    user = make_user(services)
    text = 'require "vnd.eider.rules"; sendto "https://hooks.elsewhere.test/in"; discard;'
    services.scripts.put(own(user), user.user_id, "s", text)
    services.scripts.activate(own(user), user.user_id, "s")
    assert arrives(services, user) == (1, 0)


def test_of_several_targets_those_get_mail_that_are_confirmed_and_a_copy_stays(services: MailServices) -> None:
    user = make_user(services)
    both = ("one@elsewhere.test", "two@elsewhere.test")
    services.users.set_settings(own(user), user.user_id, {"targets": both, "keeps_forwarded": False})
    confirm(services, user, 0)
    assert arrives(services, user) == (1, 1)
    confirm(services, user)
    assert arrives(services, user) == (1, 3)


def test_the_log_says_that_something_was_not_sent(services: MailServices, caplog: pytest.LogCaptureFixture) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    with caplog.at_level("INFO"):
        arrives(services, user)
    [line] = [one for one in caplog.records if one.getMessage() == "forward.unconfirmed"]
    assert vars(line)["user"] == str(user.user_id)
    assert vars(line)["targets"] == 1


def test_a_target_that_is_removed_waits_again(services: MailServices) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    confirm(services, user)
    assert arrives(services, user) == (0, 1)
    services.targets.forget(own(user), user.user_id, target_key(OUT))
    assert arrives(services, user) == (1, 1)


def check_saved_at_once(services: MailServices, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Both read the same settings; whoever is last has targets and mark go together."""
    user = make_user(services)
    good = "good@elsewhere.test"
    by_settings(services, own(user), user, good)
    check: Callable[..., None] = Users._set_settings
    overtaken = [own(user)] if before == "the user's" else [OPERATOR]

    def slow(self: Users, actor: Actor, *rest: Any) -> None:
        if overtaken and actor is not overtaken[0]:
            other = overtaken.pop()
            by_settings(services, other, user, OUT if other is not OPERATOR else good)
        check(self, actor, *rest)

    monkeypatch.setattr(Users, "_set_settings", slow)
    if before == "the user's":
        by_settings(services, OPERATOR, user, good)
        settings = services.users.get(user.user_id).settings
        assert (settings.targets, settings.targets_ask) == ((good,), False)
    else:
        by_settings(services, own(user), user, OUT)
        assert arrives(services, user) == (1, 0)


@pytest.mark.parametrize("before", ["an admin's", "the user's"])
def test_an_admin_who_saves_meanwhile_vouches_for_nothing_but_what_is_saved(
    services: MailServices, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    check_saved_at_once(services, monkeypatch, before)


def test_control_marks_that_are_stored_apart_are_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailcore.services.accounts.users.MARKED", ())
    with pytest.raises(AssertionError):
        check_saved_at_once(services, monkeypatch, "the user's")


# -- what counts as the same address ------------------------------------------------------------


@pytest.mark.parametrize(
    ("confirmed", "wanted"),
    [
        ("Home@Elsewhere.TEST", "home@elsewhere.test"),
        ("home@bücher.test", "HOME@xn--bcher-kva.test"),
        ("jörg@elsewhere.test", "jo\u0308rg@elsewhere.test"),
        ("home@elsewhere.test", "ｈｏｍｅ@elsewhere.test"),
    ],
)
def test_spellings_of_one_address_are_confirmed_together(services: MailServices, confirmed: str, wanted: str) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, confirmed)
    confirm(services, user)
    by_settings(services, own(user), user, wanted)
    assert arrives(services, user) == (0, 1)


@pytest.mark.parametrize(
    "wanted",
    [
        "ho.me@elsewhere.test",  # outside a dot may make another mailbox
        "home+tag@elsewhere.test",
        "home@other.test",
        "home@elsewhere.test.evil.test",
        "hοme@elsewhere.test",  # Greek
        "straße@elsewhere.test",
    ],
)
def test_what_may_be_another_address_is_not_confirmed_with_it(services: MailServices, wanted: str) -> None:
    user = make_user(services)
    services.targets.vouch(OPERATOR, user.user_id, [OUT, "strasse@elsewhere.test"])
    for way in WAYS:
        if way is not by_computed_script:
            way(services, own(user), user, wanted)
    assert arrives(services, user) == (1, 0)


def test_keys_of_targets_are_stable() -> None:
    for target in ("A.b+C@ÄÖ.test", "https://x.test/A", "odd..dots@x.test", "ｆull@x.test"):
        assert target_key(target_key(target)) == target_key(target)


# -- addresses of the same tenant ---------------------------------------------------------------


def test_an_address_of_the_tenant_needs_no_confirmation_and_one_elsewhere_here_does(services: MailServices) -> None:
    tenant = make_tenant(services)
    user, colleague, stranger = (
        make_user(services, tenant=tenant),
        make_user(services, tenant=tenant),
        make_user(services),
    )
    by_settings(services, own(user), user, colleague.address)
    assert arrives(services, user) == (0, 1)
    assert asks(services, user) == ()
    by_settings(services, own(user), user, stranger.address)
    assert arrives(services, user) == (1, 1)
    assert [ask.target for ask in asks(services, user)] == [stranger.address]


def test_labels_dots_and_case_lead_to_the_same_mailbox_here(services: MailServices) -> None:
    tenant = make_tenant(services)
    user, colleague = make_user(services, tenant=tenant), make_user(services, tenant=tenant)
    local, _, domain = colleague.address.partition("@")
    by_settings(services, own(user), user, f"{local.upper()}+x@{domain}")
    assert arrives(services, user) == (0, 1)


def test_an_address_that_nobody_has_in_the_own_domain_is_outside(services: MailServices) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, f"nobody@{user.address.partition('@')[2]}")
    assert arrives(services, user) == (1, 0)


def test_a_group_or_forwarded_address_that_an_admin_made_may_lead_outside(services: MailServices) -> None:
    tenant = make_tenant(services)
    user = make_user(services, tenant=tenant)
    services.forwarded_addresses.create(OPERATOR, tenant[0], f"out@{tenant[1]}", [OUT])
    by_settings(services, own(user), user, f"out@{tenant[1]}")
    assert arrives(services, user) == (0, 1)


def check_decided_at_delivery(services: MailServices) -> None:
    """What was hosted when it was set, and is not any more, gets nothing."""
    tenant = make_tenant(services)
    user, colleague = make_user(services, tenant=tenant), make_user(services, tenant=tenant)
    extra = f"leaves.{tenant[1]}"
    services.domains.create(OPERATOR, tenant[0], extra)
    services.domains.verify(OPERATOR, tenant[0], extra)
    services.addresses.create(OPERATOR, colleague.user_id, f"desk@{extra}")
    by_settings(services, own(user), user, f"desk@{extra}")
    assert arrives(services, user) == (0, 1)
    services.domains.unverify(OPERATOR, tenant[0], extra)
    assert arrives(services, user) == (1, 1)
    services.domains.verify(OPERATOR, tenant[0], extra)
    services.addresses.delete(OPERATOR, colleague.user_id, f"desk@{extra}")
    assert arrives(services, user) == (2, 1)


def test_whether_an_address_is_hosted_is_decided_at_delivery(services: MailServices) -> None:
    check_decided_at_delivery(services)


def test_control_what_is_remembered_of_hosted_addresses_is_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConfirmedTargets, "_hosted", lambda _self, _tenant, targets: set(targets))
    with pytest.raises(AssertionError):
        check_decided_at_delivery(services)


# -- who need not ask ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "actor"), list(zip((each for each in WAYS if each is not by_admins_rule), cycle(ADMINS), strict=False))
)
def test_what_admins_set_is_sent_on_at_once(services: MailServices, way: Way, actor: Actor) -> None:
    user = make_user(services)
    way(services, actor, user, OUT)
    assert arrives(services, user) == (0, 1)
    assert asks(services, user) == ()


def test_an_admin_who_sets_what_waits_lets_it_go(services: MailServices) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    by_settings(services, OPERATOR, user, OUT)
    assert arrives(services, user) == (0, 1)


def test_an_admin_who_changes_something_else_lets_nothing_go(services: MailServices) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    services.users.set_settings(OPERATOR, user.user_id, {"spam_level": 40})
    action = RuleAction(targets=(OUT,))
    rule = services.filters.create(own(user), of_user(user.user_id), RuleContent(action=action))
    services.filters.update(OPERATOR, of_user(user.user_id), rule.id, {"name": "renamed"})
    assert arrives(services, user) == (1, 0)


def test_rules_of_the_tenant_ask_for_nothing(services: MailServices) -> None:
    tenant = make_tenant(services)
    user = make_user(services, tenant=tenant)
    content = RuleContent(action=RuleAction(targets=(OUT,)))
    services.filters.create(OPERATOR, of_tenant(tenant[0]), content)
    by_rule(services, own(user), user, OUT)  # the user's own, which asks, changes nothing of that
    assert arrives(services, user) == (0, 1)


@pytest.mark.parametrize("way", [by_settings, by_rule, by_script, by_computed_script])
def test_what_was_set_before_anybody_was_asked_goes_on(services: MailServices, way: Way) -> None:
    """Documents as they were: without any of the new fields."""
    user = make_user(services)
    way(services, own(user), user, OUT)
    forget_new_fields(services, user)
    assert arrives(services, user) == (0, 1)


def forget_new_fields(services: MailServices, user: MadeUser) -> None:
    home = services.placement.home(user.user_id)
    unset = {"$unset": {"onward": "", "settings.targets_ask": ""}}
    services.placement.directory.database["users"].update_one({"_id": user.user_id}, unset)
    rules = {"$unset": {"rules.$[].asks": "", "scripts.$[].asks": ""}, "$inc": {"version": 1}}
    home.shard.hot["filters"].update_one({"_id": user.user_id.binary}, rules)
    services.placement.directory.user_changes.announce_filters(user.user_id)
    services.placement.directory.user_changes.settle_filters(user.user_id, 1000, acts=True)
    services.placement.forget(user.user_id)


@pytest.mark.parametrize("way", [by_settings, by_rule, by_script])
def test_what_went_on_goes_on_after_its_user_changed_something_beside_it(services: MailServices, way: Way) -> None:
    user = make_user(services)
    way(services, OPERATOR, user, OUT)
    new = "new@elsewhere.test"
    if way is by_settings:
        services.users.set_settings(own(user), user.user_id, {"targets": (OUT, new)})
    elif way is by_rule:
        owner = of_user(user.user_id)
        [rule] = services.filters.list_of(owner).rules
        services.filters.update(own(user), owner, rule.id, {"action": RuleAction(targets=(OUT, new), delete=True)})
    else:
        services.scripts.put(own(user), user.user_id, "s", f'redirect "{OUT}"; redirect "{new}"; # mine')
    assert arrives(services, user) == (1, 1)
    assert [ask.target for ask in asks(services, user)] == [new]


def test_a_rule_that_its_user_only_renames_asks_for_nothing(services: MailServices) -> None:
    user = make_user(services)
    by_rule(services, OPERATOR, user, OUT)
    [rule] = services.filters.list_of(of_user(user.user_id)).rules
    services.filters.update(own(user), of_user(user.user_id), rule.id, {"name": "mine"})
    services.users.set_settings(own(user), user.user_id, {"language": "de"})
    assert arrives(services, user) == (0, 1)


def test_what_its_user_takes_out_is_not_confirmed_by_that(services: MailServices) -> None:
    """A stranger set it before anybody was asked, and could set it again."""
    for way in (by_settings, by_rule, by_script):
        user = make_user(services)
        way(services, OPERATOR, user, OUT)
        if way is by_rule:
            [rule] = services.filters.list_of(of_user(user.user_id)).rules
            action = RuleAction(targets=("new@elsewhere.test",))
            services.filters.update(own(user), of_user(user.user_id), rule.id, {"action": action})
        elif way is by_settings:
            services.users.set_settings(own(user), user.user_id, {"targets": ()})
        else:
            services.scripts.put(own(user), user.user_id, "s", 'redirect "new@elsewhere.test";')
        assert services.users.get(user.user_id).onward.confirmed == frozenset()


def test_a_script_with_a_url_that_its_user_comments_goes_on(services: MailServices) -> None:
    user = make_user(services)
    text = 'require "vnd.eider.rules"; SendTo "https://hooks.elsewhere.test/in"; discard;'
    services.scripts.put(OPERATOR, user.user_id, "s", text)
    services.scripts.activate(OPERATOR, user.user_id, "s")
    services.scripts.put(own(user), user.user_id, "s", f"# mine\n{text}")
    assert arrives(services, user) == (0, 1)


# -- links --------------------------------------------------------------------------------------


def test_a_link_is_good_once_for_one_target_of_one_user(services: MailServices) -> None:
    user, other = make_user(services), make_user(services)
    both = ("one@elsewhere.test", "two@elsewhere.test")
    for each in (user, other):
        services.users.set_settings(own(each), each.user_id, {"targets": both})
    token = link(services, user, 0)
    asked = services.targets.find(token)
    services.targets.confirm(OPERATOR, asked)
    with pytest.raises(NonceInvalid):
        services.targets.find(token)
    with pytest.raises(NonceInvalid):
        services.targets.confirm(OPERATOR, asked)
    assert services.users.get(user.user_id).onward.confirmed == {"one@elsewhere.test"}
    assert services.users.get(other.user_id).onward.confirmed == frozenset()


def test_no_link_outlives_what_it_was_mailed_for(services: MailServices) -> None:
    """Of two that were asked for at once both end with one; and all with the target's removal."""
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    [one] = asks(services, user)
    services.targets._directory.targets.ask(user.user_id, [], [replace(one, id=ObjectId())])
    confirm(services, user)
    assert asks(services, user) == ()
    services.targets.forget(own(user), user.user_id, target_key(OUT))
    by_settings(services, own(user), user, OUT)
    token = link(services, user)
    services.targets.vouch(OPERATOR, user.user_id, [OUT])
    services.targets.forget(own(user), user.user_id, target_key(OUT))
    with pytest.raises(NonceInvalid):
        services.targets.find(token)


@pytest.mark.parametrize("place", [0, 5, 16, 30, 50, -1])
def test_a_link_that_was_changed_or_made_up_opens_nothing(services: MailServices, place: int) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    token = link(services, user)
    flipped = "A" if token[place] != "A" else "B"
    changed = token[:place] + flipped + (token[place + 1 :] if place != -1 else "")
    if place == -1:
        changed = token[:-4]
    for wrong in (changed, "", "a", "é", token + "AAAA", "no-such-token", "A" * 10_000):
        with pytest.raises(NonceInvalid):
            services.targets.find(wrong)


def check_dead_links(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new password, and seven days, end links."""
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    before = services.targets.find(link(services, user))
    services.users.set_password(OPERATOR, user.user_id, Secret("an entirely new password"))
    with pytest.raises(NonceInvalid):
        services.targets.find(link(services, user))
    with pytest.raises(NonceInvalid):  # read before, confirmed after it
        services.targets.confirm(OPERATOR, before)
    by_settings(services, own(user), user, OUT)
    token = link(services, user)
    services.targets.find(token)
    asked_at = asks(services, user)[-1].asked_at
    monkeypatch.setattr(onward_targets, "now", lambda: asked_at + GOOD_FOR)
    with pytest.raises(NonceInvalid):
        services.targets.find(token)


def test_a_new_password_and_time_end_links(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    check_dead_links(services, monkeypatch)


def test_control_links_that_never_end_are_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TargetAsk, "holds", lambda *_: True)
    with pytest.raises(pytest.fail.Exception):
        check_dead_links(services, monkeypatch)


def check_mails_are_few(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one user, to one address from many, and of one that waits no more than one in ten minutes."""
    user = make_user(services)
    for number in range(15):
        by_settings(services, own(user), user, f"t{number}@many.test")
    assert len(asks(services, user)) == 10
    users = [make_user(services) for _ in range(5)]
    for each in users:
        by_settings(services, own(each), each, f"victim@{user.user_id}.test")
    assert sum(len(asks(services, each)) for each in users) == 3
    one = make_user(services)
    for _ in range(3):
        by_settings(services, own(one), one, "again@elsewhere.test")
    assert [ask.mails for ask in asks(services, one)] == [1]
    asked_at = asks(services, one)[0].asked_at
    monkeypatch.setattr(onward_targets, "now", lambda: asked_at + AGAIN_AFTER)
    by_settings(services, own(one), one, "again@elsewhere.test")
    assert [ask.mails for ask in asks(services, one)] == [2]
    services.targets.find(link(services, one))


def test_few_links_are_mailed(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    check_mails_are_few(services, monkeypatch)


def test_control_unbounded_mails_are_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConfirmedTargets, "_may_mail", lambda *_: True)
    with pytest.raises(AssertionError):
        check_mails_are_few(services, monkeypatch)


def test_labels_dots_and_case_make_no_more_mails_for_one_person(services: MailServices) -> None:
    person = make_user(services).user_id
    spellings = ("vic.tim+a", "victim+b", "VICTIM", "v.i.ctim", "victim+c")
    users = [make_user(services) for _ in spellings]
    for each, local in zip(users, spellings, strict=True):
        by_settings(services, own(each), each, f"{local}@{person}.test")
    assert sum(len(asks(services, each)) for each in users) == 3


def test_who_may_ask_no_more_uses_up_nothing_of_others(services: MailServices) -> None:
    user, other = make_user(services), make_user(services)
    for number in range(10):
        by_settings(services, own(user), user, f"t{number}@many.test")
    for _ in range(3):
        by_settings(services, own(user), user, f"wanted@{other.user_id}.test")
    by_settings(services, own(other), other, f"wanted@{other.user_id}.test")
    assert len(asks(services, other)) == 1


def test_links_are_due_until_they_are_mailed(services: MailServices) -> None:
    user = make_user(services)
    by_settings(services, own(user), user, OUT)
    due = {found.id: asks for found, asks in services.targets.list_due()}
    assert [ask.target for ask in due[user.user_id]] == [OUT]
    by_rule(services, own(user), user, "meanwhile@elsewhere.test")
    services.targets.note_mailed(user.user_id, due[user.user_id])
    left = {found.id: asks for found, asks in services.targets.list_due()}
    assert [ask.target for ask in left[user.user_id]] == ["meanwhile@elsewhere.test"]
    services.targets.note_mailed(user.user_id, left[user.user_id])
    assert user.user_id not in {found.id for found, _ in services.targets.list_due()}


def test_as_many_are_remembered_as_may_be(services: MailServices) -> None:
    user = make_user(services)
    services.targets.vouch(OPERATOR, user.user_id, [f"{number}@x.test" for number in range(MOST_CONFIRMED)])
    services.targets.vouch(OPERATOR, user.user_id, [OUT, OUT])
    confirmed = services.users.get(user.user_id).onward.confirmed
    assert len(confirmed) == MOST_CONFIRMED
    assert OUT in confirmed


def test_a_dry_run_asks_nobody(services: MailServices) -> None:
    user = make_user(services)
    for way in (by_settings, by_rule):
        with pytest.raises(Planned):
            way(services, replace(own(user), dry_run=True), user, OUT)
    assert asks(services, user) == ()
    assert arrives(services, user) == (1, 0)


def test_redirects_are_read_from_scripts() -> None:
    text = """
        require ["variables", "copy"]; # redirect "no@x.test";
        if true { redirect :copy "a@x.test"; if true { redirect "b@x.test"; } else { redirect "${x}@x.test"; } }
        redirect text:
c@x.test
.
        ;
    """
    assert sorted(redirects_of(text))[:2] == ["a@x.test", "b@x.test"]
    assert "no@x.test" not in redirects_of(text)
    assert not any("$" in target for target in redirects_of(text))
    assert redirects_of("this is no script {") == ()


# -- whatever is done in whatever order -----------------------------------------------------------


class World:
    """A user, a colleague and a domain that comes and goes; what may get mail by what was done."""

    def __init__(self, services: MailServices, seed: int) -> None:
        self.services, self.chance = services, Random(seed)
        tenant = make_tenant(services)
        self.user, colleague = make_user(services, tenant=tenant), make_user(services, tenant=tenant)
        self.extra = f"leaves.{tenant[1]}"
        services.domains.create(OPERATOR, tenant[0], self.extra)
        services.domains.verify(OPERATOR, tenant[0], self.extra)
        services.addresses.create(OPERATOR, colleague.user_id, f"desk@{self.extra}")
        local, _, domain = colleague.address.partition("@")
        self.here = (colleague.address, f"{local.upper()}+x@{domain}")
        self.leaves = f"desk@{self.extra}"
        self.is_there = True
        self.outside = tuple(f"{name}@w{seed}.test" for name in ("one", "ONE", "o.ne", "one+x", "two"))
        self.allowed: set[str] = set()
        self.known: set[object] = set()

    def by(self) -> Actor:
        return OPERATOR if self.chance.random() < 0.15 else own(self.user, self.chance.choice(DOORS))

    def targets(self, actor: Actor) -> tuple[str, ...]:
        url = "https://hooks.elsewhere.test/in"
        some = tuple(self.chance.sample([*self.here, self.leaves, url, *self.outside], self.chance.randint(1, 2)))
        if actor is OPERATOR:
            self.allowed.update(map(target_key, some))
        return some

    def set_settings(self) -> None:
        actor = self.by()
        changes = {"targets": self.targets(actor), "keeps_forwarded": self.chance.random() < 0.5}
        self.services.users.set_settings(actor, self.user.user_id, changes)

    def set_rule(self) -> None:
        actor, owner = self.by(), of_user(self.user.user_id)
        rules = self.services.filters.list_of(owner).rules
        if rules and self.chance.random() < 0.4:
            self.services.filters.delete(actor, owner, self.chance.choice(rules).id)
            return
        action = RuleAction(targets=self.targets(actor), delete=self.chance.random() < 0.5 or None)
        if rules and self.chance.random() < 0.6:
            self.services.filters.update(actor, owner, self.chance.choice(rules).id, {"action": action})
        else:
            self.services.filters.create(actor, owner, RuleContent(action=action))

    def set_script(self) -> None:
        actor, name = self.by(), self.chance.choice("ab")
        targets = [each for each in self.targets(actor) if "://" not in each]
        text = 'require "variables"; set "at" "@"; '
        for each in targets:
            said = each.replace("@", "${at}") if self.chance.random() < 0.5 else each
            text += f'redirect "{said}"; '
        self.services.scripts.put(actor, self.user.user_id, name, text)
        self.services.scripts.activate(own(self.user), self.user.user_id, name)

    def confirm(self) -> None:
        asked = asks(self.services, self.user)
        if asked:
            one = self.chance.choice(asked)
            token = self.services.targets.token(self.user.user_id, one)
            self.services.targets.confirm(OPERATOR, self.services.targets.find(token))
            self.allowed.add(one.key)

    def move_domain(self) -> None:
        change = self.services.domains.unverify if self.is_there else self.services.domains.verify
        change(OPERATOR, self.user.tenant_id, self.extra)
        self.is_there = not self.is_there

    def deliver(self) -> int:
        """Let a message come in, which reaches whom it may and is kept or sent; return to how many outside."""
        before = count(self.services, self.user)
        assert take(self.services, mail(self.user.address), self.user.address) == [None]
        entries = [each for each in queued(self.services, self.user) if each.id not in self.known]
        self.known.update(each.id for each in entries)
        got = [each.via or one.address for each in entries for one in each.recipients]
        here = {*map(target_key, self.here), *([target_key(self.leaves)] if self.is_there else [])}
        assert {target_key(target) for target in got} <= self.allowed | here
        assert count(self.services, self.user) > before or got, "nothing is lost"
        return sum(target in self.outside for target in got)

    def step(self) -> int:
        acts = (self.set_settings, self.set_rule, self.set_script, self.confirm, self.move_domain)
        self.chance.choices(acts, (3, 3, 3, 2, 1))[0]()
        return self.deliver()


def check_any_order(services: MailServices) -> None:
    assert sum(world.step() for world in (World(services, seed) for seed in range(5)) for _ in range(25)) > 20


def test_nothing_leaves_unconfirmed_whatever_is_done_in_whatever_order(services: MailServices) -> None:
    check_any_order(services)


@pytest.mark.parametrize("broken", ["released", "_hosted", "settings", "rules", "scripts", "key"])
def test_control_each_part_that_is_missing_is_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    modules = {"settings": "accounts.users", "rules": "inbound.filters", "scripts": "inbound.scripts"}
    if broken == "released":
        monkeypatch.setattr(ConfirmedTargets, broken, lambda _self, _home, forwards: tuple(forwards))
    elif broken == "_hosted":
        monkeypatch.setattr(ConfirmedTargets, broken, lambda _self, _tenant, targets: set(targets))
    elif broken == "key":  # as addresses here are compared
        monkeypatch.setattr(onward_targets, "target_key", compared)
    else:
        monkeypatch.setattr(f"mailcore.services.{modules[broken]}.is_own_choice", lambda _actor: False)
    with pytest.raises(AssertionError):
        check_any_order(services)


# -- what it costs ------------------------------------------------------------------------------


def costs(services: MailServices, listener: Listener, user: MadeUser) -> list[str]:
    """What a delivery asks of MongoDB, once everything is known that is remembered."""
    for _ in range(2):
        listener.commands.clear()
        assert take(services, mail(user.address), user.address) == [None]
    return [command for _, command, _ in listener.commands]


def test_what_is_confirmed_costs_a_delivery_nothing(watched: MailServices, listener: Listener) -> None:
    """As little as what asks for nothing; what waits, or is hosted here, is looked up."""
    plain, of_admin, confirmed, waiting, hosted = (make_user(watched) for _ in range(5))
    colleague = make_user(watched, tenant=(hosted.tenant_id, hosted.address.partition("@")[2]))
    by_settings(watched, OPERATOR, of_admin, OUT)
    by_settings(watched, own(confirmed), confirmed, OUT)
    confirm(watched, confirmed)
    by_settings(watched, own(waiting), waiting, OUT)
    by_settings(watched, own(hosted), hosted, colleague.address)
    least = costs(watched, listener, plain)
    without = costs(watched, listener, of_admin)
    assert costs(watched, listener, confirmed) == without
    assert sorted(costs(watched, listener, waiting)) == sorted([*least, "find"]), "the domain"
    assert sorted(costs(watched, listener, hosted)) == sorted([*without, "find", "find"]), "domain and address"
