"""From the tree of errors to NO or BAD with a response code (RFC 9051 §7.1, RFC 5530)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore import errors
from mailcore.errors import MailError
from mailcore.imap.binary import UnknownEncoding
from mailcore.imap.selected import NoSuchNumber
from mailcore.imap.wire.responses import Bad, Completion, No


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client is told; fixed text, never an exception's."""

    status: type[Completion]
    code: bytes
    text: str

    def completion(self) -> Completion:
        """Return it as a tagged completion."""
        return self.status(self.text, self.code)


REPLIES: dict[type[MailError], Reply] = {
    errors.SyntaxFault: Reply(Bad, b"", "Command is malformed"),
    NoSuchNumber: Reply(Bad, b"", "No such message number"),
    errors.AddressInvalid: Reply(No, b"CANNOT", "Not an address"),
    errors.MailboxNameInvalid: Reply(No, b"CANNOT", "Not a mailbox name"),
    errors.DomainInvalid: Reply(No, b"CANNOT", "Not a domain"),
    errors.MessageMalformed: Reply(No, b"CANNOT", "Not a message that can be sent"),
    errors.NoRecipients: Reply(No, b"CANNOT", "Nobody to send it to"),
    errors.ValueInvalid: Reply(No, b"CANNOT", "Not a value that can be set"),
    errors.FlagInvalid: Reply(No, b"CANNOT", "Not a flag that can be set"),
    errors.ScriptInvalid: Reply(No, b"CANNOT", "Not a script that can be set"),
    errors.Refused: Reply(No, b"NOPERM", "Not allowed"),
    errors.AuthenticationFailed: Reply(No, b"AUTHENTICATIONFAILED", "User name or password is wrong"),
    errors.UserDisabled: Reply(No, b"AUTHORIZATIONFAILED", "This login is disabled"),
    errors.SecondFactorWrong: Reply(No, b"AUTHENTICATIONFAILED", "The second factor is wrong"),
    errors.NonceInvalid: Reply(No, b"AUTHENTICATIONFAILED", "Begin again"),
    errors.ProtocolDisabled: Reply(No, b"AUTHORIZATIONFAILED", "IMAP is switched off for this login"),
    errors.ScopeInsufficient: Reply(No, b"AUTHORIZATIONFAILED", "This app password or token is not for IMAP"),
    errors.AppPasswordNeeded: Reply(No, b"ALERT", "Sign in with an app password: this login has a second factor"),
    errors.PasswordChangeNeeded: Reply(No, b"EXPIRED", "Choose a new password in the browser first"),
    errors.PasswordNotYetValid: Reply(No, b"AUTHENTICATIONFAILED", "User name or password is wrong"),
    errors.MessageRejected: Reply(No, b"NOPERM", "Not allowed"),
    errors.MailLoop: Reply(No, b"NOPERM", "Not allowed"),
    errors.SenderNotOwned: Reply(No, b"NOPERM", "Not an address of yours"),
    errors.MessageNotDraft: Reply(No, b"CANNOT", "Not a draft"),
    errors.MailReadOnly: Reply(No, b"NOPERM", "Mail is read-only for your organisation now"),
    errors.ForwardingStopped: Reply(No, b"NOPERM", "Not allowed"),
    errors.SendingStopped: Reply(No, b"NOPERM", "Sending is stopped for your organisation now"),
    errors.NotPermitted: Reply(No, b"NOPERM", "Not allowed"),
    errors.MailboxProtected: Reply(No, b"CANNOT", "This mailbox must stay as it is"),
    UnknownEncoding: Reply(No, b"UNKNOWN-CTE", "The transfer encoding of the part is not known"),
    errors.PasswordUnsuitable: Reply(No, b"CANNOT", "Not a password that can be set"),
    errors.PasswordReused: Reply(No, b"CANNOT", "Not a password that can be set"),
    errors.PasswordLeaked: Reply(No, b"CANNOT", "Not a password that can be set"),
    errors.HashUnsuitable: Reply(No, b"CANNOT", "Not a password that can be set"),
    errors.WildcardNotPermitted: Reply(No, b"CANNOT", "Not an address"),
    errors.PostingRefused: Reply(No, b"NOPERM", "Not allowed"),
    errors.RegionForbids: Reply(No, b"NOPERM", "Not allowed"),
    errors.DestinationForbidden: Reply(No, b"NOPERM", "Not allowed"),
    errors.NotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.TenantNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.DomainNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.UserNotFound: Reply(No, b"UNAVAILABLE", "This login is gone"),
    errors.DeletedUserNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.AddressNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.PasskeyNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.MailboxNotFound: Reply(No, b"NONEXISTENT", "No such mailbox"),
    errors.MessageNotFound: Reply(No, b"EXPUNGEISSUED", "Some of the messages are gone"),
    errors.AppPasswordNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.TokenNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.DkimKeyNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.CertificateNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.WebhookNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.AuditNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.SettingNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.FilterNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.FileNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.ScriptNotFound: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.ShardNotFound: Reply(No, b"UNAVAILABLE", "Try again later"),
    errors.QueueEntryNotFound: Reply(No, b"NONEXISTENT", "No such message waits"),
    errors.Conflict: Reply(No, b"INUSE", "Somebody else changed this, try again"),
    errors.MailboxExists: Reply(No, b"ALREADYEXISTS", "A mailbox of that name exists"),
    errors.AddressTaken: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.AddressKept: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.ErasureBegun: Reply(No, b"CANNOT", "Too late"),
    errors.AddressCycle: Reply(No, b"CANNOT", "Mail would go in a circle"),
    errors.DomainTaken: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.FiltersChanged: Reply(No, b"INUSE", "Somebody else changed this, try again"),
    errors.ScriptExists: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.ScriptIsActive: Reply(No, b"INUSE", "In use"),
    errors.FactorIsOn: Reply(No, b"ALREADYEXISTS", "It is so already"),
    errors.FactorIsOff: Reply(No, b"NONEXISTENT", "No such thing"),
    errors.PasskeyTaken: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.TenantExists: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.SendAsExists: Reply(No, b"ALREADYEXISTS", "Already so"),
    errors.DkimKeyExists: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.ShardExists: Reply(No, b"ALREADYEXISTS", "Already taken"),
    errors.MailboxBusy: Reply(No, b"INUSE", "Other sessions keep changing the mailbox, try again"),
    errors.MailboxChanged: Reply(No, b"NONEXISTENT", "The mailbox was deleted"),
    errors.BeingSent: Reply(No, b"INUSE", "The message is being sent"),
    errors.RequestDiffers: Reply(No, b"CANNOT", "Not possible"),
    errors.RequestUnderWay: Reply(No, b"INUSE", "In use"),
    errors.LimitExceeded: Reply(No, b"LIMIT", "A limit is reached"),
    errors.OverQuota: Reply(No, b"OVERQUOTA", "The quota is used up"),
    errors.MessageTooLarge: Reply(No, b"TOOBIG", "The message is too large"),
    errors.TooManyMailboxes: Reply(No, b"LIMIT", "There are as many mailboxes as may be"),
    errors.TooManyDkimKeys: Reply(No, b"LIMIT", "There are as many keys as may be"),
    errors.TooManyFilters: Reply(No, b"LIMIT", "There are as many rules as may be"),
    errors.TooManyWebhooks: Reply(No, b"LIMIT", "There are as many webhooks as may be"),
    errors.TooManyFiles: Reply(No, b"LIMIT", "There are as many files as may be"),
    errors.TooManyScripts: Reply(No, b"LIMIT", "There are as many scripts as may be"),
    errors.ScriptTooLarge: Reply(No, b"TOOBIG", "The script is too large"),
    errors.TooManyPasskeys: Reply(No, b"LIMIT", "There are as many passkeys as may be"),
    errors.TooManyAppPasswords: Reply(No, b"LIMIT", "There are as many app passwords as may be"),
    errors.TooManyMembers: Reply(No, b"LIMIT", "There are as many members as may be"),
    errors.TooManyUsers: Reply(No, b"LIMIT", "There are as many users as may be"),
    errors.UidsExhausted: Reply(No, b"LIMIT", "The mailbox has no UIDs left, use a new one"),
    errors.TooManyKeywords: Reply(No, b"LIMIT", "The mailbox has as many keywords as may be"),
    errors.TooManyConnections: Reply(No, b"LIMIT", "Too many connections"),
    errors.RateExceeded: Reply(No, b"LIMIT", "Too much for today, try again tomorrow"),
    errors.TooManyAttempts: Reply(No, b"LIMIT", "Too many attempts, wait a while"),
    errors.Unavailable: Reply(No, b"UNAVAILABLE", "Try again later"),
    errors.StoreUnavailable: Reply(No, b"UNAVAILABLE", "Try again later"),
    errors.StoreDamaged: Reply(No, b"UNAVAILABLE", "The mailbox has to be repaired, an operator was told"),
    errors.StoreFull: Reply(No, b"UNAVAILABLE", "No room at the moment, try again later"),
    errors.MailboxMoving: Reply(No, b"UNAVAILABLE", "The mailbox is being moved, try again in a moment"),
    errors.EncryptionFailed: Reply(No, b"UNAVAILABLE", "Try again later"),
    errors.JournalUnavailable: Reply(No, b"UNAVAILABLE", "Try again later"),
    errors.DnsUnavailable: Reply(No, b"UNAVAILABLE", "The server is busy, try again later"),
    errors.OutgoingFailed: Reply(No, b"UNAVAILABLE", "The server is busy, try again later"),
    errors.ServerBusy: Reply(No, b"UNAVAILABLE", "The server is busy, try again later"),
}
"""One row for every error; a test walks the tree."""

UNEXPECTED = No("Internal error, it was logged", b"SERVERBUG")


def reply_to(error: MailError) -> Completion:
    """Return what the client is told about an error: its own row, or that of the nearest category."""
    for kind in type(error).__mro__:
        reply = REPLIES.get(kind)
        if reply is not None:
            return reply.completion()
    return UNEXPECTED
