"""What SMTP and LMTP answer: the fixed replies, and the one table from error to reply."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailcore import errors
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.smtp.wire.replies import Reply

OK = Reply.of(250, "2.0.0", "OK")
SENDER_OK = Reply.of(250, "2.1.0", "Sender accepted")
RECIPIENT_OK = Reply.of(250, "2.1.5", "Recipient accepted")
CHUNK_OK = Reply.of(250, "2.0.0", "Chunk received")
START_DATA = Reply.of(354, "", "End with CRLF.CRLF")
READY_FOR_TLS = Reply.of(220, "2.0.0", "Begin TLS")
GOODBYE = Reply.of(221, "2.0.0", "Goodbye")
CANNOT_VERIFY = Reply.of(252, "2.0.0", "Try to deliver and see")

SIGNED_IN = Reply.of(235, "2.7.0", "Signed in")

UNKNOWN_COMMAND = Reply.of(500, "5.5.1", "Unknown command")
BAD_LINE = Reply.of(500, "5.5.2", "Not a command")
BARE_LINE_FEED = Reply.of(500, "5.5.2", "Commands end with CRLF")
LINE_TOO_LONG = Reply.of(500, "5.5.6", "Line too long")
BAD_ARGUMENT = Reply.of(501, "5.5.4", "Syntax error in parameters")
NO_ARGUMENT = Reply.of(501, "5.5.4", "This command takes no parameters")
BAD_NAME = Reply.of(501, "5.5.4", "Not a host name")
BEHIND_STARTTLS = Reply.of(501, "5.5.4", "Nothing may follow STARTTLS before the handshake")
LOST_COUNT = Reply.of(501, "5.5.4", "Cannot tell where this chunk ends; closing")
NOT_IMPLEMENTED = Reply.of(502, "5.5.1", "Not implemented")
BAD_SEQUENCE = Reply.of(503, "5.5.1", "Not now")
SAY_HELLO_FIRST = Reply.of(503, "5.5.1", "Introduce yourself first")
NO_RECIPIENTS = Reply.of(503, "5.5.1", "No valid recipients")
ENCRYPTED_ALREADY = Reply.of(503, "5.5.1", "TLS is on already")
BAD_RESPONSE = Reply.of(501, "5.5.2", "Not a response of this mechanism")
CANCELLED = Reply.of(501, "5.7.0", "Cancelled")
UNKNOWN_MECHANISM = Reply.of(504, "5.5.4", "This mechanism is not supported")
SIGNED_IN_ALREADY = Reply.of(503, "5.5.1", "Signed in already")
SIGN_IN_FIRST = Reply.of(530, "5.7.0", "Sign in first")
ENCRYPT_FIRST = Reply.of(538, "5.7.11", "Begin TLS first: passwords do not travel in clear")
BARE_LINE_END = Reply.of(550, "5.6.11", "A CR or LF alone, or a NUL, is in the message; lines end with CRLF")
UNKNOWN_PARAMETER = Reply.of(555, "5.5.4", "Parameter not recognized")
NOT_TRUSTED = Reply.of(550, "5.7.1", "Not for you")
NOT_ASCII = Reply.of(553, "5.6.7", "Addresses beyond ASCII need SMTPUTF8")
MESSAGE_TOO_LARGE = Reply.of(552, "5.3.4", "Message too large")
TOO_MANY_RECIPIENTS = Reply.of(452, "4.5.3", "Too many recipients; send the rest in another transaction")

TIMED_OUT = Reply.of(421, "4.4.2", "Nothing heard for too long; closing")
SHUTTING_DOWN = Reply.of(421, "4.3.2", "Going down; try again")
TOO_MANY_MISTAKES = Reply.of(421, "4.7.0", "Too many mistakes; closing")
TOO_MANY_CONNECTIONS = Reply.of(421, "4.7.0", "Too many connections; try again")
INTERNAL_FAULT = Reply.of(451, "4.3.0", "Something went wrong here; try again")

FULL_FOR_GOOD = Reply.of(552, "5.2.2", "Mailbox full for over a day")

REFUSAL_LINES = 10
REFUSAL_LINE = 400
"""So many characters of a line of a recipient's words are told."""
OVER_QUOTA_GRACE = timedelta(seconds=DEFAULT_LIMITS.over_quota_grace_s)
"""How long the sender's transfer agent keeps trying before the sender is told."""

_UNAVAILABLE = Reply.of(451, "4.3.0", "Storage is not available; try again")

ERROR_REPLIES: dict[type[errors.MailError], Reply] = {
    errors.SyntaxFault: Reply.of(501, "5.5.2", "Syntax error"),
    errors.MessageMalformed: Reply.of(554, "5.6.0", "The header cannot be understood"),
    errors.AddressInvalid: Reply.of(501, "5.1.3", "Not an address"),
    errors.Refused: Reply.of(550, "5.7.1", "Refused"),
    errors.AuthenticationFailed: Reply.of(535, "5.7.8", "Authentication failed"),
    errors.SenderNotOwned: Reply.of(553, "5.7.1", "This is not an address that you may send as"),
    errors.SendingStopped: Reply.of(550, "5.7.1", "Sending is stopped; the organisation's owner can tell why"),
    errors.ForwardingStopped: Reply.of(450, "4.2.1", "This address sends no mail on for now; try again later"),
    errors.UserDisabled: Reply.of(550, "5.2.1", "This mailbox is disabled"),
    errors.ProtocolDisabled: Reply.of(535, "5.7.8", "Submission is switched off for this login"),
    errors.ScopeInsufficient: Reply.of(535, "5.7.8", "This app password or token is not for submission"),
    errors.AppPasswordNeeded: Reply.of(534, "5.7.9", "Sign in with an app password"),
    errors.PasswordChangeNeeded: Reply.of(535, "5.7.8", "Choose a new password in the browser first"),
    errors.PasswordNotYetValid: Reply.of(535, "5.7.8", "Authentication failed"),
    errors.MessageRejected: Reply.of(550, "5.7.1", "The recipient refuses this message"),
    errors.PostingRefused: Reply.of(550, "5.7.2", "This group does not take your mail"),
    errors.MailLoop: Reply.of(554, "5.4.6", "Mail loop"),
    errors.NotFound: Reply.of(550, "5.1.1", "No such user"),
    errors.AddressNotFound: Reply.of(550, "5.1.1", "Nobody receives mail at this address"),
    errors.DomainNotFound: Reply.of(550, "5.1.2", "Mail for this domain is not ours"),
    # These three can only mean that the directory and the shards disagree: ours to mend, not the sender's.
    errors.TenantNotFound: Reply.of(451, "4.3.5", "Not ready for this user; try again"),
    errors.ShardNotFound: Reply.of(451, "4.3.5", "Not ready for this user; try again"),
    errors.MailboxNotFound: Reply.of(451, "4.3.5", "Not ready for this user; try again"),
    errors.Conflict: Reply.of(554, "5.3.0", "Cannot be done"),
    errors.MailboxBusy: Reply.of(451, "4.3.0", "Mailbox is busy; try again"),
    errors.MailboxChanged: Reply.of(451, "4.3.0", "Mailbox is busy; try again"),
    errors.LimitExceeded: Reply.of(452, "4.5.3", "Too much; try again later"),
    errors.OverQuota: Reply.of(452, "4.2.2", "Mailbox full"),
    errors.UidsExhausted: Reply.of(452, "4.2.2", "Mailbox full"),
    errors.MessageTooLarge: MESSAGE_TOO_LARGE,
    errors.RateExceeded: Reply.of(452, "4.7.28", "Limit reached; try again later"),
    errors.TooManyAttempts: Reply.of(454, "4.7.0", "Too many attempts; wait"),
    errors.TooManyConnections: TOO_MANY_CONNECTIONS,
    errors.Unavailable: _UNAVAILABLE,
    errors.StoreFull: Reply.of(452, "4.3.1", "Storage is full; try again"),
    errors.MailboxMoving: Reply.of(451, "4.2.1", "Mailbox is moving; try again"),
    errors.EncryptionFailed: Reply.of(451, "4.3.0", "Not possible at the moment; try again"),
    errors.JournalUnavailable: Reply.of(451, "4.3.0", "Not possible at the moment; try again"),
    errors.ServerBusy: Reply.of(451, "4.3.2", "Busy; try again"),
}
"""Rows of categories hold for all of their leaves that have none of their own."""


def reply_for(error: errors.MailError, now: datetime | None = None) -> Reply:
    """Return the reply of the most special row that fits; a mailbox that stays full is full for good."""
    since = error.since if isinstance(error, errors.OverQuota) else None
    if since is not None and (now or datetime.now(UTC)) - since > OVER_QUOTA_GRACE:
        return FULL_FOR_GOOD
    if isinstance(error, errors.MessageRejected) and (lines := _refusal_lines(error.reason)):
        return Reply.of(550, "5.7.1", *lines)
    if isinstance(error, errors.MessageMalformed | errors.SenderNotOwned) and (told := _told(error)):
        row = ERROR_REPLIES[type(error)]
        return Reply.of(row.code, row.enhanced, told)
    for kind in type(error).__mro__:
        reply = ERROR_REPLIES.get(kind)
        if reply is not None:
            return reply
    return INTERNAL_FAULT


def _told(error: errors.MailError) -> str:
    """Return what is wrong with a message, in one line of ASCII; "" where that cannot be said."""
    what = str(error.details[0]) if error.details else ""
    if isinstance(error, errors.SenderNotOwned):
        what = f"You may not send as {what} ({error.details[1] if len(error.details) > 1 else 'sender'})"
    lines = _refusal_lines(what)
    return lines[0] if lines else ""


def ended(reason: str) -> Reply:
    """Say goodbye to whoever may be here no more; the reason is one of ours, or an admin's own line."""
    return Reply.of(421, "4.7.0", *(_refusal_lines(reason)[:1] or ["Signed out"]))


def _refusal_lines(reason: str) -> list[str]:
    """Return a recipient's words as lines of a reply (RFC 5429 §2.1.2): printable ASCII, or nothing of them."""
    if not reason.isascii():
        return []
    lines = ["".join(filter(str.isprintable, line.replace("\t", " "))).strip() for line in reason.splitlines()]
    return [line[:REFUSAL_LINE] for line in lines if line][:REFUSAL_LINES]
