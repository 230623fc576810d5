"""`fileinto` (RFC 5228 §4.1)."""

from __future__ import annotations

from mailcore.errors import MailboxNameInvalid
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import parse_mailbox_name
from mailcore.sieve.actions import FileInto
from mailcore.sieve.call import Call, prepared
from mailcore.sieve.forms import Extension, Form, Kind, Step
from mailcore.sieve.run import Run


def _fileinto(call: Call) -> Step:
    """Put it into a mailbox; cancels the implicit keep, but for `:copy`."""
    mailbox = prepared(call, (call.text(0),), check_mailbox)
    change = call.change()

    def fileinto(run: Run) -> None:
        action = FileInto(mailbox=mailbox(run)[0], flags=run.current_flags(), header=run.edited)
        changed = action if change is None else change(run, action)
        assert isinstance(changed, FileInto)
        run.implicit_keep &= changed.copy
        run.do(changed)

    return fileinto


def check_mailbox(text: str) -> MailboxName:
    """The one form of a mailbox's name.

    Raises:
        ValueError: no mailbox can be called so, with a sentence about it.
    """
    try:
        return parse_mailbox_name(text)
    except (MailboxNameInvalid, UnicodeEncodeError) as error:
        raise ValueError(f'No mailbox can have the name "{text[:100]}".') from error


EXTENSION = Extension("fileinto", forms=(Form("fileinto", _fileinto, (Kind.STRING,)),))
