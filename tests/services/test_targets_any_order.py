"""Nothing is sent on unconfirmed, whatever users and admins do in whatever order; and what that costs a delivery."""

from __future__ import annotations

from random import Random

import pytest

from mailcore.model.actor import Actor
from mailcore.model.filter import RuleAction, RuleContent, of_user
from mailcore.model.onward_target import target_key
from mailcore.services import MailServices
from mailcore.services.addresses import onward_targets
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from mailcore.services.inbound.arrival import compared
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.services.confirming import DOORS, OUT, asks, by_settings, confirm, own
from tests.services.inbound_mail import count, mail, queued, take
from tests.store.mailbox.test_round_trips import Listener

pytestmark = pytest.mark.usefixtures("no_confirmations_counted")


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
