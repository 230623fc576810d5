"""`eider trace`: what became of a message, step by step."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected
from mailcore.cli.table import print_table


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    trace = subparsers.add_parser(
        "trace",
        help="what became of a message, step by step",
        description="Steps of a tenant's messages, latest last; all that is given must match.",
    )
    trace.add_argument("--tenant", required=True, metavar="NAME")
    trace.add_argument("--from", dest="sender", default="", metavar="ADDRESS", help="reverse-path")
    trace.add_argument("--to", dest="recipient", default="", metavar="ADDRESS")
    trace.add_argument("--message-id", default="", metavar="ID", help="of the header field")
    trace.add_argument("--queue-id", default="", metavar="ID")
    trace.add_argument("--limit", type=int, default=100, help="1 to 1000 steps (100)")
    trace.set_defaults(run=run_trace)


def run_trace(options: argparse.Namespace) -> int:
    """Print the steps."""
    with connected() as services:
        rows = services.trace.search(
            services.tenants.get_by_name(options.tenant).id,
            sender=options.sender,
            recipient=options.recipient,
            message_id=options.message_id,
            queue_id=options.queue_id,
            limit=options.limit,
        )
    print_table(
        ("TIME (UTC)", "STEP", "QUEUE ID", "FROM", "TO", "MESSAGE-ID", "DETAILS"),
        [
            (
                "" if row.at is None else f"{row.at:%Y-%m-%d %H:%M:%S}",
                row.step.value,
                row.queue_id,
                f"<{row.sender}>",
                row.recipient + (f" +{len(row.others)}" if row.others else ""),
                row.message_id,
                "; ".join(f"{name}: {value}" for name, value in row.detail.items() if value),
            )
            for row in reversed(rows)
        ],
    )
    return 0
