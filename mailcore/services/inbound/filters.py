"""Filters: rules of users and of tenants, in an order that their owner sets, and the programs they are compiled to.

Who keeps the rules: `RuleOwner`, a user, or a tenant for all of its users and before theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import FilterNotFound, FiltersChanged, MailboxNotFound, TooManyFilters, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.event import Details
from mailcore.model.filter import FilterSet, Match, Rule, RuleContent, RuleOwner, RuleOwnerKind, of_user
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Limits
from mailcore.services.addresses.forward_cycles import ForwardCycles
from mailcore.services.addresses.onward_targets import ConfirmedTargets, is_own_choice
from mailcore.services.events.audit import Audit
from mailcore.services.inbound.filter_changes import FilterChanges
from mailcore.services.inbound.program_cache import ProgramCache
from mailcore.services.inbound.programs import ProgramFault, Programs
from mailcore.services.inbound.rule_scripts import compile_rule
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload
from mailcore.sieve import redirects_of
from mailcore.store.placement import Home, Placement
from mailcore.store.user.filter_sets import FilterChange

FIELDS: Final = frozenset({"query", "action", "name", "is_disabled", "stops", "meta_data"})


class Filters:
    """Creates, orders and changes rules, and hands out what they come to."""

    def __init__(
        self,
        changes: FilterChanges,
        placement: Placement,
        mailboxes: Mailboxes,
        cycles: ForwardCycles,
        targets: ConfirmedTargets,
        audit: Audit,
        limits: Limits,
        offload: Offload,
    ) -> None:
        self._changes = changes
        self._placement = placement
        self._mailboxes = mailboxes
        self._cycles = cycles
        self._targets = targets
        self._audit = audit
        self._limits = limits
        self._programs = ProgramCache(placement, offload)

    # -- reading ------------------------------------------------------------------------------

    def list_of(self, owner: RuleOwner) -> FilterSet:
        """Return all rules of an owner in their order, with the version that `set_order` compares; one round trip.

        Raises:
            UserNotFound, TenantNotFound: there is no such owner.
        """
        return self._changes.read(owner)

    def get(self, owner: RuleOwner, rule_id: ObjectId) -> Rule:
        """Return one rule.

        Raises:
            FilterNotFound: the owner has none such.
        """
        rule = self._changes.read(owner).find(rule_id)
        if rule is None:
            raise FilterNotFound(rule_id)
        return rule

    def asking_targets(self, user_id: UserId) -> list[str]:
        """Return where a user's rules and active script, chosen by the user, send mail; one round trip."""
        found = self._changes.read(of_user(user_id))
        acting = (rule.content for rule in found.rules if rule.content.asks and not rule.content.is_disabled)
        named = [target for content in acting for target in content.action.targets]
        script = found.active_script
        return named + list(redirects_of(script.text) if script is not None and script.asks else ())

    def programs_for(self, home: Home) -> Programs:
        """Return what a user's mail goes through: the tenant's rules, the user's own, the user's active script.

        No round trip for who has none, or where this process knows them; else one for each that changed. What is
        known is read again after five minutes.
        """
        return self._programs.programs_for(home)

    def note_faults(self, actor: Actor, home: Home, faults: Sequence[ProgramFault]) -> None:
        """Tell the owner, once an hour from each process, of programs that failed; two round trips for each told."""
        for fault in self._programs.untold(home, faults):
            details = {"origin": fault.program.origin.value, "name": fault.program.name, "fault": fault.what[:500]}
            if fault.program.rule_id is not None:
                details["filter"] = str(fault.program.rule_id)
            self._audit.happened(actor, "filter.failed", home.user_id, details)

    # -- changing -----------------------------------------------------------------------------

    def create(self, actor: Actor, owner: RuleOwner, content: RuleContent, position: int | None = None) -> Rule:
        """Add a rule, behind all others or at a position from 0.

        Raises:
            ValueInvalid: a value cannot be used; the text says which.
            MailboxNotFound: the mailbox is none of the user's.
            AddressCycle: what it forwards would come back.
            TooManyFilters: the owner has as many as may be.
            UserNotFound, TenantNotFound: there is no such owner.
        """
        asks = owner.kind is RuleOwnerKind.USER and (content.asks or is_own_choice(actor))
        rule = Rule(ObjectId(), replace(content, asks=asks), now())
        self._check(owner, content)

        def change(before: FilterSet) -> tuple[FilterChange, None]:
            rules = list(before.rules)
            rules.insert(len(rules) if position is None else max(0, position), rule)
            self._check_limits(owner, rules)
            return FilterChange(rules=rules), None

        self._rehearse(actor, owner, change)
        with self._audited(actor, owner, "created", _details(rule)):
            self._changes.change(owner, change)
        self._ask(actor, owner, rule)
        return rule

    def update(
        self,
        actor: Actor,
        owner: RuleOwner,
        rule_id: ObjectId,
        changes: Mapping[str, Any],
        position: int | None = None,
    ) -> Rule:
        """Replace fields of `RuleContent` by their names, and put the rule at a position from 0 if one is given.

        Raises:
            FilterNotFound: the owner has none such; else as `create`.
        """
        unknown = changes.keys() - FIELDS
        if unknown:
            raise ValueInvalid(f"a filter has no {min(unknown)}")
        known = self.get(owner, rule_id).content
        wanted = replace(known, **changes)
        self._check(owner, wanted)

        def change(before: FilterSet) -> tuple[FilterChange, tuple[Rule, Rule]]:
            old = before.find(rule_id)
            if old is None:
                raise FilterNotFound(rule_id)
            content = replace(old.content, **changes)
            new = replace(old, content=replace(content, asks=_asks(actor, owner, old.content, content, changes)))
            rules = [new if each.id == rule_id else each for each in before.rules]
            if position is not None:
                rules.remove(new)
                rules.insert(max(0, position), new)
            self._check_limits(owner, rules)
            return FilterChange(rules=rules), (old, new)

        details = {"filter": str(rule_id), **_told(wanted)} | ({} if position is None else {"position": position})
        self._rehearse(actor, owner, change)
        with self._audited(actor, owner, "changed", details) as told:
            if _asks(actor, owner, known, wanted, changes) and not known.asks:
                self._targets.go_on(UserId(owner.id), known.action.targets, wanted.action.targets)
            old, new = self._changes.change(owner, change)
            told.before.update(_told(old.content))
        self._ask(actor, owner, new)
        return new

    def delete(self, actor: Actor, owner: RuleOwner, rule_id: ObjectId) -> None:
        """Remove a rule.

        Raises:
            FilterNotFound: the owner has none such.
        """

        def change(before: FilterSet) -> tuple[FilterChange, None]:
            if before.find(rule_id) is None:
                raise FilterNotFound(rule_id)
            return FilterChange(rules=[each for each in before.rules if each.id != rule_id]), None

        self._rehearse(actor, owner, change)
        with self._audited(actor, owner, "deleted", {"filter": str(rule_id)}):
            self._changes.change(owner, change)

    def set_order(
        self, actor: Actor, owner: RuleOwner, rule_ids: Sequence[ObjectId], version: int | None = None
    ) -> None:
        """Put the rules in another order; all of them are named.

        Raises:
            FiltersChanged: they are not those of `version` any more, or other ones than are named.
        """

        def change(before: FilterSet) -> tuple[FilterChange, None]:
            by_id = {rule.id: rule for rule in before.rules}
            if len(rule_ids) != len(by_id) or set(rule_ids) != set(by_id):
                raise FiltersChanged("an order names each filter once: read them again")
            return FilterChange(rules=[by_id[rule_id] for rule_id in rule_ids]), None

        self._rehearse(actor, owner, change)
        with self._audited(actor, owner, "ordered", {"filters": [str(rule_id) for rule_id in rule_ids]}):
            self._changes.change(owner, change, version)

    # -- checks -------------------------------------------------------------------------------

    def _check(self, owner: RuleOwner, content: RuleContent) -> None:
        """Make sure that a rule can do what it says."""
        compile_rule(content)
        action = content.action
        if owner.kind is RuleOwnerKind.TENANT:
            if action.mailbox_id is not None:
                raise ValueInvalid("rules of a tenant name a mailbox by its name, for each user has others")
            return
        user_id = UserId(owner.id)
        if action.mailbox_name is not None:
            raise ValueInvalid("rules of a user name a mailbox by its id")
        if action.mailbox_id is not None and self._mailboxes.tree(user_id).find_id(action.mailbox_id) is None:
            raise MailboxNotFound(user_id, action.mailbox_id)
        if action.targets and not content.is_disabled:
            self._cycles.check(user_id, action.targets)

    def _ask(self, actor: Actor, owner: RuleOwner, rule: Rule) -> None:
        content = rule.content
        if content.asks and not content.is_disabled and is_own_choice(actor):
            self._targets.ask(actor, UserId(owner.id), content.action.targets)

    def _rehearse(self, actor: Actor, owner: RuleOwner, change: Callable[[FilterSet], object]) -> None:
        """Let a dry run hear of what the rules as they are do not allow."""
        if actor.dry_run:
            change(self._changes.read(owner))

    def _check_limits(self, owner: RuleOwner, rules: Sequence[Rule]) -> None:
        limits = self._limits.user
        if owner.kind is RuleOwnerKind.USER:
            limits = self._placement.home(UserId(owner.id)).limits
        if limits.filters and len(rules) > limits.filters:
            raise TooManyFilters(f"at most {limits.filters} filters")
        targets = {target.casefold() for rule in rules for target in rule.content.action.targets}
        if len(targets) > self._limits.forward_targets:
            raise TooManyFilters(f"all filters together forward to at most {self._limits.forward_targets} addresses")
        expressions = [one for rule in rules for one in rule.content.query.conditions if one.match is Match.REGEX]
        if len(expressions) > self._limits.sieve.regexes:
            raise TooManyFilters(f"all filters together have at most {self._limits.sieve.regexes} regular expressions")

    def _audited(self, actor: Actor, owner: RuleOwner, what: str, wanted: Details) -> Any:
        if owner.kind is RuleOwnerKind.USER:
            return self._audit.of_user(actor, f"filter.{what}", UserId(owner.id), wanted)
        return self._audit.of_tenant(actor, f"tenant_filter.{what}", TenantId(owner.id), wanted)


def _asks(actor: Actor, owner: RuleOwner, old: RuleContent, new: RuleContent, changes: Mapping[str, Any]) -> bool:
    """Return whether the targets of a changed rule ask: if the user chose others, and not if an admin chose them."""
    if owner.kind is RuleOwnerKind.TENANT:
        return False
    if is_own_choice(actor):
        return old.asks or new.action.targets != old.action.targets
    return old.asks and "action" not in changes


def _details(rule: Rule) -> Details:
    return {"filter": str(rule.id), **_told(rule.content)}


def _told(content: RuleContent) -> Details:
    """Return what the trail says of a rule: never what it looks for, always where it sends mail."""
    action = content.action
    return {
        "name": content.name,
        "disabled": content.is_disabled,
        "forwards_to": list(action.targets),
        "deletes": bool(action.delete),
        "replies": action.reply is not None,
    }
