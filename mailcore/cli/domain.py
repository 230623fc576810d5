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
    alias = verbs.add_parser("alias", help="let the addresses of a domain be found under another name too")
    alias.add_argument("alias")
    alias.add_argument("name", help="the domain it stands for")
    alias.add_argument("--tenant", required=True, metavar="NAME")
    alias.set_defaults(run=run_alias)
    unalias = verbs.add_parser("unalias", help="let a domain stand for itself alone")
    unalias.add_argument("alias")
    unalias.add_argument("--tenant", required=True, metavar="NAME")
    unalias.set_defaults(run=run_unalias)
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


def run_alias(options: argparse.Namespace) -> int:
    """Make a domain an alias."""
    with connected() as services:
        tenant_id = services.tenants.get_by_name(options.tenant).id
        domain = services.domains.create_alias(operator(), tenant_id, options.alias, options.name)
    print(f"addresses of {options.name} are found under {display_domain(domain.name)} too")
    return 0


def run_unalias(options: argparse.Namespace) -> int:
    """Make a domain an alias no more."""
    with connected() as services:
        tenant_id = services.tenants.get_by_name(options.tenant).id
        services.domains.delete_alias(operator(), tenant_id, options.alias)
    print(f"{options.alias} stands for itself alone")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print a tenant's domains."""
    with connected() as services:
        domains = services.domains.list_of(services.tenants.get_by_name(options.tenant).id)
    rows = [
        (
            display_domain(domain.name),
            domain.name,
            "verified" if domain.verified_at else "not verified",
            display_domain(domain.alias_of) if domain.alias_of else "",
        )
        for domain in domains
    ]
    print_table(("DOMAIN", "IN DNS", "STATE", "ALIAS OF"), rows)
    return 0
