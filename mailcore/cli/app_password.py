"""`eider app-password`: made-up passwords for one program each."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.time import add_life, day_of, life_of, minute_of
from mailcore.cli.values import object_id
from mailcore.model.access import Scope
from mailcore.model.secret import Secret


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("app-password", help="made-up passwords for one mail program each").add_subparsers(
        required=True
    )
    create = verbs.add_parser("create", help="make one and print its letters, which nobody can read again")
    create.add_argument("address", help="any address of the user")
    create.add_argument("--description", required=True, help="which program or device it is for")
    create.add_argument(
        "--scope", action="append", choices=[scope.value for scope in Scope], help="may be repeated; * unless given"
    )
    add_life(create)
    create.set_defaults(run=run_create)
    listing = verbs.add_parser("list", help="the app passwords of a user")
    listing.add_argument("address")
    listing.set_defaults(run=run_list)
    revoke = verbs.add_parser("revoke", help="take one back; ends the sessions that it opened")
    revoke.add_argument("address")
    revoke.add_argument("id", type=object_id, help="as list shows it")
    revoke.set_defaults(run=run_revoke)


def run_create(options: argparse.Namespace) -> int:
    """Make an app password."""
    scopes = [Scope(scope) for scope in options.scope or (Scope.ALL.value,)]
    ends_at, slides = life_of(options)
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        made, letters = services.app_passwords.create(
            operator(), user_id, options.description, scopes, expires_at=ends_at, slides=slides
        )
    print(f"app password of {options.address} created: {made.id}")
    print(f"password: {_in_groups(letters)}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print a user's app passwords."""
    with connected() as services:
        found = services.app_passwords.list_of_user(services.addresses.get(options.address).user_id)
    rows = [
        (
            str(one.id),
            one.description,
            " ".join(sorted(one.scopes)),
            day_of(one.created_at),
            minute_of(one.expires_at),
            f"{minute_of(one.last_use.at)} {one.last_use.protocol} {one.last_use.remote_address}"
            if one.last_use
            else "-",
        )
        for one in found
    ]
    print_table(("ID", "DESCRIPTION", "SCOPES", "CREATED", "EXPIRES", "LAST USED"), rows)
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Take an app password back."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        services.app_passwords.revoke(operator(), user_id, options.id)
    print(f"app password {options.id} of {options.address} revoked")
    return 0


def _in_groups(letters: Secret) -> str:
    text = letters.reveal_text()
    return " ".join(text[first : first + 4] for first in range(0, len(text), 4))
