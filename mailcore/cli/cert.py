"""`eider cert`: TLS certificates by server name."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.errors import ValueInvalid
from mailcore.log import clean


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("cert", help="TLS certificates by server name").add_subparsers(required=True)
    add = verbs.add_parser("add", help="store a certificate; servers use it within seconds")
    add.add_argument("chain", type=Path, help="PEM: the certificate, then its chain")
    add.add_argument("key", type=Path, help="PEM: the private key, not encrypted")
    add.add_argument("--default", action="store_true", help="for clients that name no server or an unknown one")
    add.set_defaults(run=run_add)
    verbs.add_parser("list", help="certificates, and what is on order").set_defaults(run=run_list)
    request = verbs.add_parser("request", help="have the authority issue a certificate, and renew it (ACME)")
    request.add_argument("names", nargs="+", metavar="NAME")
    request.add_argument("--default", action="store_true", help="for clients that name no server or an unknown one")
    request.set_defaults(run=run_request)
    delete = verbs.add_parser("delete", help="remove the certificate of a name, and renew it no more")
    delete.add_argument("name")
    delete.set_defaults(run=run_delete)


def run_add(options: argparse.Namespace) -> int:
    """Store a certificate."""
    try:
        chain, key = options.chain.read_bytes(), options.key.read_bytes()
    except OSError as error:
        raise ValueInvalid(f"cannot read {error.filename}: {error.strerror}") from error
    with connected() as services:
        ends_at = services.certificates.add(operator(), chain, key, is_default=options.default)
    print(f"certificate added; it ends on {ends_at:%Y-%m-%d}")
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print certificates and orders."""
    with connected() as services:
        certificates = services.certificates.list_all()
        orders = services.acme.list_orders()
    today = datetime.now(UTC)
    rows = [
        (
            " ".join(one.server_names) or "-",
            f"{one.not_after:%Y-%m-%d}" + (" (ended)" if one.not_after < today else ""),
            "default" if one.is_default else "",
            one.fingerprint[:16],
        )
        for one in certificates
    ]
    print_table(("NAMES", "ENDS", "DEFAULT", "SHA-256"), rows)
    for order in orders:
        state = f"failed {order.failures} times: {clean(order.error)}" if order.error else "next"
        print(f"on order: {' '.join(order.names)}: {state}; tried again on {order.renew_at:%Y-%m-%d %H:%M} UTC")
    return 0


def run_request(options: argparse.Namespace) -> int:
    """Order a certificate."""
    with connected() as services:
        services.acme.request(operator(), options.names, is_default=options.default)
    print(f"ordered for {' '.join(options.names)}; a worker asks the authority within minutes (eider cert list)")
    return 0


def run_delete(options: argparse.Namespace) -> int:
    """Remove a certificate and its order."""
    with connected() as services:
        withdrawn = services.acme.withdraw(operator(), options.name)
        removed = services.certificates.delete(operator(), options.name)
    print(f"{removed} certificates removed, {withdrawn} orders withdrawn")
    return 0 if removed or withdrawn else 1
