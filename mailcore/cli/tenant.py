"""`eider tenant`: organisations whose mail is kept apart."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.values import add_protocols, protocol_names, quota_of
from mailcore.errors import ValueInvalid
from mailcore.model.quota import format_size
from mailcore.model.tenant import State


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("tenant", help="organisations whose mail is kept apart").add_subparsers(required=True)
    create = verbs.add_parser("create", help="create a tenant")
    create.add_argument("name", help="any name; quote it if it has spaces")
    create.add_argument("--region", required=True, help="its mail stays on shards of this region")
    create.add_argument("--shard", help="where its users go; the emptiest open shard of the region unless given")
    create.set_defaults(run=run_create)
    verbs.add_parser("list", help="every tenant").set_defaults(run=run_list)
    state = verbs.add_parser("set-state", help="suspend, disable or revive a tenant")
    state.add_argument("name")
    state.add_argument("state", choices=[state.value for state in State])
    state.set_defaults(run=run_set_state)
    postmaster = verbs.add_parser("set-postmaster", help="who gets mail for postmaster and abuse of its domains")
    postmaster.add_argument("name")
    postmaster.add_argument("user", nargs="?", metavar="ADDRESS", help="one of its users; without: the oldest")
    postmaster.set_defaults(run=run_set_postmaster)
    journal = verbs.add_parser("set-journal", help="who gets a report of all mail that comes in and goes out")
    journal.add_argument("name")
    journal.add_argument("user", nargs="?", metavar="ADDRESS", help="one of its users; without: nobody")
    journal.set_defaults(run=run_set_journal)
    quota = verbs.add_parser("set-quota", help="how much all users of a tenant may store together")
    quota.add_argument("name")
    quota.add_argument("quota", metavar="SIZE", help='such as 500G, or "none"')
    quota.set_defaults(run=run_set_quota)
    users = verbs.add_parser("set-users", help="how many users a tenant may have")
    users.add_argument("name")
    users.add_argument("users", metavar="NUMBER", help='such as 50, or "none"')
    users.set_defaults(run=run_set_users)
    verbs.add_parser("sum-up", help="sum up what the mail of every tenant takes, now").set_defaults(run=run_sum_up)
    protocols = verbs.add_parser("set-protocols", help="switch protocols off for all users, and all others on")
    protocols.add_argument("name")
    add_protocols(protocols)
    protocols.set_defaults(run=run_set_protocols)


def run_create(options: argparse.Namespace) -> int:
    """Create a tenant and print its id."""
    with connected() as services:
        tenant_id = services.tenants.create(operator(), options.name, options.region, options.shard)
        tenant = services.tenants.find(tenant_id)
    assert tenant is not None
    print(f"tenant {tenant.name} created on shard {tenant.home_shard}: {tenant_id}")
    return 0


def run_set_quota(options: argparse.Namespace) -> int:
    """Change a tenant's pool."""
    quota_bytes = None if options.quota.lower() == "none" else quota_of(options.quota)
    with connected() as services:
        services.pools.set_quota(operator(), services.tenants.get_by_name(options.name).id, quota_bytes)
    print(f"users of {options.name} share {'unlimited room' if quota_bytes is None else format_size(quota_bytes)}")
    return 0


def run_set_users(options: argparse.Namespace) -> int:
    """Change how many users a tenant may have."""
    wanted = options.users.lower()
    if wanted != "none" and not wanted.isdecimal():
        raise ValueInvalid('a number of users, or "none"')
    number = None if wanted == "none" else int(wanted)
    with connected() as services:
        services.pools.set_max_users(operator(), services.tenants.get_by_name(options.name).id, number)
    print(f"{options.name} may have {'any number of' if number is None else number} users")
    return 0


def run_sum_up(_options: argparse.Namespace) -> int:
    """Sum up the use of every tenant."""
    with connected() as services:
        count = services.pools.sum_up()
    print(f"summed up: {count} tenants")
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print every tenant."""
    rows: list[tuple[str, ...]] = []
    with connected() as services:
        page = services.tenants.list_all()
        while page:
            rows += [(str(one.id), one.name, one.region, one.home_shard, one.state.value) for one in page]
            page = services.tenants.list_all(after=page[-1].id)
    print_table(("ID", "NAME", "REGION", "SHARD", "STATE"), rows)
    return 0


def run_set_state(options: argparse.Namespace) -> int:
    """Change a tenant's state."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.name)
        services.tenants.set_state(operator(), tenant.id, State(options.state))
    print(f"tenant {tenant.name} is {options.state}; servers follow within seconds")
    return 0


def run_set_postmaster(options: argparse.Namespace) -> int:
    """Change who gets mail for postmaster and abuse."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.name)
        user_id = services.addresses.get(options.user).user_id if options.user else None
        services.tenants.set_postmaster(operator(), tenant.id, user_id)
    print(f"postmaster and abuse of {tenant.name} reach {options.user or 'its oldest user'}, unless somebody has them")
    return 0


def run_set_journal(options: argparse.Namespace) -> int:
    """Change who gets reports of all mail."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.name)
        user_id = services.addresses.get(options.user).user_id if options.user else None
        services.journal.set_archive(operator(), tenant.id, user_id)
    print(f"mail of {tenant.name} is reported to {options.user or 'nobody'}; servers follow within seconds")
    return 0


def run_set_protocols(options: argparse.Namespace) -> int:
    """Switch protocols off and on for all users of a tenant."""
    with connected() as services:
        tenant = services.tenants.get_by_name(options.name)
        services.tenants.set_disabled_protocols(operator(), tenant.id, options.off)
    print(f"switched off for {tenant.name}: {protocol_names(options.off)}")
    return 0
