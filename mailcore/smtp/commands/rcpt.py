"""RCPT: name one recipient (RFC 5321 §4.1.1.3; NOTIFY and ORCPT: RFC 3461 §4)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session
from mailcore.smtp.transaction import Accepted
from mailcore.smtp.wire import dsn
from mailcore.smtp.wire.parameters import parse_parameters
from mailcore.smtp.wire.path import parse_forward_path


def handle_rcpt(session: Session, argument: bytes) -> Outcome:
    """Read `"TO:" Forward-path [SP Rcpt-parameters]`. Asks the policy, which may look the address up."""
    transaction = session.transaction
    if transaction is None or transaction.chunks is not None:
        return replies.BAD_SEQUENCE
    text = argument.decode("utf-8", "surrogateescape")
    if text[:3].upper() != "TO:":
        return replies.BAD_ARGUMENT
    path, rest = parse_forward_path(text[3:])
    parameters = parse_parameters(rest)
    if parameters and ("DSN" not in session.policy.extensions or parameters.keys() - {"NOTIFY", "ORCPT"}):
        return replies.UNKNOWN_PARAMETER
    notify = dsn.parse_notify(parameters["NOTIFY"]) if "NOTIFY" in parameters else None
    original = dsn.parse_original_recipient(parameters["ORCPT"]) if "ORCPT" in parameters else None
    if not path.is_ascii and not transaction.is_utf8:
        return replies.NOT_ASCII
    if len(transaction.recipients) >= session.policy.recipients:
        return replies.TOO_MANY_RECIPIENTS
    handle = session.policy.recipient(path, transaction)
    transaction.recipients.append(Accepted(path, handle, notify, original))
    return replies.RECIPIENT_OK
