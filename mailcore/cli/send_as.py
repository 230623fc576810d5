"""`eider send-as`: who may send as an address that is not their own."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.model.sending import ForeignSender


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("send-as", help="who may send as whom").add_subparsers(required=True)
    grant = verbs.add_parser("grant", help="let a user send as another's address, or a group's")
    revoke = verbs.add_parser("revoke", help="take that back")
    for verb, run in ((grant, run_grant), (revoke, run_revoke)):
        verb.add_argument("address", help="of the same tenant")
        verb.add_argument("--user", required=True, metavar="ADDRESS")
        verb.set_defaults(run=run)
    listing = verbs.add_parser("list", help="what a user was granted")
    listing.add_argument("--user", required=True, metavar="ADDRESS")
    listing.set_defaults(run=run_list)
    foreign = verbs.add_parser("foreign", help="what becomes of mail in others' names")
    foreign.add_argument("what", choices=[each.value for each in ForeignSender])
    foreign.add_argument("--tenant", required=True, metavar="NAME")
    foreign.set_defaults(run=run_foreign)


def run_grant(options: argparse.Namespace) -> int:
    """Let a user send as an address."""
    with connected() as services:
        grant = services.identities.grant(operator(), services.addresses.get(options.user).user_id, options.address)
    print(f"{options.user} may send as {grant.address}")
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Take a grant back."""
    with connected() as services:
        services.identities.revoke(operator(), services.addresses.get(options.user).user_id, options.address)
    print(f"{options.user} may send as {options.address} no more")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print grants."""
    with connected() as services:
        grants = services.identities.list_of_user(services.addresses.get(options.user).user_id)
    print_table(("ADDRESS", "SINCE"), [(grant.address, f"{grant.created_at:%Y-%m-%d}") for grant in grants])
    return 0


def run_foreign(options: argparse.Namespace) -> int:
    """Choose for a tenant."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.tenant)
        services.tenants.set_foreign_sender(operator(), tenant.id, ForeignSender(options.what))
    done = "refused" if options.what == ForeignSender.REFUSE else "rewritten to the sender's own address"
    print(f"mail of {tenant.name} in others' names is {done}; servers follow within 30 seconds")
    return 0
