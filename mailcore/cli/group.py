"""`eider group`: one address for many."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.model.routing import Posters


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("group", help="addresses whose mail goes to many").add_subparsers(required=True)
    for verb, help_, run in (
        ("create", "make a group", run_create),
        ("change", "change what is given and leave the rest", run_change),
    ):
        parser = verbs.add_parser(verb, help=help_)
        parser.add_argument("address")
        parser.add_argument("--tenant", required=True, metavar="NAME")
        parser.add_argument("--members", nargs="*", metavar="ADDRESS", help="users, groups, addresses elsewhere")
        parser.add_argument("--posters", type=Posters, choices=list(Posters), help="whose mail it takes")
        parser.add_argument("--moderators", nargs="*", metavar="ADDRESS", help="users who let posts go; none: at once")
        parser.set_defaults(run=run)
    delete = verbs.add_parser("delete", help="give a group up")
    delete.add_argument("address")
    delete.add_argument("--tenant", required=True, metavar="NAME")
    delete.set_defaults(run=run_delete)
    listing = verbs.add_parser("list", help="the groups of a tenant")
    listing.add_argument("--tenant", required=True, metavar="NAME")
    listing.set_defaults(run=run_list)


def run_create(options: argparse.Namespace) -> int:
    """Make a group."""
    with connected() as services:
        tenant_id = services.tenants.get_by_name(options.tenant).id
        group = services.groups.create(
            operator(),
            tenant_id,
            options.address,
            options.members or (),
            posters=options.posters or Posters.ANYONE,
            moderators=[services.addresses.get(one).user_id for one in options.moderators or ()],
        )
    print(f"group {group.display}: {len(group.members)} members, takes mail of {group.posters}")
    return 0


def run_change(options: argparse.Namespace) -> int:
    """Change a group."""
    with connected() as services:
        moderators = options.moderators
        group = services.groups.update(
            operator(),
            services.tenants.get_by_name(options.tenant).id,
            options.address,
            members=options.members,
            posters=options.posters,
            moderators=None if moderators is None else [services.addresses.get(one).user_id for one in moderators],
        )
    print(f"group {group.display}: {len(group.members)} members, takes mail of {group.posters}")
    return 0


def run_delete(options: argparse.Namespace) -> int:
    """Give a group up."""
    with connected() as services:
        services.groups.delete(operator(), services.tenants.get_by_name(options.tenant).id, options.address)
    print(f"{options.address} is gone")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print a tenant's groups."""
    with connected() as services:
        groups = services.groups.list_of(services.tenants.get_by_name(options.tenant).id)
        rows = [
            (
                group.display,
                ", ".join(group.members),
                group.posters.value,
                ", ".join(services.users.get(user_id).address for user_id in group.moderators),
            )
            for group in groups
        ]
    print_table(("GROUP", "MEMBERS", "POSTERS", "MODERATORS"), rows)
    return 0
