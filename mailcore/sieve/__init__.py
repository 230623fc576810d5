"""Sieve (RFC 5228): grammar, validator and interpreter; no I/O. One engine for users' scripts and compiled rules.

`compile_script(text)` or `compile_commands(tree)` once, then for each message and recipient
`script.run(MessageView(raw), Transaction(reverse_path, forward_path), Environment(now=now))`.
"""

from __future__ import annotations

from mailcore.sieve.actions import (
    Action,
    Discard,
    FileInto,
    Keep,
    MarkDuplicate,
    MarkSpam,
    Outcome,
    Redirect,
    Reject,
    Reply,
    Vacation,
)
from mailcore.sieve.environment import Environment, Transaction
from mailcore.sieve.extensions import EXTENSIONS
from mailcore.sieve.message_view import MessageView
from mailcore.sieve.meter import Meter
from mailcore.sieve.script import Script, compile_commands, compile_script, redirects_of
from mailcore.sieve.syntax import Command, Tag

__all__ = [
    "EXTENSIONS",
    "Action",
    "Command",
    "Discard",
    "Environment",
    "FileInto",
    "Keep",
    "MarkDuplicate",
    "MarkSpam",
    "MessageView",
    "Meter",
    "Outcome",
    "Redirect",
    "Reject",
    "Reply",
    "Script",
    "Tag",
    "Transaction",
    "Vacation",
    "compile_commands",
    "compile_script",
    "redirects_of",
]
