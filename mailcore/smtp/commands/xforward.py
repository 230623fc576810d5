"""XFORWARD: what a trusted peer says of the client it serves (Postfix, XFORWARD_README)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session
from mailcore.smtp.wire.parameters import decode_xtext, parse_parameters

ATTRIBUTES = frozenset({"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"})
_UNKNOWN = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
_LONGEST_VALUE = 255


def handle_xforward(session: Session, argument: bytes) -> Outcome:
    """Read `1*(SP attribute-name "=" xtext)`; it holds for the next transaction, several add up."""
    if not session.policy.may_forward(session.peer, session.tls):
        return replies.NOT_TRUSTED
    if session.transaction is not None:
        return replies.BAD_SEQUENCE
    parameters = parse_parameters(argument.decode("utf-8", "surrogateescape"))
    if not parameters:
        return replies.BAD_ARGUMENT
    forwarded = dict(session.forwarded or {})
    for name, value in parameters.items():
        if name not in ATTRIBUTES or value is None:
            return replies.BAD_ARGUMENT
        decoded = decode_xtext(value)
        if len(decoded) > _LONGEST_VALUE or not decoded.isprintable():
            return replies.BAD_ARGUMENT
        if decoded.upper() in _UNKNOWN:
            forwarded.pop(name, None)
        else:
            forwarded[name] = decoded
    session.forwarded = forwarded
    return replies.OK
