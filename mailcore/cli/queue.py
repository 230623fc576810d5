"""`eider queue`: messages on their way out."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.model.outbound import OutboundEntry, RecipientStatus


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("queue", help="messages on their way out").add_subparsers(required=True)
    listing = verbs.add_parser("list", help="messages of a user or a tenant, latest first")
    owner = listing.add_mutually_exclusive_group(required=True)
    owner.add_argument("--user", metavar="ADDRESS")
    owner.add_argument("--tenant", metavar="NAME")
    listing.add_argument("--all", action="store_true", help="also those that ended within a week")
    listing.add_argument("--limit", type=int, default=100)
    listing.set_defaults(run=run_list)
    show = _verb(verbs, "show", "what became of each recipient of a message")
    show.set_defaults(run=run_show)
    for name, text in (
        ("cancel", "do not send it to those who have not got it yet"),
        ("release", "let a held message go"),
        ("retry", "try now what waits for its next attempt"),
    ):
        _verb(verbs, name, text).set_defaults(run=run_change, change=name)
    hold = _verb(verbs, "hold", "keep a message back until it is released")
    hold.add_argument("--why", required=True, metavar="TEXT")
    hold.set_defaults(run=run_hold)


def _verb(verbs: Subparsers, name: str, text: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text)
    verb.add_argument("--user", required=True, metavar="ADDRESS", help="who sends it")
    verb.add_argument("id", metavar="ID", help="queue id, as `eider queue list` shows it")
    return verb


def run_list(options: argparse.Namespace) -> int:
    """Print what is queued."""
    with connected() as services:
        if options.user is not None:
            user_id = services.addresses.get(options.user).user_id
            entries = services.outbound.list_of_user(user_id, options.limit, waiting=not options.all)
        else:
            tenant_id = services.tenants.get_by_name(options.tenant).id
            entries = services.outbound.list_of_tenant(tenant_id, options.limit, waiting=not options.all)
    print_table(("ID", "SINCE (UTC)", "STATE", "BYTES", "FROM", "TO", "NEXT"), [_row(entry) for entry in entries])
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print one message's recipients."""
    with connected() as services:
        entry = services.outbound.get(services.addresses.get(options.user).user_id, options.id)
    state = entry.state.value + (f": {entry.held}" if entry.held else "")
    print(f"{entry.id}  {state}  {entry.size_bytes} bytes  from <{entry.reverse_path}>  {entry.reason.value}")
    print(f"Message-ID <{entry.header_message_id}>, queued {entry.created_at:%Y-%m-%d %H:%M:%S} by {entry.actor}")
    print_table(
        ("RECIPIENT", "STATE", "TRIES", "NEXT", "ANSWER"),
        [(each.address, each.state.value, str(each.attempts), _due(each), _answer(each)) for each in entry.recipients],
    )
    return 0


def run_change(options: argparse.Namespace) -> int:
    """Cancel, release or retry a message."""
    with connected() as services:
        user_id = services.addresses.get(options.user).user_id
        getattr(services.outbound, options.change)(operator(), user_id, options.id)
    print({"cancel": "cancelled", "release": "released", "retry": "it is tried now"}[options.change])
    return 0


def run_hold(options: argparse.Namespace) -> int:
    """Hold a message."""
    with connected() as services:
        services.outbound.hold(operator(), services.addresses.get(options.user).user_id, options.id, options.why)
    print("held")
    return 0


def _row(entry: OutboundEntry) -> tuple[str, ...]:
    first = entry.recipients[0].address
    more = f" +{len(entry.recipients) - 1}" if len(entry.recipients) > 1 else ""
    return (
        entry.id,
        f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
        entry.state.value,
        str(entry.size_bytes),
        f"<{entry.reverse_path}>",
        first + more,
        "" if entry.next_at is None else f"{entry.next_at:%Y-%m-%d %H:%M:%S}",
    )


def _due(status: RecipientStatus) -> str:
    return "" if status.due_at is None or status.state.value != "queued" else f"{status.due_at:%Y-%m-%d %H:%M:%S}"


def _answer(status: RecipientStatus) -> str:
    answer = status.answer
    if answer is None:
        return ""
    code = f"{answer.code} " if answer.code else ""
    return f"{code}{answer.enhanced} {answer.text} {answer.remote}".strip()
