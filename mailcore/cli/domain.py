"""`eider domain`: mail domains of tenants."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.model.address import display_domain


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("domain", help="mail domains of tenants").add_subparsers(required=True)
    create = verbs.add_parser("create", help="give a domain to a tenant; your word verifies it")
    create.add_argument("name", help="in any script")
    create.add_argument("--tenant", required=True, metavar="NAME")
    create.set_defaults(run=run_create)
    listing = verbs.add_parser("list", help="the domains of a tenant")
    listing.add_argument("--tenant", required=True, metavar="NAME")
    listing.set_defaults(run=run_list)


def run_create(options: argparse.Namespace) -> int:
    """Create a domain."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.tenant)
        domain = services.domains.create(operator(), tenant.id, options.name)
    print(f"domain {display_domain(domain.name)} belongs to {tenant.name}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print a tenant's domains."""
    with connected() as services:
        domains = services.domains.list_of(services.tenants.get_by_name(options.tenant).id)
    rows = [
        (display_domain(domain.name), domain.name, "verified" if domain.verified_at else "not verified")
        for domain in domains
    ]
    print_table(("DOMAIN", "IN DNS", "STATE"), rows)
    return 0
