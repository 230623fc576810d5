"""`eider audit`: who changed what, and when."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import entry_points
from typing import Final

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected
from mailcore.cli.table import print_table
from mailcore.log import clean
from mailcore.model.event import PLATFORM, Event, Outcome

VERBS: Final = "eider.audit"
"""Entry points of verbs that live outside mailcore: a function that adds its own to what it is given."""


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("audit", help="who changed what, and when").add_subparsers(required=True)
    listing = verbs.add_parser(
        "list",
        help="events of a tenant, oldest first",
        description="List events, oldest first. The last line names the cursor from which to go on.",
    )
    owner = listing.add_mutually_exclusive_group(required=True)
    owner.add_argument("--tenant", metavar="NAME")
    owner.add_argument("--platform", action="store_true", help="what concerns no tenant: shards, certificates")
    listing.add_argument("--after", default="", metavar="CURSOR", help="where the last listing ended")
    listing.add_argument("--limit", type=int, default=100, help="1 to 1000 events (100)")
    listing.add_argument("--mail", action="store_true", help="changes of mail as well: deliveries, flags, deletions")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(run=run_list)
    for point in sorted(entry_points(group=VERBS)):
        point.load()(verbs)


def run_list(options: argparse.Namespace) -> int:
    """Print one page of events."""
    with connected() as services:
        tenant_id = PLATFORM if options.platform else services.tenants.get_by_name(options.tenant).id
        page = services.events.read(tenant_id, options.after, options.limit, only_records=not options.mail)
    if options.json:
        for event in page.events:
            print(json.dumps(_told(event), sort_keys=True))
    else:
        rows = [
            (
                event.at.strftime("%Y-%m-%d %H:%M:%S"),
                event.kind if event.outcome is Outcome.DONE else f"{event.kind} (outcome {event.outcome.value})",
                clean(event.actor.identity),
                f"{event.actor.door.value} {clean(event.actor.remote_address)}".strip(),
                str(event.user_id or ""),
                clean(json.dumps(event.details, default=str, sort_keys=True, ensure_ascii=False)),
            )
            for event in page.events
        ]
        print_table(("TIME (UTC)", "EVENT", "WHO", "THROUGH", "USER", "DETAILS"), rows)
    if page.cursor:
        print(f"go on with: --after {page.cursor}" if not options.json else json.dumps({"cursor": page.cursor}))
    return 0


def _told(event: Event) -> dict[str, object]:
    actor = event.actor
    return {
        "shard": event.shard,
        "number": event.number,
        "at": event.at.isoformat(),
        "event": event.kind,
        "outcome": event.outcome.value,
        "user": str(event.user_id) if event.user_id else None,
        "actor": {
            "kind": actor.kind.value,
            "door": actor.door.value,
            "identity": actor.identity,
            "on_behalf_of": str(actor.on_behalf_of) if actor.on_behalf_of else None,
            "remote_address": actor.remote_address,
            "request_id": actor.request_id,
        },
        "details": json.loads(json.dumps(event.details, default=str)),
    }
