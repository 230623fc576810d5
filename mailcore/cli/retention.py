"""`eider retention`: how long mail is kept after it was expunged."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import timedelta

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.errors import ValueInvalid
from mailcore.model.ids import MailboxId
from mailcore.model.retention import RetentionRule

MOST_DAYS = 36_500


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("retention", help="how long mail is kept after it was expunged").add_subparsers(
        required=True
    )
    change = verbs.add_parser("set", help="change the rule of a tenant or a user; what is not named stays")
    owner = change.add_mutually_exclusive_group(required=True)
    owner.add_argument("--user", metavar="ADDRESS")
    owner.add_argument("--tenant", metavar="NAME")
    change.add_argument("--purge-after", type=_days, metavar="DAYS", help="an expunged message can be restored so long")
    change.add_argument("--keep", type=_days, metavar="DAYS", help="a message is kept so long after it arrived")
    change.add_argument("--mailbox", metavar="NAME", help="the user's mailbox that --keep is about; all without it")
    change.set_defaults(run=run_set)


def run_set(options: argparse.Namespace) -> int:
    """Change a rule and print it."""
    if options.purge_after is None and options.keep is None:
        raise ValueInvalid("nothing to change: give --purge-after or --keep")
    if options.mailbox is not None and (options.user is None or options.keep is None):
        raise ValueInvalid("--mailbox goes with --user and --keep")
    with connected() as services:
        if options.user is None:
            tenant = services.tenants.get_by_name(options.tenant)
            rule = _changed(tenant.retention, options, None)
            services.retention.set_tenant_rule(operator(), tenant.id, rule)
        else:
            user = services.users.get(services.addresses.get(options.user).user_id)
            mailbox = services.mailboxes.find(user.id, options.mailbox).id if options.mailbox is not None else None
            rule = _changed(user.retention, options, mailbox)
            services.retention.set_user_rule(operator(), user.id, rule)
    print(f"{options.user or options.tenant}: {_told(rule)}")
    return 0


def _changed(rule: RetentionRule, options: argparse.Namespace, mailbox: MailboxId | None) -> RetentionRule:
    if options.purge_after is not None:
        rule = replace(rule, purge_after=options.purge_after)
    if options.keep is not None and mailbox is not None:
        rule = replace(rule, mailbox_keep_for={**rule.mailbox_keep_for, mailbox: options.keep})
    elif options.keep is not None:
        rule = replace(rule, keep_for=options.keep)
    return rule


def _told(rule: RetentionRule) -> str:
    purge = f"{rule.purge_after.days} days" if rule.purge_after is not None else "as the tenant or the platform says"
    parts = [f"expunged mail can be restored for: {purge}", f"kept after arrival: {rule.keep_for.days} days"]
    if rule.mailbox_keep_for:
        parts.append(f"rules for {len(rule.mailbox_keep_for)} mailboxes")
    return "; ".join(parts)


def _days(text: str) -> timedelta:
    if not text.isdecimal() or int(text) > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"a number of days up to {MOST_DAYS}")
    return timedelta(days=int(text))
