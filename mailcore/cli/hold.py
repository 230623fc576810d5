"""`eider hold`: legal holds, under which nothing is destroyed."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("hold", help="legal holds, under which nothing is destroyed").add_subparsers(
        required=True
    )
    for verb, held, text in (("set", True, "keep everything from now on"), ("release", False, "end a hold")):
        change = verbs.add_parser(verb, help=text)
        owner = change.add_mutually_exclusive_group(required=True)
        owner.add_argument("--user", metavar="ADDRESS")
        owner.add_argument("--tenant", metavar="NAME")
        change.set_defaults(run=run_change, held=held)
    listing = verbs.add_parser("list", help="who is held in a tenant")
    listing.add_argument("--tenant", required=True, metavar="NAME")
    listing.set_defaults(run=run_list)


def run_change(options: argparse.Namespace) -> int:
    """Set or release a hold."""
    with connected() as services:
        if options.user is not None:
            user_id = services.addresses.get(options.user).user_id
            services.retention.set_user_hold(operator(), user_id, held=options.held)
        else:
            tenant = services.tenants.get_by_name(options.tenant)
            services.retention.set_tenant_hold(operator(), tenant.id, held=options.held)
    owner = options.user or f"tenant {options.tenant}"
    print(f"{owner} is held: nothing is destroyed" if options.held else f"{owner} is not held any more")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print the holds of a tenant."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.tenant)
        rows = [("user", user.address) for user in services.retention.list_held(tenant.id)]
    if tenant.retention.legal_hold:
        rows.insert(0, ("tenant", tenant.name))
    print_table(("HELD", "NAME"), rows)
    return 0
