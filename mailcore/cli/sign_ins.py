"""`eider sign-ins`: who tried to sign in as a user."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected
from mailcore.cli.table import print_table
from mailcore.log import clean


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    listing = subparsers.add_parser("sign-ins", help="who tried to sign in as a user, latest first")
    listing.add_argument("user", metavar="ADDRESS")
    listing.add_argument("--limit", type=int, default=50, help="1 to 250 rows (50)")
    listing.add_argument("--before", default="", metavar="ROW", help="where the last listing ended")
    listing.set_defaults(run=run_list)


def run_list(options: argparse.Namespace) -> int:
    """Print one page."""
    with connected() as services:
        user_id = services.addresses.get(options.user).user_id
        found = services.auth_log.list_of_user(user_id, options.before, options.limit)
    rows = [
        (
            f"{row.last_at:%Y-%m-%d %H:%M:%S}",
            str(row.count),
            row.sign_in.result,
            row.sign_in.protocol,
            row.sign_in.credential or "-",
            clean(row.sign_in.remote_address),
        )
        for row in found
    ]
    print_table(("LAST (UTC)", "TIMES", "RESULT", "PROTOCOL", "BY", "FROM"), rows)
    if len(found) == options.limit:
        print(f"go on with: --before {min(row.key for row in found).hex()}")
    return 0
