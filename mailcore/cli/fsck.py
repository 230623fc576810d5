"""`eider fsck`: prove mail sound, and make it sound again."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import printable
from mailcore.model.ids import UserId
from mailcore.services import MailServices
from mailcore.services.keeping.fsck import UserReport


def register(subparsers: Subparsers) -> None:
    """Add the noun; it has no verbs."""
    parser = subparsers.add_parser(
        "fsck",
        help="prove mail sound, and make it sound again",
        description="Check mailboxes against their log, segments and messages. Servers may go on meanwhile.",
    )
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="ADDRESS")
    whose.add_argument("--all", action="store_true", help="every user of every tenant")
    parser.add_argument("--repair", action="store_true", help="rebuild what is unsound from what survives")
    parser.add_argument("--deep", action="store_true", help="read every message and compare it with what was accepted")
    parser.set_defaults(run=run_fsck)


def run_fsck(options: argparse.Namespace) -> int:
    """Print what is wrong; return 1 if something is left that is."""
    users = messages = unsound = 0
    with connected() as services:
        for user_id in _users(services, options):
            report = services.fsck.run(operator(), user_id, repair=options.repair, deep=options.deep)
            users += 1
            messages += report.messages
            unsound += bool(report.left)
            _print(report)
    verdict = "all sound" if not unsound else f"{unsound} not sound"
    print(f"{users} users, {messages} messages checked: {verdict}")
    return 1 if unsound else 0


def _users(services: MailServices, options: argparse.Namespace) -> Iterable[UserId]:
    if options.user is not None:
        return [services.addresses.get(options.user).user_id]
    return (user.id for user in services.fsck.every_user())


def _print(report: UserReport) -> None:
    for finding in report.found:
        outcome = "" if finding in report.left else "  (repaired)"
        where = f"{report.user.address}  {finding.mailbox or '-'}"
        print(printable(f"{where}  {finding.kind}  {finding.detail}".rstrip()) + outcome)
    if report.recovered:
        print(f'{report.user.address}  {report.recovered} messages without a row are in "Recovered" now')
