"""From the tree of errors to -ERR with a response code (RFC 2449 §8, RFC 3206)."""

from __future__ import annotations

from mailcore import errors
from mailcore.errors import MailError
from mailcore.model.actions import Then
from mailcore.pop3.wire import Reply, err

AUTH = "AUTH"
"""The credentials are at fault; asking for others helps."""
TEMPORARY = "SYS/TEMP"
"""The same may work later."""
PERMANENT = "SYS/PERM"
"""Somebody has to see to it."""

UNEXPECTED = err("Internal error, it was logged", PERMANENT)
GOING_DOWN = err("Server is restarting, connect again", TEMPORARY, Then.CLOSE)
TOO_MANY_FAULTS = err("Too many bad commands", then=Then.CLOSE)
TOO_MANY_CONNECTIONS = err("Too many connections, try again later", TEMPORARY, Then.CLOSE)
LINE_TOO_LONG = err("Line is too long")
UNKNOWN_COMMAND = err("Unknown command")
NOT_NOW = err("Command is not allowed now")
NOT_ENCRYPTED = err("Encrypt the connection first")

_GONE = err("No such thing")
_TAKEN = err("Already so")
_NOT_ALLOWED = err("Not allowed")
_LATER = err("Try again later", TEMPORARY)
_BUSY = err("Other sessions keep changing the mailbox, try again", TEMPORARY)
_LIMIT = err("A limit is reached")
_NO_VALUE = err("Not a value that can be set")

REPLIES: dict[type[MailError], Reply] = {
    errors.SyntaxFault: err("Command is malformed"),
    errors.AddressInvalid: _NO_VALUE,
    errors.DomainInvalid: _NO_VALUE,
    errors.MessageMalformed: _NO_VALUE,
    errors.NoRecipients: _NO_VALUE,
    errors.ValueInvalid: _NO_VALUE,
    errors.MailboxNameInvalid: _NO_VALUE,
    errors.FlagInvalid: _NO_VALUE,
    errors.ScriptInvalid: _NO_VALUE,
    errors.Refused: _NOT_ALLOWED,
    errors.AuthenticationFailed: err("User name or password is wrong", AUTH),
    errors.UserDisabled: err("This login is disabled", AUTH),
    errors.SecondFactorWrong: err("The second factor is wrong", AUTH),
    errors.NonceInvalid: err("Begin again", AUTH),
    errors.ProtocolDisabled: err("POP3 is switched off for this login", AUTH),
    errors.ScopeInsufficient: err("This app password or token is not for POP3", AUTH),
    errors.AppPasswordNeeded: err("Sign in with an app password: this login has a second factor", AUTH),
    errors.PasswordChangeNeeded: err("Choose a new password in the browser first", AUTH),
    errors.PasswordNotYetValid: err("User name or password is wrong", AUTH),
    errors.MessageRejected: _NOT_ALLOWED,
    errors.MailLoop: _NOT_ALLOWED,
    errors.SenderNotOwned: _NOT_ALLOWED,
    errors.MessageNotDraft: _NOT_ALLOWED,
    errors.MailReadOnly: _NOT_ALLOWED,
    errors.ForwardingStopped: _NOT_ALLOWED,
    errors.SendingStopped: _NOT_ALLOWED,
    errors.NotPermitted: _NOT_ALLOWED,
    errors.MailboxProtected: _NOT_ALLOWED,
    errors.PasswordUnsuitable: _NO_VALUE,
    errors.PasswordReused: _NO_VALUE,
    errors.PasswordLeaked: _NO_VALUE,
    errors.HashUnsuitable: _NO_VALUE,
    errors.WildcardNotPermitted: _NOT_ALLOWED,
    errors.PostingRefused: _NOT_ALLOWED,
    errors.RegionForbids: _NOT_ALLOWED,
    errors.DestinationForbidden: _NOT_ALLOWED,
    errors.NotFound: _GONE,
    errors.TenantNotFound: _GONE,
    errors.DomainNotFound: _GONE,
    # the user was removed, or its mail is not where the directory says: not for the client to mend
    errors.UserNotFound: err("This login is gone", PERMANENT),
    errors.MailboxNotFound: err("The maildrop is gone", PERMANENT),
    errors.AppPasswordNotFound: _GONE,
    errors.TokenNotFound: _GONE,
    errors.DkimKeyNotFound: _GONE,
    errors.CertificateNotFound: _GONE,
    errors.WebhookNotFound: _GONE,
    errors.AuditNotFound: _GONE,
    errors.SettingNotFound: _GONE,
    errors.DeletedUserNotFound: _GONE,
    errors.AddressNotFound: _GONE,
    errors.PasskeyNotFound: _GONE,
    errors.FilterNotFound: _GONE,
    errors.FileNotFound: _GONE,
    errors.ScriptNotFound: _GONE,
    errors.MessageNotFound: err("No such message"),
    errors.ShardNotFound: _LATER,
    errors.QueueEntryNotFound: _GONE,
    errors.Conflict: _BUSY,
    errors.MailboxExists: _TAKEN,
    errors.AddressTaken: _TAKEN,
    errors.AddressKept: _TAKEN,
    errors.FiltersChanged: _BUSY,
    errors.ScriptExists: _TAKEN,
    errors.ScriptIsActive: _NOT_ALLOWED,
    errors.FactorIsOn: _TAKEN,
    errors.FactorIsOff: _GONE,
    errors.PasskeyTaken: _TAKEN,
    errors.ErasureBegun: _TAKEN,
    errors.AddressCycle: _TAKEN,
    errors.DomainTaken: _TAKEN,
    errors.TenantExists: _TAKEN,
    errors.SendAsExists: _TAKEN,
    errors.DkimKeyExists: _TAKEN,
    errors.ShardExists: _TAKEN,
    errors.BeingSent: _BUSY,
    errors.RequestDiffers: _NOT_ALLOWED,
    errors.RequestUnderWay: _BUSY,
    errors.MailboxBusy: _BUSY,
    errors.MailboxChanged: err("The maildrop was replaced, connect again", TEMPORARY),
    errors.LimitExceeded: _LIMIT,
    errors.OverQuota: _LIMIT,
    errors.MessageTooLarge: _LIMIT,
    errors.TooManyMailboxes: _LIMIT,
    errors.TooManyDkimKeys: _LIMIT,
    errors.TooManyAppPasswords: _LIMIT,
    errors.TooManyMembers: _LIMIT,
    errors.TooManyUsers: _LIMIT,
    errors.TooManyFilters: _LIMIT,
    errors.TooManyWebhooks: _LIMIT,
    errors.TooManyFiles: _LIMIT,
    errors.TooManyScripts: _LIMIT,
    errors.ScriptTooLarge: _LIMIT,
    errors.TooManyPasskeys: _LIMIT,
    errors.UidsExhausted: _LIMIT,
    errors.TooManyKeywords: _LIMIT,
    errors.TooManyConnections: err("Too many connections, try again later", TEMPORARY),
    errors.RateExceeded: err("Too much for today, try again tomorrow", TEMPORARY),
    errors.TooManyAttempts: err("Too many attempts, wait a while", TEMPORARY),
    errors.Unavailable: _LATER,
    errors.StoreUnavailable: _LATER,
    errors.StoreDamaged: err("The mailbox has to be repaired, an operator was told", TEMPORARY),
    errors.StoreFull: _LATER,
    errors.MailboxMoving: err("The mailbox is being moved, try again in a moment", TEMPORARY),
    errors.EncryptionFailed: _LATER,
    errors.JournalUnavailable: _LATER,
    errors.DnsUnavailable: err("The server is busy, try again later", TEMPORARY),
    errors.OutgoingFailed: err("The server is busy, try again later", TEMPORARY),
    errors.ServerBusy: err("The server is busy, try again later", TEMPORARY),
}
"""One row for every error; a test walks the tree."""


def ended(reason: str) -> Reply:
    """Return what a client is told whose session has to end."""
    return err(reason, AUTH, Then.CLOSE)


def reply_to(error: MailError) -> Reply:
    """Return what the client is told about an error: its own row, or that of the nearest category."""
    if type(error) is errors.SyntaxFault and error.details:
        return err(str(error.details[0]))  # the grammar's own faults carry fixed text
    for kind in type(error).__mro__:
        reply = REPLIES.get(kind)
        if reply is not None:
            return reply
    return UNEXPECTED
