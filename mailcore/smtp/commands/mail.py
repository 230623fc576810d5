"""MAIL: begin a transaction (RFC 5321 §4.1.1.2; SIZE: RFC 1870, BODY: RFC 6152, SMTPUTF8: RFC 6531)."""

from __future__ import annotations

from mailcore.errors import SyntaxFault
from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session
from mailcore.smtp.transaction import Transaction
from mailcore.smtp.wire.parameters import parse_parameters, parse_size
from mailcore.smtp.wire.path import parse_reverse_path


def handle_mail(session: Session, argument: bytes) -> Outcome:
    """Read `"FROM:" Reverse-path [SP Mail-parameters]`; makes no round trip."""
    if not session.hello_name:
        return replies.SAY_HELLO_FIRST
    if session.transaction is not None:
        return replies.BAD_SEQUENCE
    refusal = session.policy.may_transact(session.peer, session.tls)
    if refusal is not None:
        return refusal
    text = argument.decode("utf-8", "surrogateescape")
    if text[:5].upper() != "FROM:":
        return replies.BAD_ARGUMENT
    reverse_path, rest = parse_reverse_path(text[5:])
    parameters = parse_parameters(rest)
    transaction: Transaction[object] = Transaction(reverse_path)
    for keyword, value in parameters.items():
        if keyword == "SIZE":
            transaction.declared_size = parse_size(value)
        elif keyword == "BODY":
            if (value or "").upper() not in {"7BIT", "8BITMIME"}:
                return replies.BAD_ARGUMENT
        elif keyword == "SMTPUTF8":
            if value is not None:
                raise SyntaxFault("SMTPUTF8 takes no value")
            transaction.is_utf8 = True
        else:
            return replies.UNKNOWN_PARAMETER
    if reverse_path is not None and not reverse_path.is_ascii and not transaction.is_utf8:
        return replies.NOT_ASCII
    if transaction.declared_size is not None and transaction.declared_size > session.policy.message_bytes:
        return replies.MESSAGE_TOO_LARGE
    session.policy.sender(transaction, session.origin())
    session.transaction = transaction
    return replies.SENDER_OK
