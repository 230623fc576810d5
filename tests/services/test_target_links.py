"""Links that confirm where mail goes on to: each is good once, for one target, for a while, and few are mailed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bson import ObjectId

from mailcore.errors import NonceInvalid
from mailcore.model.onward_target import AGAIN_AFTER, GOOD_FOR, MOST_CONFIRMED, TargetAsk, target_key
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.usage import Usage
from mailcore.services.addresses import onward_targets
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from mailcore.services.events.audit import Planned
from mailcore.sieve import redirects_of
from tests.builders import OPERATOR, make_user
from tests.services.confirming import OUT, arrives, asks, by_rule, by_settings, confirm, link, own

pytestmark = pytest.mark.usefixtures("no_confirmations_counted")


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


def check_counted_for_the_tenant(services: MailServices) -> None:
    """Three of a tenant that may send to four a day ask somebody each."""
    first = make_user(services)
    domain = first.address.partition("@")[2]
    users = [first, *(make_user(services, tenant=(first.tenant_id, domain)) for _ in range(2))]
    services.tenants.set_sending_limit(OPERATOR, first.tenant_id, "tenant_recipients_per_day", 4, "young")
    for number, each in enumerate(users):
        by_settings(services, own(each), each, f"{number}@elsewhere.test")
    assert [len(asks(services, each)) for each in users] == [1, 1, 0]
    assert services.usage.used_of_tenant(first.tenant_id)["tenant_recipients_per_day"] == 2


def test_links_count_for_the_tenant_however_many_users_it_makes(services: MailServices) -> None:
    check_counted_for_the_tenant(services)


def test_control_links_that_count_for_no_tenant_are_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Usage, "spend_unasked", lambda *_: None)
    with pytest.raises(AssertionError):
        check_counted_for_the_tenant(services)


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
