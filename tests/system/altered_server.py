"""A server with one function replaced, or watched: `python -m tests.system.altered_server NAME SERVER ...`.

A test that stays green with a function broken proves nothing.
"""

from gevent import monkey

monkey.patch_all()

import itertools  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from contextlib import nullcontext  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

from mailcore.imap import commands, connection, selected  # noqa: E402
from mailcore.imap.commands import select  # noqa: E402
from mailcore.imap.wire import scanner  # noqa: E402
from mailcore.main import main  # noqa: E402
from mailcore.message import body_structure, envelope  # noqa: E402
from mailcore.model import search  # noqa: E402
from mailcore.model.actions import CLOSE  # noqa: E402
from mailcore.model.uid_set import UidSet  # noqa: E402
from mailcore.net import web  # noqa: E402
from mailcore.net.offload import GeventOffload  # noqa: E402
from mailcore.services.accounts import connections, failed_logins  # noqa: E402
from mailcore.services.accounts.sessions import Sessions  # noqa: E402
from mailcore.services.content import spool  # noqa: E402
from mailcore.services.mailboxes import notices  # noqa: E402
from mailcore.services.process.heavy_work import HeavyWork  # noqa: E402
from mailcore.smtp import connection as smtp_connection  # noqa: E402

_hoard: list[bytes] = []


def take_memory_for_what_is_announced() -> None:
    """The room for a literal is made before its size is looked at."""
    announce = scanner.Scanner._announce

    def hoarding(self: scanner.Scanner, match: re.Match[bytes], mark: int) -> scanner.Event | None:
        _hoard.append(b"x" * min(int(match[2]), 64 << 20))
        return announce(self, match, mark)

    scanner.Scanner._announce = hoarding  # type: ignore[method-assign]


def hold_bodies_whole() -> None:
    """Whatever comes is put together in memory."""
    spool.MEMORY_BYTES = 1 << 40  # type: ignore[misc]


def lose_patience() -> None:
    """A client that is silent for half a second is gone."""
    web.STALL_S = 0.5  # type: ignore[misc]


def nest_without_limit() -> None:
    """Search keys call themselves as deep as the client likes."""
    search.MAX_DEPTH = 10**9


def leave_without_a_word() -> None:
    """A process that is to end just hangs up."""
    connection.ImapConnection.drain = lambda _self: iter((CLOSE,))  # type: ignore[method-assign]
    smtp_connection.SmtpConnection.drain = lambda _self: (CLOSE,)  # type: ignore[method-assign]


def announce_expunge_anywhere() -> None:
    """Sequence numbers move while a client uses them."""
    for name in ("FETCH", "STORE", "SEARCH"):
        commands.COMMANDS[name] = replace(commands.COMMANDS[name], expunge=True)


def hear_nothing() -> None:
    """Notices and polls wake nobody."""
    notices.Notices._tell = lambda *_: None  # type: ignore[method-assign]


def poll_often() -> None:
    """Nobody wants to wait half a minute."""
    notices.Notices.__init__.__kwdefaults__.update(poll_s=0.5, poll_alone_s=0.5)


def never_poll() -> None:
    """What no notice told stays unknown."""
    notices.Notices._poll = lambda _: None  # type: ignore[method-assign]


def announce_unshifted_numbers() -> None:
    """Each EXPUNGE counts as if those before it had not been told."""
    original = selected.SelectedMailbox.announce

    def unshifted(self: selected.SelectedMailbox, **how: Any) -> bytes:
        told, gone = original(self, **how), itertools.count()
        return re.sub(rb"\* (\d+) EXPUNGE", lambda match: b"* %d EXPUNGE" % (int(match[1]) + next(gone)), told)

    selected.SelectedMailbox.announce = unshifted  # type: ignore[method-assign]


def forget_what_vanished() -> None:
    """Who comes back is not told what went meanwhile."""
    select.vanished = lambda *_: UidSet()  # type: ignore[assignment]


def tell_no_flags() -> None:
    """Flags that others changed are not told."""
    selected.format_flags = lambda *_, **__: b""  # type: ignore[attr-defined]


def look_after_no_session() -> None:
    """Whoever is in stays in."""
    Sessions.poll = Sessions.compare_all = lambda _self: None  # type: ignore[method-assign]


def tell_of_files() -> None:
    """Every path that is opened, made, renamed or removed goes to the log."""

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" or event.startswith(("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir")):
            os.write(2, json.dumps({"event": "file", "what": event, "path": str(arguments[0])}).encode() + b"\n")

    sys.addaudithook(audit)


def count_apart() -> None:
    """Each process counts failed logins under names of its own."""
    keys = failed_logins._keys
    failed_logins._keys = lambda *of: tuple(f"{key}:{os.getpid()}" for key in keys(*of))


def count_never_alone() -> None:
    """A process that has lost Redis lets everybody try."""
    failed_logins.LoneCounts.admit = lambda _self, _keys: (False, 0)  # type: ignore[method-assign]


def short_leases() -> None:
    """What a killed process held counts for two seconds more instead of thirty."""
    connections.LEASE_S, connections.BEAT_S = 2, 0.5  # type: ignore[misc]


def never_pause() -> None:
    """Who runs keeps the process until the work is done."""
    GeventOffload.pause = lambda _self: None  # type: ignore[method-assign]


def write_strings_as_they_are() -> None:
    """Whatever a header says stands between quotes in ENVELOPE and BODYSTRUCTURE."""
    for module in (envelope, body_structure):
        module.imap_string = lambda value: b'"' + value + b'"'  # type: ignore[attr-defined]
        module.imap_nstring = lambda value: b"NIL" if value is None else b'"' + value + b'"'  # type: ignore[attr-defined]


def take_no_turns() -> None:
    """Every session has a share of its own."""
    HeavyWork.turn = lambda _self, _user_id: nullcontext()  # type: ignore[method-assign,assignment]


ALTERATIONS: dict[str, Callable[[], None]] = {
    "literal-memory": take_memory_for_what_is_announced,
    "whole-bodies": hold_bodies_whole,
    "short-stalls": lose_patience,
    "search-depth": nest_without_limit,
    "no-bye": leave_without_a_word,
    "blind-sessions": look_after_no_session,
    "files": tell_of_files,
    "no-pause": never_pause,
    "no-turns": take_no_turns,
    "naive-strings": write_strings_as_they_are,
    "expunge-anywhere": announce_expunge_anywhere,
    "deaf": hear_nothing,
    "poll-often": poll_often,
    "no-poll": never_poll,
    "numbers-unshifted": announce_unshifted_numbers,
    "silent-flags": tell_no_flags,
    "count-apart": count_apart,
    "short-leases": short_leases,
    "count-never-alone": count_never_alone,
    "nothing-vanished": forget_what_vanished,
}
LAUNCH = ("-m", "tests.system.altered_server")

if __name__ == "__main__":
    ALTERATIONS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:], os.environ))
