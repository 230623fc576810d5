"""Mailboxes of a user."""

from __future__ import annotations

from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import Field, StringConstraints

from mailcore.api.call import Call
from mailcore.api.fields import Fields, Flag, Input, Nothing, Output
from mailcore.api.operation import Operation, Permission
from mailcore.errors import MailboxNotFound
from mailcore.model.ids import MailboxId
from mailcore.model.mailbox import MailboxEntry, MailboxStatus, MailboxTree, parse_mailbox_name
from mailcore.model.roles import Action, Resource

MOST_RETENTION_MS: Final = 100 * 366 * 24 * 3600 * 1000
RESOLVE: Final = "resolve"
"""In place of an id: the mailbox is named by its path."""
MailboxPath = Annotated[str, StringConstraints(min_length=1, max_length=65_663)]


Retention = Annotated[int, Field(ge=0, le=MOST_RETENTION_MS)]
"""Milliseconds that messages stay; 0: for ever."""


class ListMailboxes(Input):
    """What to list, and how much of it."""

    special_use: Flag = False
    show_hidden: Flag = False
    counters: Flag = False
    sizes: Flag = False


class GetMailbox(Input):
    """`path` names it where the id is `resolve`."""

    path: MailboxPath | None = None


class CreateMailbox(Input):
    """A new mailbox."""

    path: MailboxPath
    hidden: Flag = False
    retention: Retention | None = None
    encrypt_messages: Flag = False


class UpdateMailbox(Input):
    """What is to change; a new path takes what is below the mailbox along."""

    path: MailboxPath | None = None
    subscribed: Flag | None = None
    hidden: Flag | None = None
    retention: Retention | None = None
    encrypt_messages: Flag | None = None


class MailboxItem(Fields):
    """One mailbox of a list."""

    id: str
    name: str
    path: str
    special_use: str | None
    modify_index: int
    subscribed: bool
    hidden: bool
    encrypt_messages: bool
    retention: int | None = None
    total: int | None = None
    unseen: int | None = None
    size: int | None = None


class MailboxAnswer(MailboxItem, Output):
    """One mailbox."""


class MailboxList(Output):
    """All mailboxes, INBOX first."""

    results: list[MailboxItem]


class NewId(Output):
    """The id of what was made."""

    id: str


def list_mailboxes(call: Call, given: ListMailboxes) -> dict[str, Any]:
    """Return the user's mailboxes; one round trip, and one for all counters."""
    tree = call.services.mailboxes.tree(call.owner)
    entries = [
        entry
        for entry in tree
        if (entry.special_use is not None or not given.special_use) and (given.show_hidden or not entry.hidden)
    ]
    found = call.services.mailboxes.status(call.owner, [entry.id for entry in entries]) if entries else {}
    return {"results": [_item(entry, found[entry.id], counters=given.counters, size=given.sizes) for entry in entries]}


def get_mailbox(call: Call, given: GetMailbox) -> dict[str, Any]:
    """Return one mailbox with its counters; two round trips."""
    if call.path["mailbox"] == RESOLVE:
        entry = call.services.mailboxes.find(call.owner, given.path or "INBOX")
    else:
        entry = find_mailbox(call, call.path["mailbox"], call.services.mailboxes.tree(call.owner))
    state = call.services.mailboxes.status(call.owner, [entry.id])[entry.id]
    return _item(entry, state, counters=True, size=True)


def create_mailbox(call: Call, given: CreateMailbox) -> dict[str, Any]:
    """Make a mailbox."""
    made = call.services.mailboxes.create(
        call.owner,
        call.on_behalf(),
        given.path,
        subscribed=True,
        hidden=given.hidden,
        retention_ms=given.retention or 0,
        encrypts=given.encrypt_messages,
    )
    return {"id": str(made)}


def update_mailbox(call: Call, given: UpdateMailbox) -> dict[str, Any]:
    """Subscribe to it, hide it, say how long it keeps messages, rename it: all that was asked for, or nothing.

    Under its present name it is changed first: INBOX stays where its messages move to another.
    """
    entry = find_mailbox(call, call.path["mailbox"], call.services.mailboxes.tree(call.owner))
    name = entry.name
    actor = call.on_behalf()
    mailboxes = call.services.mailboxes
    with call.together() as change:
        if given.subscribed is not None and given.subscribed != entry.subscribed:
            change(mailboxes.subscribe if given.subscribed else mailboxes.unsubscribe, call.owner, actor, name)
        options = (given.hidden, given.retention, given.encrypt_messages)
        if any(value not in {None, now} for value, now in zip(options, _options(entry), strict=True)):
            change(
                mailboxes.set_options,
                call.owner,
                actor,
                name,
                hidden=given.hidden,
                retention_ms=given.retention,
                encrypts=given.encrypt_messages,
            )
        if given.path is not None and parse_mailbox_name(given.path) != name:
            change(mailboxes.rename, call.owner, actor, name, given.path)
    return {}


def _options(entry: MailboxEntry) -> tuple[bool, int, bool]:
    return entry.hidden, entry.retention_ms, entry.encrypts


def delete_mailbox(call: Call, _: Nothing) -> dict[str, Any]:
    """Remove it; its messages can be restored for a while."""
    entry = find_mailbox(call, call.path["mailbox"], call.services.mailboxes.tree(call.owner))
    call.services.mailboxes.delete(call.owner, call.on_behalf(), entry.name)
    return {}


def find_mailbox(call: Call, text: str, tree: MailboxTree | None = None) -> MailboxEntry:
    """Return the user's mailbox of an id; no round trip if this process knows it, else one.

    One that was deleted meanwhile is still found: who opens it is told.

    Raises:
        MailboxNotFound: the user has none such.
    """
    if not ObjectId.is_valid(text):
        raise MailboxNotFound(text)
    mailbox_id = MailboxId(ObjectId(text))
    entry = (tree or call.services.mailboxes.tree_cached(call.owner)).find_id(mailbox_id)
    if entry is None and tree is None:
        entry = call.services.mailboxes.tree(call.owner).find_id(mailbox_id)
    if entry is None:
        raise MailboxNotFound(text)
    return entry


def _item(entry: MailboxEntry, state: MailboxStatus, *, counters: bool, size: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(entry.id),
        "name": entry.name.rpartition("/")[2],
        "path": entry.name,
        "specialUse": entry.special_use.value if entry.special_use is not None else None,
        "modifyIndex": state.highest_modseq,
        "subscribed": entry.subscribed,
        "hidden": entry.hidden,
        "encryptMessages": entry.encrypts,
    }
    if entry.retention_ms:
        found["retention"] = entry.retention_ms
    if counters:
        found |= {"total": state.exists, "unseen": state.unseen}
    if size:
        found["size"] = state.size_bytes
    return found


_READ: Final = Permission(Resource.MAILBOXES, Action.READ)
_PATH: Final = "/users/{user}/mailboxes"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listMailboxes", "List mailboxes", _READ,
        ListMailboxes, MailboxList, list_mailboxes, is_list=True,
    ),
    Operation(
        "POST", _PATH, "createMailbox", "Create a mailbox", Permission(Resource.MAILBOXES, Action.CREATE),
        CreateMailbox, NewId, create_mailbox,
    ),
    Operation(
        "GET", f"{_PATH}/{{mailbox}}", "getMailbox", "Get a mailbox", _READ, GetMailbox, MailboxAnswer, get_mailbox,
    ),
    Operation(
        "PUT", f"{_PATH}/{{mailbox}}", "updateMailbox", "Change a mailbox",
        Permission(Resource.MAILBOXES, Action.UPDATE), UpdateMailbox, Output, update_mailbox,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{mailbox}}", "deleteMailbox", "Delete a mailbox",
        Permission(Resource.MAILBOXES, Action.DELETE), Nothing, Output, delete_mailbox,
    ),
)  # fmt: skip
