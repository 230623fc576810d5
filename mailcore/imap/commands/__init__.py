"""Every IMAP command: THE table. A new one is a file here and a row below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mailcore.imap.commands.acl import (
    handle_deleteacl,
    handle_getacl,
    handle_listrights,
    handle_myrights,
    handle_setacl,
    parse_identifier,
    parse_setacl,
)  # fmt: skip
from mailcore.imap.commands.append import handle_append, parse_append
from mailcore.imap.commands.authenticate import handle_authenticate, parse_authenticate
from mailcore.imap.commands.capability import handle_capability
from mailcore.imap.commands.compress import handle_compress, parse_compress
from mailcore.imap.commands.copy import handle_copy, handle_move, parse_copy, parse_uid_copy
from mailcore.imap.commands.create import handle_create, parse_create
from mailcore.imap.commands.delete import handle_delete, parse_delete
from mailcore.imap.commands.enable import handle_enable, parse_enable
from mailcore.imap.commands.expunge import handle_expunge, handle_uid_expunge, parse_uid_expunge
from mailcore.imap.commands.fetch import handle_fetch, parse_fetch, parse_uid_fetch
from mailcore.imap.commands.id import handle_id, parse_id
from mailcore.imap.commands.idle import handle_idle
from mailcore.imap.commands.list import handle_list, handle_lsub, parse_list, parse_lsub
from mailcore.imap.commands.login import handle_login, parse_login, refuse_in_clear
from mailcore.imap.commands.logout import handle_logout
from mailcore.imap.commands.metadata import (
    handle_getmetadata,
    handle_setmetadata,
    parse_getmetadata,
    parse_setmetadata,
)  # fmt: skip
from mailcore.imap.commands.namespace import handle_namespace
from mailcore.imap.commands.noop import handle_noop
from mailcore.imap.commands.notify import handle_notify
from mailcore.imap.commands.quota import (
    handle_getquota,
    handle_getquotaroot,
    handle_setquota,
    parse_quota_root,
    parse_setquota,
)  # fmt: skip
from mailcore.imap.commands.rename import handle_rename, parse_rename
from mailcore.imap.commands.replace import handle_replace, parse_replace, parse_uid_replace
from mailcore.imap.commands.search import handle_search, parse_search, parse_uid_search
from mailcore.imap.commands.select import handle_examine, handle_select, parse_mailbox, parse_select
from mailcore.imap.commands.sort import handle_sort, parse_sort, parse_uid_sort
from mailcore.imap.commands.starttls import handle_starttls
from mailcore.imap.commands.status import handle_status, parse_status
from mailcore.imap.commands.store import handle_store, parse_store, parse_uid_store
from mailcore.imap.commands.subscribe import handle_subscribe, handle_unsubscribe
from mailcore.imap.commands.thread import handle_thread, parse_thread, parse_uid_thread
from mailcore.imap.commands.unselect import handle_close, handle_unselect
from mailcore.imap.session import ANY_STATE, SIGNED_IN, Replies, Session, State
from mailcore.imap.traffic import refuse_upload
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.event_groups import read_notify
from mailcore.imap.wire.responses import Completion

Args = TypeVar("Args")
Outcome = Replies | Completion


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command.

    Attributes:
        prepare: parses the arguments and returns what carries the command out.
        expunge: whether EXPUNGE may be told at its end (RFC 9051 §7.5.1: not by FETCH, STORE, SEARCH).
        refuse: returns why the command is not to be had now; asked before its arguments are read.
    """

    name: str
    states: State
    prepare: Callable[[Cursor], Callable[[Session], Outcome]]
    expunge: bool
    refuse: Callable[[Session], Completion | None] | None


def _row(
    name: str,
    states: State,
    parse: Callable[[Cursor], Args],
    handle: Callable[[Session, Args], Outcome],
    *,
    expunge: bool = True,
    refuse: Callable[[Session], Completion | None] | None = None,
) -> CommandRow:
    def prepare(cursor: Cursor) -> Callable[[Session], Outcome]:
        args = parse(cursor)
        return lambda session: handle(session, args)

    return CommandRow(name, states, prepare, expunge, refuse)


_ROWS = (
    _row("CAPABILITY", ANY_STATE, Cursor.end, handle_capability),
    _row("NOOP", ANY_STATE, Cursor.end, handle_noop),
    _row("LOGOUT", ANY_STATE, Cursor.end, handle_logout),
    _row("ID", ANY_STATE, parse_id, handle_id),
    _row("STARTTLS", State.NOT_AUTHENTICATED, Cursor.end, handle_starttls),
    _row("LOGIN", State.NOT_AUTHENTICATED, parse_login, handle_login, refuse=refuse_in_clear),
    _row("AUTHENTICATE", State.NOT_AUTHENTICATED, parse_authenticate, handle_authenticate, refuse=refuse_in_clear),
    _row("ENABLE", SIGNED_IN, parse_enable, handle_enable),
    _row("COMPRESS", SIGNED_IN, parse_compress, handle_compress),
    _row("NAMESPACE", SIGNED_IN, Cursor.end, handle_namespace),
    _row("LIST", SIGNED_IN, parse_list, handle_list),
    _row("LSUB", SIGNED_IN, parse_lsub, handle_lsub),
    _row("SUBSCRIBE", SIGNED_IN, parse_mailbox, handle_subscribe),
    _row("UNSUBSCRIBE", SIGNED_IN, parse_mailbox, handle_unsubscribe),
    _row("CREATE", SIGNED_IN, parse_create, handle_create),
    _row("DELETE", SIGNED_IN, parse_delete, handle_delete),
    _row("RENAME", SIGNED_IN, parse_rename, handle_rename),
    _row("STATUS", SIGNED_IN, parse_status, handle_status),
    _row("GETQUOTA", SIGNED_IN, parse_quota_root, handle_getquota),
    _row("GETQUOTAROOT", SIGNED_IN, parse_mailbox, handle_getquotaroot),
    _row("SETQUOTA", SIGNED_IN, parse_setquota, handle_setquota),
    _row("GETMETADATA", SIGNED_IN, parse_getmetadata, handle_getmetadata),
    _row("SETMETADATA", SIGNED_IN, parse_setmetadata, handle_setmetadata),
    _row("SETACL", SIGNED_IN, parse_setacl, handle_setacl),
    _row("DELETEACL", SIGNED_IN, parse_identifier, handle_deleteacl),
    _row("GETACL", SIGNED_IN, parse_mailbox, handle_getacl),
    _row("LISTRIGHTS", SIGNED_IN, parse_identifier, handle_listrights),
    _row("MYRIGHTS", SIGNED_IN, parse_mailbox, handle_myrights),
    _row("SELECT", SIGNED_IN, parse_select, handle_select),
    _row("EXAMINE", SIGNED_IN, parse_select, handle_examine),
    _row("APPEND", SIGNED_IN, parse_append, handle_append, refuse=refuse_upload),
    _row("IDLE", SIGNED_IN, Cursor.end, handle_idle),
    _row("NOTIFY", SIGNED_IN, read_notify, handle_notify),
    _row("CHECK", State.SELECTED, Cursor.end, handle_noop),
    _row("CLOSE", State.SELECTED, Cursor.end, handle_close),
    _row("UNSELECT", State.SELECTED, Cursor.end, handle_unselect),
    _row("EXPUNGE", State.SELECTED, Cursor.end, handle_expunge),
    _row("UID EXPUNGE", State.SELECTED, parse_uid_expunge, handle_uid_expunge),
    _row("FETCH", State.SELECTED, parse_fetch, handle_fetch, expunge=False),
    _row("UID FETCH", State.SELECTED, parse_uid_fetch, handle_fetch),
    _row("STORE", State.SELECTED, parse_store, handle_store, expunge=False),
    _row("UID STORE", State.SELECTED, parse_uid_store, handle_store),
    _row("SEARCH", State.SELECTED, parse_search, handle_search, expunge=False),
    _row("UID SEARCH", State.SELECTED, parse_uid_search, handle_search),
    _row("SORT", State.SELECTED, parse_sort, handle_sort, expunge=False),
    _row("UID SORT", State.SELECTED, parse_uid_sort, handle_sort),
    _row("THREAD", State.SELECTED, parse_thread, handle_thread, expunge=False),
    _row("UID THREAD", State.SELECTED, parse_uid_thread, handle_thread),
    _row("REPLACE", State.SELECTED, parse_replace, handle_replace, refuse=refuse_upload),
    _row("UID REPLACE", State.SELECTED, parse_uid_replace, handle_replace, refuse=refuse_upload),
    _row("COPY", State.SELECTED, parse_copy, handle_copy),
    _row("UID COPY", State.SELECTED, parse_uid_copy, handle_copy),
    _row("MOVE", State.SELECTED, parse_copy, handle_move),
    _row("UID MOVE", State.SELECTED, parse_uid_copy, handle_move),
)

COMMANDS: dict[str, CommandRow] = {row.name: row for row in _ROWS}
