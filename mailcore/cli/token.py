"""`eider token`: bearer tokens for the API, users' also for mail (OAUTHBEARER, XOAUTH2)."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.time import add_life, day_of, life_of, minute_of
from mailcore.cli.values import object_id
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM, TokenOwner
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("token", help="bearer tokens of the platform, tenants and users").add_subparsers(
        required=True
    )
    create = verbs.add_parser("create", help="make one and print it; nobody can read it again")
    _add_owner(create)
    create.add_argument("--role", required=True, choices=[role.value for role in Role])
    create.add_argument("--description", required=True, help="what it is for")
    add_life(create)
    create.set_defaults(run=run_create)
    listing = verbs.add_parser("list", help="the tokens of an owner")
    _add_owner(listing)
    listing.set_defaults(run=run_list)
    revoke = verbs.add_parser("revoke", help="take one back; ends the sessions that it opened")
    _add_owner(revoke)
    revoke.add_argument("id", type=object_id, help="as list shows it")
    revoke.set_defaults(run=run_revoke)


def run_create(options: argparse.Namespace) -> int:
    """Make a token."""
    ends_at, slides = life_of(options)
    with connected() as services:
        made, value = services.tokens.create(
            operator(),
            _owner(services, options),
            Role(options.role),
            options.description,
            ends_at=ends_at,
            slides=slides,
        )
    print(f"token created: {made.id}")
    print(f"token: {value.reveal_text()}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print an owner's tokens."""
    rows: list[tuple[str, ...]] = []
    with connected() as services:
        owner = _owner(services, options)
        page = services.tokens.list_of(owner)
        while page:
            for one in page:
                used = minute_of(one.last_use.at) if one.last_use else "-"
                rows.append(
                    (
                        str(one.id),
                        one.description,
                        one.role.value,
                        day_of(one.created_at),
                        minute_of(one.expires_at),
                        used,
                    )
                )
            page = services.tokens.list_of(owner, after=page[-1].id)
    print_table(("ID", "DESCRIPTION", "ROLE", "CREATED", "EXPIRES", "LAST USED"), rows)
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Take a token back."""
    with connected() as services:
        services.tokens.revoke(operator(), _owner(services, options), options.id)
    print(f"token {options.id} revoked")
    return 0


def _add_owner(parser: argparse.ArgumentParser) -> None:
    owner = parser.add_mutually_exclusive_group(required=True)
    owner.add_argument("--platform", action="store_true", help="sees every tenant")
    owner.add_argument("--tenant", metavar="NAME", help="sees this tenant only")
    owner.add_argument("--user", metavar="ADDRESS", help="sees this user only")


def _owner(services: MailServices, options: argparse.Namespace) -> TokenOwner:
    if options.platform:
        return PLATFORM
    if options.tenant is not None:
        return owner_of_tenant(services.tenants.get_by_name(options.tenant).id)
    return services.tokens.owner_of_user(services.addresses.get(options.user).user_id)
