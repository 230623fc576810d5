"""Mailboxes by their id (RFC 9042)."""

from __future__ import annotations

from dataclasses import replace

from mailcore.sieve.actions import FileInto
from mailcore.sieve.call import Call, text_value
from mailcore.sieve.forms import Change, Extension, Form, Kind, Modifier, Stored, Test
from mailcore.sieve.run import Run, Text


def _mailboxidexists(call: Call) -> Test:
    """Whether mail can be delivered to each of the mailboxes (RFC 9042 §5)."""
    ids = call.texts(0)
    return lambda run: all(run.look_up().has_mailbox_id(text_value(each, run)) for each in ids)


def _mailboxid(call: Call, ids: tuple[Text, ...]) -> Change:
    """`:mailboxid`: this one if it is there, else the one of that name (RFC 9042 §4)."""
    if call.has("specialuse"):
        raise call.flaw('":mailboxid" and ":specialuse" exclude each other: keep one.')
    (mailbox_id,) = ids

    def change(run: Run, action: Stored) -> Stored:
        return replace(action, mailbox_id=text_value(mailbox_id, run)) if isinstance(action, FileInto) else action

    return change


EXTENSION = Extension(
    "mailboxid",
    forms=(Form("mailboxidexists", _mailboxidexists, (Kind.STRINGS,), is_test=True),),
    tags={"fileinto": (Modifier("mailboxid", Kind.STRING, prepare=_mailboxid),)},
)
