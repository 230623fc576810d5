"""`eider filter`: rules of a user, or of a tenant for all of its users."""

from __future__ import annotations

import argparse
from dataclasses import replace

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.values import object_id
from mailcore.errors import ValueInvalid
from mailcore.model.filter import (
    Condition,
    Match,
    Part,
    Query,
    Rule,
    RuleAction,
    RuleContent,
    RuleOwner,
    of_tenant,
    of_user,
)
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.mailbox import parse_mailbox_name
from mailcore.model.quota import format_size, parse_size
from mailcore.services import MailServices

_FIELDS = (("from", "sender"), ("to", "recipients"), ("subject", "subject"), ("list", "list_id"), ("text", "text"))


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("filter", help="rules that sort incoming mail").add_subparsers(required=True)
    listing = verbs.add_parser("list", help="the rules of a user or a tenant, in their order")
    listing.set_defaults(run=run_list)
    add = verbs.add_parser("add", help="add a rule behind all others; all that is given must hold of a message")
    _add_query(add)
    _add_action(add)
    add.set_defaults(run=run_add)
    parsers = [listing, add]
    for verb, help_, run in (
        ("delete", "remove a rule", run_delete),
        ("disable", "keep a rule without using it", run_disable),
        ("enable", "use a rule again", run_enable),
    ):
        parser = verbs.add_parser(verb, help=help_)
        parser.add_argument("id", type=object_id, help="as list shows it")
        parser.set_defaults(run=run)
        parsers.append(parser)
    order = verbs.add_parser("order", help="put the rules in another order")
    order.add_argument("ids", nargs="+", type=object_id, metavar="ID", help="each rule once")
    order.set_defaults(run=run_order)
    for parser in (*parsers, order):
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--user", metavar="ADDRESS")
        whose.add_argument("--tenant", metavar="NAME", help="for all of its users, before their own rules")


def _add_query(parser: argparse.ArgumentParser) -> None:
    for name, _ in _FIELDS:
        parser.add_argument(f"--{name}", metavar="TEXT", default="", help="is part of it, whatever the case")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=TEXT", help="is part of that header")
    parser.add_argument("--regex", action="append", default=[], metavar="NAME=REGEX", help="is found in that header")
    parser.add_argument("--attachments", choices=["yes", "no"])
    parser.add_argument("--larger", metavar="SIZE", help="such as 5M")
    parser.add_argument("--smaller", metavar="SIZE")
    parser.add_argument("--score-over", type=float, metavar="SCORE", help="what the spam filter counted")
    parser.add_argument("--any", action="store_true", help="one of all these is enough")


def _add_action(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mailbox", metavar="NAME", help="file it there")
    parser.add_argument("--seen", action="store_true")
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("--keyword", action="append", default=[])
    parser.add_argument("--forward", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--delete", action="store_true", help="drop it for good")
    parser.add_argument("--spam", choices=["yes", "no"])
    parser.add_argument("--stop", action="store_true", help="look at no rule behind it")
    parser.add_argument("--name", default="")


def run_list(options: argparse.Namespace) -> int:
    """Print all rules."""
    with connected() as services:
        owner = _owner(services, options)
        rules = services.filters.list_of(owner).rules
        names = _mailbox_names(services, options)
    rows = [
        (
            str(rule.id),
            rule.content.name,
            "; ".join(_told_query(rule.content.query)) or "every message",
            "; ".join(_told_action(rule, names)) or "nothing",
            "disabled" if rule.content.is_disabled else "",
        )
        for rule in rules
    ]
    print_table(("ID", "NAME", "WHAT", "IS DONE", ""), rows)
    return 0


def run_add(options: argparse.Namespace) -> int:
    """Add a rule."""
    with connected() as services:
        owner = _owner(services, options)
        action = RuleAction(
            seen=options.seen or None,
            flagged=options.flag or None,
            delete=options.delete or None,
            spam=_yes(options.spam),
            targets=tuple(options.forward),
            flags=FlagSet(0, tuple(options.keyword)),
        )
        if options.mailbox and options.user:
            mailbox = services.mailboxes.find(UserId(owner.id), options.mailbox)
            action = replace(action, mailbox_id=mailbox.id)
        elif options.mailbox:
            action = replace(action, mailbox_name=parse_mailbox_name(options.mailbox))
        content = RuleContent(_query(options), action, options.name, stops=options.stop)
        rule = services.filters.create(operator(), owner, content)
    print(f"filter of {options.user or options.tenant} added: {rule.id}")
    return 0


def run_delete(options: argparse.Namespace) -> int:
    """Remove a rule."""
    with connected() as services:
        services.filters.delete(operator(), _owner(services, options), options.id)
    print(f"filter {options.id} deleted")
    return 0


def run_disable(options: argparse.Namespace) -> int:
    """Keep a rule without using it."""
    return _set_disabled(options, is_disabled=True)


def run_enable(options: argparse.Namespace) -> int:
    """Use a rule again."""
    return _set_disabled(options, is_disabled=False)


def run_order(options: argparse.Namespace) -> int:
    """Put the rules in another order."""
    with connected() as services:
        services.filters.set_order(operator(), _owner(services, options), options.ids)
    print(f"{len(options.ids)} filters put in order")
    return 0


def _set_disabled(options: argparse.Namespace, *, is_disabled: bool) -> int:
    with connected() as services:
        services.filters.update(operator(), _owner(services, options), options.id, {"is_disabled": is_disabled})
    print(f"filter {options.id} is {'disabled' if is_disabled else 'in use'}")
    return 0


def _owner(services: MailServices, options: argparse.Namespace) -> RuleOwner:
    if options.tenant is not None:
        return of_tenant(services.tenants.get_by_name(options.tenant).id)
    return of_user(services.addresses.get(options.user).user_id)


def _query(options: argparse.Namespace) -> Query:
    conditions = [Condition(Part.HEADER, Match.CONTAINS, *_pair(text)) for text in options.header]
    conditions += [Condition(Part.HEADER, Match.REGEX, *_pair(text)) for text in options.regex]
    return Query(
        **{field: getattr(options, name) for name, field in _FIELDS},
        has_attachments=_yes(options.attachments),
        larger_than=_size(options.larger),
        smaller_than=_size(options.smaller),
        score_over=options.score_over,
        conditions=tuple(conditions),
        any_of=options.any,
    )


def _pair(text: str) -> tuple[str, str]:
    """Return value and name of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueInvalid(f"{text!r}: a header is written NAME=VALUE")
    return value, name


def _yes(word: str | None) -> bool | None:
    return None if word is None else word == "yes"


def _size(text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise ValueInvalid(str(error)) from error


def _mailbox_names(services: MailServices, options: argparse.Namespace) -> dict[MailboxId, str]:
    if options.user is None:
        return {}
    user_id = services.addresses.get(options.user).user_id
    return {entry.id: str(entry.name) for entry in services.mailboxes.tree(user_id)}


def _told_query(query: Query) -> list[str]:
    told = [f"{name}: {getattr(query, field)}" for name, field in _FIELDS if getattr(query, field)]
    if query.has_attachments is not None:
        told.append("attachments" if query.has_attachments else "no attachments")
    if query.larger_than is not None:
        told.append(f"larger than {format_size(query.larger_than)}")
    if query.smaller_than is not None:
        told.append(f"smaller than {format_size(query.smaller_than)}")
    if query.score_over is not None:
        told.append(f"score over {query.score_over}")
    told += [
        f"{'not ' * each.negated}{each.header or each.part.value} {each.match.value} {each.value}".rstrip()
        for each in query.conditions
    ]
    return ["any of", *told] if query.any_of and told else told


def _told_action(rule: Rule, names: dict[MailboxId, str]) -> list[str]:
    action = rule.content.action
    told = [f"forward to {target}" for target in action.targets]
    if action.delete:
        told.append("delete")
    if action.mailbox_id is not None:
        told.append(f"into {names.get(action.mailbox_id, 'a mailbox that is gone')}")
    if action.mailbox_name is not None:
        told.append(f"into {action.mailbox_name}")
    if action.spam is not None:
        told.append("spam" if action.spam else "not spam")
    told += [name for name, given in (("seen", action.seen), ("flagged", action.flagged)) if given]
    told += list(action.flags.keywords)
    if action.reply is not None:
        told.append("reply")
    return [*told, "stop"] if rule.content.stops else told
