"""`eider deleted-user`: users that can be restored yet."""

from __future__ import annotations

import argparse

from bson import ObjectId

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.time import minute_of
from mailcore.model.ids import UserId
from mailcore.services import MailServices


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("deleted-user", help="users that can be restored yet").add_subparsers(required=True)
    listing = verbs.add_parser("list", help="who was deleted, and until when it can be restored")
    listing.add_argument("--tenant", required=True, metavar="NAME")
    listing.set_defaults(run=run_list)
    restore = verbs.add_parser("restore", help="make a deleted user as it was, but for sessions and tokens")
    restore.add_argument("address", help="or the id that `list` shows")
    free = verbs.add_parser("free-addresses", help="let anybody have a deleted user's addresses")
    free.add_argument("address")
    free.set_defaults(run=run_free)
    restore.set_defaults(run=run_restore)
    for verb, held in (("hold", True), ("release", False)):
        change = verbs.add_parser(verb, help=f"{verb} what a deleted user has" + (": it is not erased" if held else ""))
        change.add_argument("address", help="or the id that `list` shows")
        change.set_defaults(run=run_hold, held=held)


def run_list(options: argparse.Namespace) -> int:
    """Print a tenant's deleted users."""
    rows: list[tuple[str, ...]] = []
    with connected() as services:
        tenant = services.tenants.get_by_name(options.tenant)
        page = services.deleted_users.list_of_tenant(tenant.id)
        while page:
            for one in page:
                when = (minute_of(one.deleted_at), minute_of(one.erase_after))
                rows.append((str(one.user.id), one.user.address, *when, one.stage.value))
            page = services.deleted_users.list_of_tenant(tenant.id, after=page[-1].user.id)
    print_table(("ID", "ADDRESS", "DELETED", "ERASED AFTER", "STAGE"), rows)
    return 0


def run_restore(options: argparse.Namespace) -> int:
    """Take a deletion back."""
    with connected() as services:
        restored = services.deleted_users.restore(operator(), _user_id(services, options.address))
    print(f"{restored.main} is restored, with {restored.addresses} addresses")
    if restored.lost:
        print(f"without {', '.join(restored.lost)}")
    return 0


def run_free(options: argparse.Namespace) -> int:
    """Let anybody have the addresses."""
    with connected() as services:
        freed = services.deleted_users.free_addresses(operator(), _user_id(services, options.address))
    print(f"free: {', '.join(freed)}")
    return 0


def run_hold(options: argparse.Namespace) -> int:
    """Hold or release."""
    with connected() as services:
        user_id = _user_id(services, options.address)
        services.deleted_users.set_hold(operator(), user_id, held=options.held)
    print(f"{options.address} is {'held' if options.held else 'released'}")
    return 0


def _user_id(services: MailServices, text: str) -> UserId:
    """Return whom an id or a reserved address names."""
    return UserId(ObjectId(text)) if ObjectId.is_valid(text) else services.addresses.get(text).user_id
