"""`eider limits`: what users may use up, what they have used, and failed logins."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.errors import ValueInvalid
from mailcore.model.filter import of_user
from mailcore.model.limits import SENDING_LIMITS, USER_LIMITS
from mailcore.model.quota import format_size, parse_size


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    noun = subparsers.add_parser("limits", help="what users may use up, and failed logins")
    verbs = noun.add_subparsers(required=True)
    show = verbs.add_parser("show", help="limits of a user, what is used of them, and failed logins")
    show.add_argument("address")
    show.set_defaults(run=run_show)
    change = verbs.add_parser("set", help="change a limit of a user, or of every user of a tenant")
    whose = change.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="ADDRESS")
    whose.add_argument("--tenant", metavar="NAME")
    change.add_argument("limit", choices=USER_LIMITS + SENDING_LIMITS, help="of a tenant alone: tenant_*, domain_*")
    change.add_argument("value", help='a number, or a size such as 5G; "none": no limit; "default": as above')
    change.set_defaults(run=run_set)
    reset = verbs.add_parser("reset", help="let a user in again: forget failed logins and what is used up")
    reset.add_argument("address")
    reset.set_defaults(run=run_reset)


def run_show(options: argparse.Namespace) -> int:
    """Print limits with their use, then failed logins by where they came from."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        limits = services.usage.limits(user_id)
        used: dict[str, int] = services.usage.used(user_id) | {
            "connections": services.connections.count(user_id) or 0,
            "filters": len(services.filters.list_of(of_user(user_id)).rules),
        }
        failures = services.failed_logins.failures(user_id)
    rows = [(name, _number(name, used.get(name, 0)), _limit(name, getattr(limits, name))) for name in USER_LIMITS]
    print_table(("LIMIT", "USED", "ALLOWED"), rows)
    if failures:
        print()
        found = [(place, str(count), f"{wait_s} s") for place, (count, wait_s) in sorted(failures.items())]
        print_table(("FAILED LOGINS FROM", "COUNT", "WAIT"), found)
    return 0


def run_set(options: argparse.Namespace) -> int:
    """Change one limit."""
    value = _value(options.value)
    with connected() as services:
        if options.tenant is not None:
            tenant = services.tenants.get_by_name(options.tenant)
            of_all = options.limit in SENDING_LIMITS
            change = services.tenants.set_sending_limit if of_all else services.tenants.set_user_limit
            change(operator(), tenant.id, options.limit, value)
        else:
            user_id = services.addresses.get(options.user).user_id
            services.users.set_limit(operator(), user_id, options.limit, value)
    whose = options.user or (options.tenant if options.limit in SENDING_LIMITS else f"users of {options.tenant}")
    shown = "as above" if value is None else _limit(options.limit, value)
    print(f"{options.limit} of {whose} is {shown}; servers follow within 30 seconds")
    return 0


def run_reset(options: argparse.Namespace) -> int:
    """Forget failures and use."""
    with connected() as services:
        user_id = services.addresses.get(options.address).user_id
        services.failed_logins.forgive(user_id)
        services.usage.forget(user_id)
    print(f"failed logins and use of {options.address} are forgotten")
    return 0


def _value(text: str) -> int | None:
    if text.lower() in {"none", "default"}:
        return 0 if text.lower() == "none" else None
    try:
        return parse_size(text)
    except ValueError as error:
        raise ValueInvalid(str(error)) from error


def _limit(name: str, value: int) -> str:
    return _number(name, value) if value else "unlimited"


def _number(name: str, value: int) -> str:
    return format_size(value) if "bytes" in name else str(value)
