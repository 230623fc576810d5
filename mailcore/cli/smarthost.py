"""`eider smarthost`: the server through which a tenant's or user's mail leaves."""

from __future__ import annotations

import argparse
import sys

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.model.secret import Secret


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("smarthost", help="the server through which somebody's mail leaves").add_subparsers(
        required=True
    )
    for name, text in (
        ("set", "read smtp[s]://[user:password@]host[:port] from standard input"),
        ("clear", "send as everybody else"),
    ):
        verb = verbs.add_parser(name, help=text)
        owner = verb.add_mutually_exclusive_group(required=True)
        owner.add_argument("--user", metavar="ADDRESS")
        owner.add_argument("--tenant", metavar="NAME")
        verb.set_defaults(run=run_change, clears=name == "clear")


def run_change(options: argparse.Namespace) -> int:
    """Set or clear a smarthost."""
    url = None if options.clears else Secret(sys.stdin.readline().strip())
    with connected() as services:
        if options.user is not None:
            user_id = services.addresses.get(options.user).user_id
            services.smarthosts.set_for_user(operator(), user_id, url)
        else:
            services.smarthosts.set_for_tenant(operator(), services.tenants.get_by_name(options.tenant).id, url)
    owner = options.user or f"tenant {options.tenant}"
    print(f"mail of {owner} leaves " + ("as everybody's" if options.clears else "through it from now on"))
    return 0
