"""`eider dkim`: the keys that sign a tenant's outgoing mail."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.values import object_id
from mailcore.model.address import display_domain
from mailcore.model.dkim import DkimAlgorithm
from mailcore.model.secret import Secret

ALGORITHMS = {algorithm.key_type: algorithm for algorithm in DkimAlgorithm}


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("dkim", help="keys that sign outgoing mail").add_subparsers(required=True)
    create = verbs.add_parser("create", help="make a key for a domain, and print the record to publish")
    create.add_argument("domain")
    create.add_argument("--kind", choices=sorted(ALGORITHMS), default="rsa")
    create.add_argument("--selector", help="default: one with the date")
    create.add_argument("--key", type=Path, metavar="FILE", help='take this private key over; "-" reads it from input')
    create.add_argument("--now", action="store_true", help="sign with it at once: it is published already")
    create.set_defaults(run=run_create)
    listing = verbs.add_parser("list", help="the keys of a tenant and the records to publish")
    listing.add_argument("--domain")
    listing.set_defaults(run=run_list)
    activate = verbs.add_parser("activate", help="sign with a pending key from now on, seen in DNS or not")
    delete = verbs.add_parser("delete", help="remove a key")
    for verb, run in ((activate, run_activate), (delete, run_delete)):
        verb.add_argument("id", type=object_id)
        verb.set_defaults(run=run)
    for verb in (create, listing, activate, delete):
        verb.add_argument("--tenant", required=True, metavar="NAME")


def run_create(options: argparse.Namespace) -> int:
    """Make or take over a key."""
    private_key = None
    if options.key is not None:
        private_key = Secret(sys.stdin.read() if str(options.key) == "-" else options.key.read_text())
    with connected() as services:
        key = services.dkim_keys.create(
            operator(),
            services.tenants.get_by_name(options.tenant).id,
            options.domain,
            algorithm=ALGORITHMS[options.kind],
            selector=options.selector,
            private_key=private_key,
            is_active=options.now,
        )
    print(f"{key.record_name}. TXT {key.record_value}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print keys, then their records."""
    with connected() as services:
        keys = services.dkim_keys.list_of(services.tenants.get_by_name(options.tenant).id, options.domain)
    rows = [
        (
            str(key.id),
            display_domain(key.domain),
            key.selector,
            key.algorithm.key_type,
            key.state.value,
            "published" if key.published_at else "not seen in DNS",
        )
        for key in keys
    ]
    print_table(("ID", "DOMAIN", "SELECTOR", "KIND", "STATE", "DNS"), rows)
    for key in keys:
        print(f"{key.record_name}. TXT {key.record_value}")
    return 0


def run_activate(options: argparse.Namespace) -> int:
    """Let a key sign."""
    with connected() as services:
        services.dkim_keys.activate(operator(), services.tenants.get_by_name(options.tenant).id, options.id)
    print(f"{options.id} signs now; its predecessor is retiring")
    return 0


def run_delete(options: argparse.Namespace) -> int:
    """Remove a key."""
    with connected() as services:
        services.dkim_keys.delete(operator(), services.tenants.get_by_name(options.tenant).id, options.id)
    print(f"{options.id} is gone")
    return 0
