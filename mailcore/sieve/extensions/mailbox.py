"""`mailboxexists` and `:create` (RFC 5490 §3)."""

from __future__ import annotations

from dataclasses import replace

from mailcore.sieve.actions import FileInto
from mailcore.sieve.call import Call, text_value
from mailcore.sieve.extensions.fileinto import check_mailbox
from mailcore.sieve.forms import Change, Extension, Form, Kind, Modifier, Stored, Test
from mailcore.sieve.run import Run, Text


def _mailboxexists(call: Call) -> Test:
    """Whether mail can be delivered to each of the mailboxes."""
    names = call.texts(0)

    def exists(run: Run, name: str) -> bool:
        try:
            mailbox = check_mailbox(name)
        except ValueError:
            return False
        return run.look_up().has_mailbox(mailbox)

    return lambda run: all(exists(run, text_value(name, run)) for name in names)


def _create(_: Call, _values: tuple[Text, ...]) -> Change:
    def change(_: Run, action: Stored) -> Stored:
        return replace(action, create=True) if isinstance(action, FileInto) else action

    return change


EXTENSION = Extension(
    "mailbox",
    forms=(Form("mailboxexists", _mailboxexists, (Kind.STRINGS,), is_test=True),),
    tags={"fileinto": (Modifier("create", prepare=_create),)},
)
