"""`eider shard`: the sets of servers that hold mail."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("shard", help="sets of servers that hold mail").add_subparsers(required=True)
    add = verbs.add_parser("add", help="make a shard known; creates its collections and indexes")
    add.add_argument("name", help="letters, digits and hyphens")
    add.add_argument("--region", required=True, help="where its servers stand, such as eu")
    add.add_argument("--hot", required=True, metavar="URI", help="set on fast disks, with database name")
    add.add_argument("--cold", required=True, metavar="URI", help="set on large disks, with database name")
    add.set_defaults(run=run_add)
    verbs.add_parser("list", help="every shard").set_defaults(run=run_list)
    for verb, meaning in (("open", "let new users be placed on it"), ("close", "place no new users on it")):
        parser = verbs.add_parser(verb, help=meaning)
        parser.add_argument("name")
        parser.set_defaults(run=run_open, is_open=verb == "open")


def run_add(options: argparse.Namespace) -> int:
    """Make a shard known."""
    with connected() as services:
        shard = services.shards.add(operator(), options.name, options.region, options.hot, options.cold)
    print(f"shard {shard.name} added in region {shard.region}")
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print every shard."""
    with connected() as services:
        shards = services.shards.list_all()
    rows = [
        (shard.name, shard.region, "open" if shard.is_open else "closed", shard.hot_uri, shard.cold_uri)
        for shard in shards
    ]
    print_table(("NAME", "REGION", "STATE", "HOT", "COLD"), rows)
    return 0


def run_open(options: argparse.Namespace) -> int:
    """Open or close a shard for new users."""
    with connected() as services:
        services.shards.set_open(operator(), options.name, is_open=options.is_open)
    print(f"shard {options.name} is {'open' if options.is_open else 'closed'} for new users")
    return 0
