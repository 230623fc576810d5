"""LHLO, EHLO and HELO: introduce oneself, hear what is offered (RFC 5321 §4.1.1.1, RFC 2033 §4.1)."""

from __future__ import annotations

import re

from mailcore.sasl import MECHANISMS
from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session
from mailcore.smtp.wire.replies import Reply

_NAME = re.compile(r"[^\x00-,/:-@\[-^`{-\x7f]{1,255}|\[[A-Za-z0-9.:\-]{1,64}\]")


def handle_hello(session: Session, argument: bytes) -> Outcome:
    """Answer with the extensions; whatever transaction was open is over (RFC 5321 §4.1.4)."""
    refusal = _introduce(session, argument)
    return refusal or Reply(250, "", (session.policy.hostname, *_extensions(session)))


def handle_helo(session: Session, argument: bytes) -> Outcome:
    """Answer with the name alone: who says HELO knows no extensions."""
    return _introduce(session, argument) or Reply(250, "", (session.policy.hostname,))


def _introduce(session: Session, argument: bytes) -> Reply | None:
    """Take note of the name, or return why not."""
    name = argument.decode("utf-8", "replace").partition(" ")[0]
    if _NAME.fullmatch(name) is None or not name.isprintable() or "\ufffd" in name:
        return replies.BAD_NAME
    session.hello_name = name
    session.reset()
    return None


def _extensions(session: Session) -> list[str]:
    extensions = [
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        f"SIZE {session.policy.message_bytes}",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        *session.policy.extensions,
    ]
    if session.offers_tls:
        extensions.append("STARTTLS")
    if session.door is not None and session.door.may_sign_in:
        extensions.append("AUTH " + " ".join(MECHANISMS))
    if session.policy.may_forward(session.peer, session.tls):
        extensions.append("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
    return extensions
