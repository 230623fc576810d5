"""`eider shared-mailbox`: addresses with mail that several people read and nobody signs in to."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.model.ids import UserId
from mailcore.services import MailServices


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    noun = subparsers.add_parser("shared-mailbox", help="mailboxes that several people read and nobody signs in to")
    verbs = noun.add_subparsers(required=True)
    create = verbs.add_parser("create", help="make one")
    create.add_argument("address")
    create.add_argument("--tenant", required=True, metavar="NAME")
    create.add_argument("--name", default="", help="what people call it")
    _add_delegates(create)
    create.set_defaults(run=run_create)
    convert = verbs.add_parser("of-leaver", help="make one of a user who leaves: mail stays, every way in is closed")
    convert.add_argument("address")
    _add_delegates(convert)
    convert.set_defaults(run=run_convert)
    delegates = verbs.add_parser("set-delegates", help="who reads it and sends as it; nobody else does any longer")
    delegates.add_argument("address")
    _add_delegates(delegates)
    delegates.set_defaults(run=run_set_delegates)
    show = verbs.add_parser("show", help="who reads it")
    show.add_argument("address")
    show.set_defaults(run=run_show)


def run_create(options: argparse.Namespace) -> int:
    """Make a shared mailbox."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.tenant)
        delegates = _ids(services, options.delegates)
        made = services.shared_mailboxes.create(operator(), tenant.id, options.address, options.name, delegates)
    print(f"shared mailbox {options.address} created: {made}")
    return 0


def run_convert(options: argparse.Namespace) -> int:
    """Make a shared mailbox of a user."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        services.shared_mailboxes.convert(operator(), user_id, _ids(services, options.delegates))
    print(f"{options.address} is a shared mailbox now: nobody signs in to it")
    return 0


def run_set_delegates(options: argparse.Namespace) -> int:
    """Say who reads it."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        services.shared_mailboxes.set_delegates(operator(), user_id, _ids(services, options.delegates))
    print(f"{options.address} is read by: {', '.join(options.delegates) or 'nobody'}")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print who reads it."""
    with connected() as services:
        found = services.shared_mailboxes.delegates(services.addresses.get(options.address).user_id)
    print_table(("ID", "ADDRESS", "NAME"), [(str(one.user_id), one.address, one.name) for one in found])
    return 0


def _add_delegates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("delegates", nargs="*", metavar="USER", help="addresses of those who read it and send as it")


def _ids(services: MailServices, addresses: list[str]) -> list[UserId]:
    return [services.addresses.get(address).user_id for address in addresses]
