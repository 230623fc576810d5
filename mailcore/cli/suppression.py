"""`eider suppression`: addresses to which a tenant's mail is not sent for a while."""

from __future__ import annotations

import argparse
from datetime import timedelta

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.services.process.clock import now


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("suppression", help="addresses that nothing is sent to for a while").add_subparsers(
        required=True
    )
    listing = verbs.add_parser("list", help="a tenant's list")
    listing.add_argument("--after", default="", metavar="ADDRESS", help="the last of the page before")
    listing.set_defaults(run=run_list)
    add = verbs.add_parser("add", help="send nothing to an address")
    add.add_argument("--why", required=True, metavar="TEXT")
    add.set_defaults(run=run_add)
    remove = verbs.add_parser("remove", help="send to an address again")
    remove.set_defaults(run=run_remove)
    complaints = verbs.add_parser("complaints", help="how many of a tenant's messages were taken for abuse")
    complaints.add_argument("--days", type=int, choices=range(1, 31), default=7, metavar="DAYS", help="1 to 30 (7)")
    complaints.set_defaults(run=run_complaints)
    for verb in (listing, add, remove, complaints):
        verb.add_argument("--tenant", required=True, metavar="NAME")
    for verb in (add, remove):
        verb.add_argument("address")


def run_list(options: argparse.Namespace) -> int:
    """Print a page of the list."""
    with connected() as services:
        rows = services.suppressions.list_of(services.tenants.get_by_name(options.tenant).id, options.after)
    print_table(
        ("ADDRESS", "SINCE (UTC)", "UNTIL (UTC)", "WHY"),
        [(row.address, f"{row.at:%Y-%m-%d %H:%M}", f"{row.expires_at:%Y-%m-%d %H:%M}", row.reason) for row in rows],
    )
    return 0


def run_add(options: argparse.Namespace) -> int:
    """Suppress an address."""
    with connected() as services:
        tenant_id = services.tenants.get_by_name(options.tenant).id
        services.suppressions.add(operator(), tenant_id, options.address, options.why)
    print(f"nothing is sent to {options.address} for a while")
    return 0


def run_complaints(options: argparse.Namespace) -> int:
    """Print how many complaints there were of how much that was sent."""
    with connected() as services:
        tenant_id = services.tenants.get_by_name(options.tenant).id
        rate = services.feedback.rate(tenant_id, now() - timedelta(days=options.days))
    share = f" ({rate.complaints / rate.sent:.2%})" if rate.sent else ""
    print(f"{rate.complaints} complaints of {rate.sent} messages that were sent in {options.days} days{share}")
    return 0


def run_remove(options: argparse.Namespace) -> int:
    """Take an address off the list."""
    with connected() as services:
        tenant_id = services.tenants.get_by_name(options.tenant).id
        services.suppressions.remove(operator(), tenant_id, options.address)
    print(f"{options.address} gets mail again")
    return 0
