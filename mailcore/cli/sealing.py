"""`eider sealing`: secrets at rest, and the keys that seal them."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.services.trust.rotation import FieldState


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    verbs = subparsers.add_parser("sealing", help="secrets at rest, and the keys that seal them").add_subparsers(
        required=True
    )
    status = verbs.add_parser("status", help="how many values which key sealed")
    status.set_defaults(run=run_status)
    rotate = verbs.add_parser(
        "rotate",
        help="seal everything anew under the newest key",
        description="Seal everything anew under the highest key of EIDER_SEALING_KEYS. When no value is left under an "
        "older key, that key can be taken out of the environment.",
    )
    rotate.set_defaults(run=run_rotate)


def run_status(_options: argparse.Namespace) -> int:
    """Print the state of every field."""
    with connected() as services:
        return _print(services.rotation.status(), services.sealing.newest_key)


def run_rotate(_options: argparse.Namespace) -> int:
    """Rotate, and print the state after it."""
    with connected() as services:
        return _print(services.rotation.rotate(operator()), services.sealing.newest_key)


def _print(states: list[FieldState], key: int) -> int:
    rows = [(one.field.name, str(one.current), str(one.older), str(one.broken)) for one in states]
    print_table(("FIELD", f"KEY {key}", "OLDER KEYS", "DO NOT OPEN"), rows)
    if not any(one.older for one in states):
        print(f"no value is left under a key older than {key}")
    return 1 if any(one.broken for one in states) else 0
