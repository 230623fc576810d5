"""`eider import`: mail from an mbox, a Maildir or a folder of .eml files."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import printable
from mailcore.errors import MailError, OverQuota
from mailcore.model.quota import format_size
from mailcore.services.keeping.import_folders import SourceUnreadable, find_mailboxes
from mailcore.services.keeping.import_sources import Other

BAR_CELLS = 30
REDRAW_S = 0.2
NAMED_FAILURES = 1000


def register(subparsers: Subparsers) -> None:
    """Add the noun; it has no verbs."""
    parser = subparsers.add_parser(
        "import",
        help="bring mail over from an mbox, a Maildir or a folder of .eml files",
        description="Bring mail over, with flags, dates and subfolders. Run again, it brings what is not there yet.",
    )
    parser.add_argument("path", type=Path, help="mbox file, Maildir, .eml file, or folder of .eml and mbox files")
    parser.add_argument("--user", required=True, metavar="ADDRESS")
    parser.add_argument("--mailbox", default="INBOX", metavar="NAME", help="where it goes; INBOX unless given")
    parser.set_defaults(run=run_import)


def run_import(options: argparse.Namespace) -> int:
    """Import; say at the end what is no mail, and what could not be read, and then return 1."""
    try:
        sources = find_mailboxes(options.path)
    except SourceUnreadable as error:
        raise SystemExit(f"eider: {error}") from error
    except OSError as error:
        raise SystemExit(f"eider: {options.path}: {error.strerror}") from error
    bar = ProgressBar(sum(source.size_bytes for source in sources))
    with connected() as services:
        user_id = services.addresses.get(options.user).user_id
        begun = time.monotonic()
        try:
            result = services.imports.run(operator(), user_id, sources, options.mailbox, bar.advance)
        except OverQuota as error:
            raise MailError(f"the quota of {options.user} is used up: raise it and run this again to go on") from error
        finally:
            bar.end()
    seconds = time.monotonic() - begun
    print(
        f"{result.imported} imported ({format_size(result.imported_bytes)}) into {len(result.mailboxes)} "
        f"mailboxes in {seconds:.1f} s, {result.present} there already, {len(result.failures)} not readable"
        + (f", {len(result.passed_over)} passed over" if result.passed_over else "")
    )
    _print_passed_over(result.passed_over)
    if result.keywords_dropped:
        print(f"{result.keywords_dropped} messages lost keywords: a mailbox has room for 56", file=sys.stderr)
    for failure in result.failures[:NAMED_FAILURES]:
        print(f"eider: not imported: {printable(failure.name)}: {failure.reason}", file=sys.stderr)
    if len(result.failures) > NAMED_FAILURES:
        print(f"eider: and {len(result.failures) - NAMED_FAILURES} more", file=sys.stderr)
    return 1 if result.failures else 0


def _print_passed_over(others: Sequence[Other]) -> None:
    """Say what is no mail; files that mail programs put into every folder once."""
    alike: dict[tuple[str, str], list[str]] = {}
    for other in others:
        alike.setdefault((Path(other.name).name, other.reason), []).append(other.name)
    for (_, reason), names in islice(alike.items(), NAMED_FAILURES):
        more = f" and {len(names) - 1} more of that name" if len(names) > 1 else ""
        print(f"eider: passed over: {printable(names[0])}{more}: {reason}", file=sys.stderr)
    if len(alike) > NAMED_FAILURES:
        print(f"eider: and {len(alike) - NAMED_FAILURES} more", file=sys.stderr)


class ProgressBar:
    """One line on a terminal that fills; nothing where standard error is none."""

    def __init__(self, total_bytes: int) -> None:
        self._total = max(1, total_bytes)
        self._read = 0
        self._begun = time.monotonic()
        self._drawn_at = float("-inf")
        self._is_shown = sys.stderr.isatty()

    def advance(self, read_bytes: int, messages: int) -> None:
        """Move on by bytes read; `messages` is how many are dealt with so far."""
        self._read += read_bytes
        now = time.monotonic()
        if not self._is_shown or now < self._drawn_at + REDRAW_S:
            return
        self._drawn_at = now
        share = min(1.0, self._read / self._total)
        bar = "#" * int(share * BAR_CELLS)
        speed = format_size(int(self._read / max(0.001, now - self._begun)))
        print(
            f"\r[{bar:<{BAR_CELLS}}] {share:4.0%}  {messages} messages  {speed}/s\x1b[K",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Remove the line."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
