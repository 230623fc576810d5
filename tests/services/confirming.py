"""Ways to have mail sent on, and what becomes of a target that waits to be confirmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.filter import RuleAction, RuleContent, of_user
from mailcore.model.onward_target import TargetAsk
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser
from tests.services.inbound_mail import count, mail, queued, take

OUT: Final = "home@elsewhere.test"
ADMINS: Final = (OPERATOR, Actor(ActorKind.MEMBER, Door.API, "token 1"), Actor(ActorKind.SYSTEM, Door.WORKER, "x"))


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
