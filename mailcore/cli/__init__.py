"""`eider`, the operator's command line: one module per noun, each with `register(subparsers)`.

A command that lives outside mailcore registers its module under the entry point group
`eider.commands`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Protocol, cast

from mailcore import errors

NOUNS: tuple[str, ...] = (
    "shard",
    "tenant",
    "domain",
    "dkim",
    "send_as",
    "user",
    "deleted_user",
    "shared_mailbox",
    "address",
    "group",
    "filter",
    "script",
    "senders",
    "app_password",
    "token",
    "limits",
    "import_mail",
    "fsck",
    "audit",
    "hold",
    "retention",
    "restore",
    "sealing",
    "cert",
    "sign_ins",
    "queue",
    "trace",
    "suppression",
    "smarthost",
)  # fmt: skip
"""Modules of this package, in the order in which help lists them: add yours here."""

ENTRY_POINT_GROUP = "eider.commands"

Run = Callable[[argparse.Namespace], int]


class Subparsers(Protocol):
    """What a command's `register` is given: a place to add its own parser."""

    def add_parser(self, name: str, *, help: str, description: str | None = None) -> argparse.ArgumentParser:  # noqa: A002
        """Add a noun; the parser's default `run` is the function that carries it out."""


class CommandModule(Protocol):
    """A module that adds one noun to the command line."""

    def register(self, subparsers: Subparsers) -> None:
        """Add the noun and its verbs; every verb sets `run=` by set_defaults."""


def command_modules() -> list[CommandModule]:
    """Return every command module there is: our own nouns, then the registered ones."""
    own = [importlib.import_module(f"{__name__}.{noun}") for noun in NOUNS]
    registered = [point.load() for point in sorted(entry_points(group=ENTRY_POINT_GROUP))]
    return cast("list[CommandModule]", own + registered)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="eider", description="Operate the Eider mail system.")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in command_modules():
        module.register(cast("Subparsers", subparsers))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; a known error is one line on standard error and status 1."""
    options = build_parser().parse_args(arguments)
    run = cast("Run", options.run)
    try:
        return run(options)
    except errors.MailError as error:
        print(f"eider: {error or type(error).__name__}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
