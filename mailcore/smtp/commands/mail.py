"""MAIL: begin a transaction (RFC 5321 §4.1.1.2).

SIZE: RFC 1870, BODY: RFC 6152, SMTPUTF8: RFC 6531; and where the policy offers them RET and ENVID: RFC 3461,
HOLDFOR and HOLDUNTIL: RFC 4865, AUTH: RFC 4954 §5.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mailcore.errors import SyntaxFault
from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session
from mailcore.smtp.transaction import Transaction
from mailcore.smtp.wire import dsn, future_release
from mailcore.smtp.wire.parameters import decode_xtext, parse_parameters, parse_size
from mailcore.smtp.wire.path import parse_reverse_path
from mailcore.smtp.wire.replies import Reply


def handle_mail(session: Session, argument: bytes) -> Outcome:
    """Read `"FROM:" Reverse-path [SP Mail-parameters]`; makes no round trip unless the policy does."""
    if not session.hello_name:
        return replies.SAY_HELLO_FIRST
    if session.transaction is not None:
        return replies.BAD_SEQUENCE
    if session.door is not None and session.door.identity is None:
        return replies.SIGN_IN_FIRST
    refusal = session.policy.may_transact(session.peer, session.tls)
    if refusal is not None:
        return refusal
    text = argument.decode("utf-8", "surrogateescape")
    if text[:5].upper() != "FROM:":
        return replies.BAD_ARGUMENT
    reverse_path, rest = parse_reverse_path(text[5:])
    transaction: Transaction[object] = Transaction(reverse_path)
    known = _known(session)
    for keyword, value in parse_parameters(rest).items():
        if keyword not in known:
            return replies.UNKNOWN_PARAMETER
        refusal = _PARAMETERS[keyword](transaction, value)
        if refusal is not None:
            return refusal
    if transaction.hold_for_s and transaction.hold_until is not None:
        raise SyntaxFault("HOLDFOR and HOLDUNTIL exclude each other")
    if reverse_path is not None and not reverse_path.is_ascii and not transaction.is_utf8:
        return replies.NOT_ASCII
    if transaction.declared_size is not None and transaction.declared_size > session.policy.message_bytes:
        return replies.MESSAGE_TOO_LARGE
    session.policy.sender(transaction, session.origin())
    session.transaction = transaction
    return replies.SENDER_OK


def _known(session: Session) -> frozenset[str]:
    """Return the parameters that this server understands."""
    known = {"SIZE", "BODY", "SMTPUTF8"}
    if session.door is not None:
        known |= {"AUTH"}
    if "DSN" in session.policy.extensions:
        known |= {"RET", "ENVID"}
    if any(extension.startswith("FUTURERELEASE") for extension in session.policy.extensions):
        known |= {"HOLDFOR", "HOLDUNTIL"}
    return frozenset(known)


def _size(transaction: Transaction[Any], value: str | None) -> None:
    transaction.declared_size = parse_size(value)


def _body(_transaction: Transaction[Any], value: str | None) -> Reply | None:
    return None if (value or "").upper() in {"7BIT", "8BITMIME"} else replies.BAD_ARGUMENT


def _utf8(transaction: Transaction[Any], value: str | None) -> None:
    if value is not None:
        raise SyntaxFault("SMTPUTF8 takes no value")
    transaction.is_utf8 = True


def _return_content(transaction: Transaction[Any], value: str | None) -> None:
    transaction.return_content = dsn.parse_return_content(value)


def _envelope_id(transaction: Transaction[Any], value: str | None) -> None:
    transaction.envelope_id = dsn.parse_envelope_id(value)


def _hold_for(transaction: Transaction[Any], value: str | None) -> None:
    transaction.hold_for_s = future_release.parse_hold_for(value)


def _hold_until(transaction: Transaction[Any], value: str | None) -> None:
    transaction.hold_until = future_release.parse_hold_until(value, datetime.now(UTC))


def _auth(_transaction: Transaction[Any], value: str | None) -> None:
    """Take note of nothing: who submitted the message is who signed in."""
    decode_xtext(value or "")


_PARAMETERS: dict[str, Callable[[Transaction[Any], str | None], Reply | None]] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _utf8,
    "RET": _return_content,
    "ENVID": _envelope_id,
    "HOLDFOR": _hold_for,
    "HOLDUNTIL": _hold_until,
    "AUTH": _auth,
}
