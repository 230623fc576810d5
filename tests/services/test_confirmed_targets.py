"""Where users have mail sent on to: nothing leaves for an address outside before it was confirmed, by whichever door.

Whoever holds somebody's stolen token or open session could else have a copy of all mail go on for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest

from mailcore.model.actor import Actor, Door
from mailcore.model.filter import RuleAction, RuleContent, of_tenant, of_user
from mailcore.model.onward_target import target_key
from mailcore.services import MailServices
from mailcore.services.accounts.users import Users
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.services.confirming import (
    ADMINS,
    DOORS,
    OUT,
    WAYS,
    Way,
    arrives,
    asks,
    by_admins_rule,
    by_changed_rule,
    by_computed_script,
    by_rule,
    by_script,
    by_settings,
    confirm,
    own,
)

pytestmark = pytest.mark.usefixtures("no_confirmations_counted")


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
