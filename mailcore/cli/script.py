"""`eider script`: Sieve scripts of a user."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.time import minute_of


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("script", help="Sieve scripts of a user").add_subparsers(required=True)
    listing = verbs.add_parser("list", help="the scripts of a user; a star marks the active one")
    put = verbs.add_parser("put", help="check a script and store it")
    show = verbs.add_parser("show", help="print a script")
    activate = verbs.add_parser("activate", help="let a script, and no other, have its say; without a name: none")
    delete = verbs.add_parser("delete", help="remove a script that is not active")
    for parser, run in (
        (listing, run_list),
        (put, run_put),
        (show, run_show),
        (activate, run_activate),
        (delete, run_delete),
    ):
        parser.add_argument("address", help="any address of the user")
        parser.set_defaults(run=run)
    for parser in (put, show, delete):
        parser.add_argument("name")
    activate.add_argument("name", nargs="?", default="")
    put.add_argument("file", type=Path, help="its text; - reads standard input")


def run_list(options: argparse.Namespace) -> int:
    """Print a user's scripts."""
    with connected() as services:
        found = services.scripts.list_of(services.addresses.get(options.address).user_id)
    rows = [("*" * one.is_active, one.name, str(one.size_bytes), minute_of(one.changed_at)) for one in found]
    print_table(("", "NAME", "BYTES", "CHANGED"), rows)
    return 0


def run_put(options: argparse.Namespace) -> int:
    """Store a script."""
    text = sys.stdin.buffer.read() if options.file == Path("-") else options.file.read_bytes()
    with connected() as services:
        services.scripts.put(operator(), services.addresses.get(options.address).user_id, options.name, text)
    print(f"script {options.name} of {options.address} stored")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print a script's text."""
    with connected() as services:
        text = services.scripts.get(services.addresses.get(options.address).user_id, options.name)
    print(text, end="" if text.endswith("\n") else "\n")
    return 0


def run_activate(options: argparse.Namespace) -> int:
    """Say which script has its say."""
    with connected() as services:
        services.scripts.activate(operator(), services.addresses.get(options.address).user_id, options.name)
    print(f"{options.name or 'no script'} is active for {options.address}; servers follow within seconds")
    return 0


def run_delete(options: argparse.Namespace) -> int:
    """Remove a script."""
    with connected() as services:
        services.scripts.delete(operator(), services.addresses.get(options.address).user_id, options.name)
    print(f"script {options.name} of {options.address} deleted")
    return 0
