"""What holds of every script and every message."""

from __future__ import annotations

from mailcore.errors import ScriptInvalid
from mailcore.model.limits import SieveLimits
from mailcore.sieve import (
    Discard,
    Environment,
    FileInto,
    Keep,
    MessageView,
    Outcome,
    Redirect,
    Reject,
    Script,
    Transaction,
    compile_script,
)
from tests.unit.sieve.scripts import NOW

LIMITS = SieveLimits()


def check_script(source: bytes | str) -> Script | None:
    """It compiles, or is refused with a place in it and a sentence."""
    try:
        return compile_script(source)
    except ScriptInvalid as error:
        invalid = error
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    lines = text.split("\n")
    assert 1 <= invalid.line <= len(lines), invalid
    assert 1 <= invalid.column <= len(lines[invalid.line - 1]) + 1, invalid
    assert not invalid.what[0].islower(), invalid.what
    assert invalid.what.rstrip('"').endswith((".", "?", ";")), invalid.what
    return None


def check_run(script: Script, view: MessageView) -> Outcome:
    """Whatever is in script and message, there is an outcome within the limits."""
    outcome = script.run(
        view, Transaction("bob@example.net", "alice@example.org"), Environment(now=NOW, spam_score=1.0)
    )
    actions = outcome.actions
    if outcome.error is not None:
        assert actions == (Keep(),)
        assert outcome.implicit_keep
        return outcome
    assert outcome.steps <= LIMITS.steps
    assert len(actions) <= LIMITS.actions + 1
    assert sum(isinstance(action, Redirect) for action in actions) <= LIMITS.redirects
    assert any(isinstance(action, Keep | FileInto | Redirect | Reject | Discard) for action in actions), "lost"
    for action in actions:
        if isinstance(action, Keep | FileInto | Redirect) and action.header is not None:
            assert len(action.header) <= view.body_start + LIMITS.header_edits * 4 * LIMITS.text_characters
        if isinstance(action, Keep | FileInto):
            assert len(action.flags.keywords) <= LIMITS.flags
    return outcome
