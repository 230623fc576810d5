"""What is asked for of a user, looked at before anything is made or changed."""

from __future__ import annotations

from typing import Any, Final

from mailcore.api.call import Call
from mailcore.api.encryption import encryption_changes
from mailcore.api.user_fields import CreateUser, UserFields
from mailcore.errors import MailboxExists, MailboxNameInvalid
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import DEFAULT_MAILBOXES, SEPARATOR, SpecialUse, parse_mailbox_name
from mailcore.model.user_settings import UserSettings

NAMED: Final = {
    "sent": SpecialUse.SENT,
    "trash": SpecialUse.TRASH,
    "junk": SpecialUse.JUNK,
    "drafts": SpecialUse.DRAFTS,
}
SETTINGS: Final = ("language", "mta_relay", "spam_level", "meta_data", "internal_data")


def check_new(call: Call, given: CreateUser) -> None:
    """Look at all that is set after the user is made, so that no request is refused with half of one made.

    Raises:
        ValueInvalid, HashUnsuitable, MailboxNameInvalid, MailboxExists: something cannot be set so.
    """
    UserSettings().changed(settings_of(given))
    call.services.encryptions.check(encryption_changes(given))
    if given.password and given.hashed_password:
        call.services.users.check_password_hash(given.password)
    if given.mailboxes is None:
        return
    names = {use: MailboxName(name) for name, use in DEFAULT_MAILBOXES}
    for name, use in NAMED.items():
        text = getattr(given.mailboxes, name)
        wanted = names[use] if text is None else parse_mailbox_name(text)
        if wanted.startswith(names[use] + SEPARATOR):
            raise MailboxNameInvalid("below itself", wanted)
        if wanted != names[use] and wanted in names.values():
            raise MailboxExists(wanted)
        names[use] = wanted


def settings_of(given: UserFields) -> dict[str, Any]:
    """Return what is given of a user's settings, by their names."""
    changes: dict[str, Any] = {name: getattr(given, name) for name in SETTINGS if getattr(given, name) is not None}
    for name, values in (("targets", given.targets), ("tags", given.tags), ("from_whitelist", given.from_whitelist)):
        if values is not None:
            changes[name] = tuple(values)
    if given.upload_sent_messages is not None:
        changes["uploads_sent"] = given.upload_sent_messages
    if given.undo_send is not None:
        changes["undo_s"] = given.undo_send
    if given.require2fa_enabled is not None:
        changes["requires_2fa"] = given.require2fa_enabled
    if given.retention is not None:
        changes["expires_after_s"] = given.retention // 1000
    return changes
