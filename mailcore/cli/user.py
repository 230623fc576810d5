"""`eider user`: logins that own mailboxes."""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys
from datetime import UTC, datetime
from functools import partial

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.time import days
from mailcore.cli.values import add_protocols, protocol_names, quota_of
from mailcore.errors import ValueInvalid
from mailcore.model.factors import Factor
from mailcore.model.quota import format_size
from mailcore.model.secret import Secret
from mailcore.model.tenant import State

GENERATED_CHARACTERS = 20
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""Nothing that is easily read as something else; 20 of these hold 100 bits."""


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("user", help="logins that own mailboxes").add_subparsers(required=True)
    create = verbs.add_parser(
        "create",
        help="create a user with its mailboxes",
        description="Create a user. The password is read from standard input, asked for on a terminal, or made up.",
    )
    create.add_argument("address", help="the main address, in one of the tenant's domains")
    create.add_argument("--tenant", required=True, metavar="NAME")
    create.add_argument("--name", default="", help="the person's name")
    create.add_argument("--quota", metavar="SIZE", help="such as 5G; without limit unless given")
    _add_password(create)
    create.set_defaults(run=run_create)
    listing = verbs.add_parser("list", help="the users of a tenant")
    listing.add_argument("--tenant", required=True, metavar="NAME")
    listing.set_defaults(run=run_list)
    password = verbs.add_parser("set-password", help="change a password; ends every session of the user")
    password.add_argument("address")
    password.add_argument("--change-needed", action="store_true", help="its owner has to choose another in the browser")
    _add_password(password)
    password.set_defaults(run=run_set_password)
    foreign = verbs.add_parser(
        "set-password-hash",
        help="take over a password hashed by another system; ends every session of the user",
        description="Read the hash's line from standard input: argon2, bcrypt, sha-crypt, yescrypt, pbkdf2, and the"
        " weak md5-crypt, DES and LDAP digests. It is replaced at the next login.",
    )
    foreign.add_argument("address")
    foreign.set_defaults(run=run_set_password_hash)
    temporary = verbs.add_parser(
        "temporary-password", help="make a password up that is good for a day, to choose another"
    )
    temporary.add_argument("address")
    temporary.set_defaults(run=run_temporary_password)
    logout = verbs.add_parser("logout", help="end every session of a user on every server")
    logout.add_argument("address")
    logout.add_argument("--reason", default="Sign in again", help="what mail programs are told, one line")
    logout.set_defaults(run=run_logout)
    protocols = verbs.add_parser("set-protocols", help="switch protocols off for a user, and all others on")
    protocols.add_argument("address")
    add_protocols(protocols)
    protocols.set_defaults(run=run_set_protocols)
    state = verbs.add_parser("set-state", help="suspend, disable or revive a user")
    state.add_argument("address")
    state.add_argument("state", choices=[state.value for state in State])
    state.set_defaults(run=run_set_state)
    quota = verbs.add_parser("set-quota", help="change how much a user may store")
    quota.add_argument("address")
    quota.add_argument("quota", metavar="SIZE", help='such as 5G, or "none"')
    quota.set_defaults(run=run_set_quota)
    rename = verbs.add_parser("rename", help="another main address; the old one goes on to reach the user")
    rename.add_argument("address")
    rename.add_argument("new", metavar="NEW_ADDRESS")
    rename.set_defaults(run=run_rename)
    delete = verbs.add_parser("delete", help="delete a user; see deleted-user for how to take it back")
    delete.add_argument("address")
    delete.add_argument(
        "--days", type=partial(days, least=0), metavar="N", help="it is erased after so many days, 30 unless given"
    )
    delete.set_defaults(run=run_delete)
    _add_second_factors(verbs)


def _add_second_factors(verbs: Subparsers) -> None:
    second = verbs.add_parser("2fa", help="second factors").add_subparsers(required=True)
    status = second.add_parser("status", help="which second factors a user has")
    status.add_argument("address")
    status.set_defaults(run=run_2fa_status)
    remove = second.add_parser("remove", help="remove second factors, for a user who has lost them")
    remove.add_argument("address")
    remove.add_argument("factor", choices=[*(factor.value for factor in Factor), "all"])
    remove.set_defaults(run=run_2fa_remove)


def run_create(options: argparse.Namespace) -> int:
    """Create a user; print the password if it was made up."""
    quota_bytes = quota_of(options.quota) if options.quota is not None else None
    with connected() as services:
        tenant = services.tenants.get_by_name(options.tenant)
        services.addresses.check_free(tenant.id, options.address)  # before a password is asked for
        password, is_generated = _password(options)
        user_id = services.users.create(operator(), options.address, password, options.name, tenant.id, quota_bytes)
    print(f"user {options.address} created: {user_id}")
    if is_generated:
        print(f"password: {password.reveal_text()}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print a tenant's users."""
    rows: list[tuple[str, ...]] = []
    with connected() as services:
        tenant = services.tenants.get_by_name(options.tenant)
        page = services.users.list_of_tenant(tenant.id)
        while page:
            for user in page:
                quota = "unlimited" if user.quota_bytes is None else format_size(user.quota_bytes)
                rows.append((str(user.id), user.address, user.name, user.shard, quota, user.state.value))
            page = services.users.list_of_tenant(tenant.id, after=page[-1].id)
    print_table(("ID", "ADDRESS", "NAME", "SHARD", "QUOTA", "STATE"), rows)
    return 0


def run_set_password(options: argparse.Namespace) -> int:
    """Change a password."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        password, is_generated = _password(options)
        services.users.set_password(operator(), user_id, password, change_needed=options.change_needed)
    print(f"password of {options.address} changed")
    if is_generated:
        print(f"password: {password.reveal_text()}")
    return 0


def run_set_password_hash(options: argparse.Namespace) -> int:
    """Take over a password that another system hashed."""
    encoded = sys.stdin.readline().strip()
    with connected() as services:
        services.users.set_password_hash(operator(), services.addresses.get(options.address).user_id, encoded)
    print(f"password of {options.address} taken over")
    return 0


def run_temporary_password(options: argparse.Namespace) -> int:
    """Make a temporary password and print it."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        password = services.temporary_passwords.create(operator(), user_id)
    print(f"temporary password of {options.address}, good for 24 hours in the browser: {password.reveal_text()}")
    return 0


def run_logout(options: argparse.Namespace) -> int:
    """End every session of a user."""
    with connected() as services:
        services.users.log_out(operator(), services.addresses.get(options.address).user_id, options.reason)
    print(f"sessions of {options.address} end within seconds")
    return 0


def run_set_protocols(options: argparse.Namespace) -> int:
    """Switch protocols off and on for a user."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        services.users.set_disabled_protocols(operator(), user_id, options.off)
    print(f"switched off for {options.address}: {protocol_names(options.off)}")
    return 0


def run_set_state(options: argparse.Namespace) -> int:
    """Change a user's state."""
    with connected() as services:
        services.users.set_state(operator(), services.addresses.get(options.address).user_id, State(options.state))
    print(f"user {options.address} is {options.state}")
    return 0


def run_set_quota(options: argparse.Namespace) -> int:
    """Change a user's quota."""
    quota_bytes = None if options.quota.lower() == "none" else quota_of(options.quota)
    with connected() as services:
        services.users.set_quota(operator(), services.addresses.get(options.address).user_id, quota_bytes)
    print(f"quota of {options.address} is {'unlimited' if quota_bytes is None else format_size(quota_bytes)}")
    return 0


def run_rename(options: argparse.Namespace) -> int:
    """Change a user's main address."""
    with connected() as services:
        address = services.renaming.rename(operator(), services.addresses.get(options.address).user_id, options.new)
    print(f"{options.address} is {address} now and goes on to receive mail for {options.address}")
    return 0


def run_delete(options: argparse.Namespace) -> int:
    """Delete a user; nothing of it is destroyed before its time."""
    erase_after = datetime.now(UTC) + options.days if options.days is not None else None
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        done = services.deleted_users.delete(operator(), user_id, erase_after)
    print(f"{options.address} is deleted, and erased after {done.erase_after:%Y-%m-%d %H:%M}")
    return 0


def run_2fa_status(options: argparse.Namespace) -> int:
    """Print which factors are on."""
    with connected() as services:
        status = services.second_factors.status(services.addresses.get(options.address).user_id)
    print(f"second factors: {', '.join(status.enabled) or 'none'}")
    if status.enabled:
        print(f"recovery codes left: {status.recovery_codes_left}")
    if status.passkeys:
        rows = [
            (one.id.hex()[:16], one.name, one.rp_id, f"{one.created_at:%Y-%m-%d}", _day(one.last_used_at))
            for one in status.passkeys
        ]
        print_table(("PASSKEY", "NAME", "FOR", "CREATED", "LAST USED"), rows)
    return 0


def run_2fa_remove(options: argparse.Namespace) -> int:
    """Remove one kind of factor, or all."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        if options.factor == "all":
            services.second_factors.disable_all(operator(), user_id)
        else:
            services.second_factors.disable(operator(), user_id, Factor(options.factor))
    print(f"second factors of {options.address} removed: {options.factor}")
    return 0


def _day(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%d}"


def _add_password(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--password-stdin", action="store_true", help="read the password's line from standard input")
    choice.add_argument("--generate", action="store_true", help="make a password up and print it")


def _password(options: argparse.Namespace) -> tuple[Secret, bool]:
    """Return the password, and whether it was made up here."""
    if options.password_stdin:
        return Secret(sys.stdin.buffer.readline().rstrip(b"\r\n")), False
    if not options.generate and sys.stdin.isatty():
        password = getpass.getpass("Password (empty: make one up): ")
        if password:
            if getpass.getpass("Once more: ") != password:
                raise ValueInvalid("the two passwords differ: try again")
            return Secret(password), False
    return Secret("".join(secrets.choice(ALPHABET) for _ in range(GENERATED_CHARACTERS))), True
