"""`eider portal`: the portal's tables from the shell."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from portal.database import open_engine
from portal.migrations import migrate

if TYPE_CHECKING:
    from mailcore.cli import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add the noun `portal` and its verbs."""
    parser = subparsers.add_parser("portal", help="the portal's tables", description=__doc__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    one = verbs.add_parser("migrate", help="bring the tables up to date; run it before a new release serves")
    one.set_defaults(run=run_migrate)


def run_migrate(_: argparse.Namespace) -> int:
    """Make every change of the tables that is not made yet."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        sys.stderr.write("DATABASE_URL is not set: postgresql://...\n")
        return 78
    engine = open_engine(url)
    try:
        migrate(engine)
    finally:
        engine.dispose()
    return 0
