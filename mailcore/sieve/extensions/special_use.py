r"""Mailboxes by what they are for, such as "\\Archive" (RFC 8579)."""

from __future__ import annotations

import re
from dataclasses import replace

from mailcore.model.mailbox import SpecialUse
from mailcore.sieve.actions import FileInto
from mailcore.sieve.call import Call, prepared, text_value
from mailcore.sieve.extensions.fileinto import check_mailbox
from mailcore.sieve.forms import Change, Extension, Form, Kind, Modifier, Stored, Test
from mailcore.sieve.run import Run, Text

_USES = {use.value.lower(): use.value for use in SpecialUse}
_USE = re.compile(r"\\[A-Za-z0-9-]{1,40}")


def _check_use(text: str) -> str:
    """A special use as we write it; one that we do not know as it is.

    Raises:
        ValueError: it is none.
    """
    if not _USE.fullmatch(text):
        raise ValueError(f'"{text[:100]}" is no special use: write it like "\\\\Archive".')
    return _USES.get(text.lower(), text)


def _specialuse_exists(call: Call) -> Test:
    """Whether the mailbox, or any, has all these uses (RFC 8579 §3.1)."""
    uses = prepared(call, call.texts(1), _check_use)
    mailbox = call.texts(0)

    def exists(run: Run) -> bool:
        name = None
        if mailbox:
            try:
                name = check_mailbox(text_value(mailbox[0], run))
            except ValueError:
                return False
        return all(run.look_up().has_special_use(use, name) for use in uses(run))

    return exists


def _specialuse(call: Call, uses: tuple[Text, ...]) -> Change:
    """`:specialuse`: the mailbox for that if there is one, else the one of that name (RFC 8579 §4)."""
    use = prepared(call, uses, _check_use)

    def change(run: Run, action: Stored) -> Stored:
        return replace(action, special_use=use(run)[0]) if isinstance(action, FileInto) else action

    return change


EXTENSION = Extension(
    "special-use",
    forms=(Form("specialuse_exists", _specialuse_exists, (Kind.STRING, Kind.STRINGS), optional=0, is_test=True),),
    tags={"fileinto": (Modifier("specialuse", Kind.STRING, prepare=_specialuse),)},
)
