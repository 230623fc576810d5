"""`eider address`: addresses, wildcards and forwarded addresses, and whom mail for an address reaches."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.services.addresses.resolution import ANYBODY


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("address", help="whom mail reaches").add_subparsers(required=True)
    create = verbs.add_parser("create", help="give a user one more address, or a wildcard such as *@example.org")
    create.add_argument("address")
    create.add_argument("--user", required=True, metavar="ADDRESS")
    create.set_defaults(run=run_create)
    forward = verbs.add_parser("forward", help="make an address without a mailbox, or change where its mail goes")
    forward.add_argument("address")
    forward.add_argument("--tenant", required=True, metavar="NAME")
    forward.add_argument("--to", required=True, nargs="+", metavar="ADDRESS")
    forward.set_defaults(run=run_forward)
    delete = verbs.add_parser("delete", help="take an address from a user, or a forwarded address from a tenant")
    delete.add_argument("address")
    whose = delete.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="ADDRESS")
    whose.add_argument("--tenant", metavar="NAME")
    delete.set_defaults(run=run_delete)
    listing = verbs.add_parser("list", help="a user's addresses, or a tenant's forwarded ones")
    whose = listing.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="ADDRESS")
    whose.add_argument("--tenant", metavar="NAME")
    listing.set_defaults(run=run_list)
    resolve = verbs.add_parser("resolve", help="who would receive mail for an address, and by which way")
    resolve.add_argument("address")
    resolve.set_defaults(run=run_resolve)


def run_create(options: argparse.Namespace) -> int:
    """Give a user an address."""
    with connected() as services:
        user_id = services.addresses.get(options.user).user_id
        route = services.addresses.create(operator(), user_id, options.address, allow_wildcard=True)
    print(f"mail for {route.display} reaches {options.user}")
    return 0


def run_forward(options: argparse.Namespace) -> int:
    """Make or change a forwarded address."""
    with connected() as services:
        tenant_id = services.tenants.get_by_name(options.tenant).id
        known = {entry.display for entry in services.forwarded_addresses.list_of(tenant_id)}
        if options.address in known:
            made = services.forwarded_addresses.update(operator(), tenant_id, options.address, targets=options.to)
        else:
            made = services.forwarded_addresses.create(
                operator(), tenant_id, options.address, options.to, allow_wildcard=True
            )
    print(f"mail for {made.display} goes to {', '.join(made.targets)}")
    return 0


def run_delete(options: argparse.Namespace) -> int:
    """Take an address away."""
    with connected() as services:
        if options.user:
            services.addresses.delete(operator(), services.addresses.get(options.user).user_id, options.address)
        else:
            tenant_id = services.tenants.get_by_name(options.tenant).id
            services.forwarded_addresses.delete(operator(), tenant_id, options.address)
    print(f"{options.address} is gone")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print addresses."""
    with connected() as services:
        if options.user:
            routes = services.addresses.list_of_user(services.addresses.get(options.user).user_id)
            print_table(("ADDRESS",), [(route.display,) for route in routes])
        else:
            found = services.forwarded_addresses.list_of(services.tenants.get_by_name(options.tenant).id)
            rows = [(one.display, ", ".join(one.targets), "off" if one.is_disabled else "on") for one in found]
            print_table(("ADDRESS", "GOES TO", "STATE"), rows)
    return 0


def run_resolve(options: argparse.Namespace) -> int:
    """Print who receives mail for an address."""
    with connected() as services:
        found = services.resolutions.resolve(options.address, ANYBODY)
        rows = [(services.users.get(recipient.user_id).address, "user") for recipient in found.recipients]
    rows += [(target.address, "elsewhere") for target in found.forwards]
    if found.bounce is not None:
        rows.append((found.bounce.address, "sender of mail that was sent on"))
    way = "group" if found.group else "forwarded address" if found.forwarded else "user's address"
    print(f"{options.address}: {way}{', by a wildcard' if found.catch_all else ''}")
    print_table(("REACHES", "WHAT"), rows)
    return 0
