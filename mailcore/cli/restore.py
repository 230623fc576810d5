"""`eider restore`: bring expunged messages back."""

from __future__ import annotations

import argparse
from datetime import timedelta

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.time import hours
from mailcore.log import clean
from mailcore.model.quota import format_size
from mailcore.services.process.clock import now


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    restore = subparsers.add_parser("restore", help="bring expunged messages back")
    restore.add_argument("user", metavar="ADDRESS")
    restore.add_argument(
        "--hours", type=hours, default=timedelta(hours=24), help="those expunged in the last so many hours (24)"
    )
    restore.add_argument("--mailbox", metavar="NAME", help="those of one mailbox; of all without it")
    restore.add_argument("--list", action="store_true", help="only list what there is")
    restore.set_defaults(run=run_restore)


def run_restore(options: argparse.Namespace) -> int:
    """List or restore."""
    with connected() as services:
        user_id = services.addresses.get(options.user).user_id
        since = now() - options.hours
        if options.list:
            found = services.restoring.list_expunged(user_id, since)
        else:
            restored = services.restoring.restore(operator(), user_id, since, options.mailbox)
    if not options.list:
        print(f"{restored} messages restored")
        return 0
    rows = [
        (f"{one.expunged_at:%Y-%m-%d %H:%M:%S}", clean(one.mailbox), one.cause.value, str(one.count),
         format_size(one.size_bytes))
        for one in found
    ]  # fmt: skip
    print_table(("EXPUNGED (UTC)", "MAILBOX", "BY", "MESSAGES", "SIZE"), rows)
    return 0
