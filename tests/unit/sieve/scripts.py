"""Scripts run over small messages, and what became of them as short texts."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mailcore.sieve import (
    Action,
    Discard,
    Environment,
    FileInto,
    Keep,
    MarkDuplicate,
    MarkSpam,
    MessageView,
    Outcome,
    Redirect,
    Reject,
    Reply,
    Transaction,
    Vacation,
    compile_script,
)

NOW = dt.datetime(2026, 3, 14, 15, 9, 26, tzinfo=dt.timezone(dt.timedelta(hours=1)))


def message(*fields: str, body: str = "Hello.\n") -> MessageView:
    """A message with these header fields and nothing else in its header."""
    return MessageView("".join(f"{field}\n" for field in [*fields, "", body]).replace("\n", "\r\n").encode())


PLAIN = message("From: bob@example.net", "To: alice@example.org", "Subject: Hello")


def run(
    script: str,
    view: MessageView = PLAIN,
    *,
    reverse_path: str = "bob@example.net",
    forward_path: str = "alice@example.org",
    **environment: Any,
) -> Outcome:
    """What becomes of a message."""
    transaction = Transaction(reverse_path, forward_path)
    return compile_script(script).run(view, transaction, Environment(**{"now": NOW, **environment}))


def told(script: str, view: MessageView = PLAIN, **circumstances: Any) -> list[str]:
    """The same in words; the implicit keep is "implicit keep"."""
    outcome = run(script, view, **circumstances)
    assert outcome.error is None, outcome.error
    words = list(map(_in_words, outcome.actions))
    if outcome.implicit_keep:
        assert words[-1].startswith("keep")
        words[-1] = f"implicit {words[-1]}"
    return words


def failure(script: str, view: MessageView = PLAIN, **circumstances: Any) -> str:
    """Why a script was ended; the message was kept then, and nothing else was done."""
    outcome = run(script, view, **circumstances)
    assert outcome.error is not None
    assert outcome.actions == (Keep(),)
    assert outcome.implicit_keep
    return outcome.error


def holds(test: str, view: MessageView = PLAIN, *, require: str = "", **circumstances: Any) -> bool:
    """Whether a test holds; `require` names extensions, apart by blanks."""
    names = ", ".join(f'"{name}"' for name in ["fileinto", *require.split()])
    words = told(f'require [{names}]; if {test} {{ fileinto "yes"; }} else {{ fileinto "no"; }}', view, **circumstances)
    assert words in (["fileinto yes"], ["fileinto no"])
    return words == ["fileinto yes"]


def _in_words(action: Action) -> str:
    match action:
        case Keep():
            return "keep" + _flags(action)
        case FileInto():
            extras = "".join(f" :{name}" for name in ("copy", "create") if getattr(action, name))
            if action.mailbox_id:
                extras += f" :mailboxid {action.mailbox_id}"
            if action.special_use:
                extras += f" :specialuse {action.special_use}"
            return f"fileinto {action.mailbox}{extras}{_flags(action)}"
        case Redirect():
            return f"redirect {action.address}" + " :copy" * action.copy
        case Discard():
            return "discard"
        case Reject():
            return f"{'ereject' if action.extended else 'reject'} {action.reason}"
        case Vacation():
            return f"vacation {action.reason}"
        case Reply():
            return f"reply {action.text}"
        case MarkSpam():
            return "spam" if action.is_spam else "ham"
        case MarkDuplicate():
            return f"remember {action.seconds}"


def _flags(action: Keep | FileInto) -> str:
    names = [
        name
        for bit, name in ((1, "\\Seen"), (2, "\\Answered"), (4, "\\Flagged"), (8, "\\Deleted"), (16, "\\Draft"))
        if action.flags.system & bit
    ] + list(action.flags.keywords)
    return f" [{' '.join(names)}]" if names else ""
