"""What can go wrong, as one tree: the categories say what the caller can do about it.

Leaves carry data, never wire text; every edge (IMAP, SMTP, API ...) has one table from error to
reply, and a test walks this tree to see that no leaf is without a row.
"""

from __future__ import annotations

from datetime import datetime


class MailError(Exception):
    """Root of everything that a service raises on purpose; `details` go into the log."""

    def __init__(self, *details: object) -> None:
        super().__init__(*details)
        self.details = details


# -- categories ---------------------------------------------------------------------------------


class SyntaxFault(MailError):
    """The input does not parse."""


class Refused(MailError):
    """Understood, and not allowed."""


class NotFound(MailError):
    """No such thing for this owner."""


class Conflict(MailError):
    """It is already so, or somebody else changed it meanwhile."""


class LimitExceeded(MailError):
    """A size, a quota or a rate is exceeded."""


class Unavailable(MailError):
    """The same call may work later."""


# -- syntax -------------------------------------------------------------------------------------


class AddressInvalid(SyntaxFault):
    """Not an address that can receive mail (RFC 5321 §4.1.2, RFC 6531 §3.3)."""


class DomainInvalid(SyntaxFault):
    """Not a domain name (UTS 46, RFC 5890)."""


class ValueInvalid(SyntaxFault):
    """A field of a request is malformed; the detail says which and what is right."""


class MessageMalformed(SyntaxFault):
    """The header of a message to be sent is none that everybody reads alike; the detail, in ASCII, says where."""


class NoRecipients(SyntaxFault):
    """A message is to be sent, and to nobody."""


class MailboxNameInvalid(SyntaxFault):
    """Not a mailbox name: empty part, control character, too deep or too long."""


class FlagInvalid(SyntaxFault):
    """Not a flag or keyword a client may set."""


class ScriptInvalid(SyntaxFault):
    """Not a Sieve script that can be used; `line` and `column` count from 1, `what` tells its author what to do."""

    def __init__(self, what: str, line: int = 1, column: int = 1) -> None:
        super().__init__(what, line, column)
        self.line = line
        self.column = column
        self.what = what

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.what}"


# -- refused ------------------------------------------------------------------------------------


class AuthenticationFailed(Refused):
    """Unknown user or wrong password; which of both is never told."""


class UserDisabled(Refused):
    """The user or the tenant is suspended or disabled."""


class SecondFactorWrong(Refused):
    """Not the code, the key or the recovery code that was asked for, or one that was used."""


class NonceInvalid(Refused):
    """A challenge or nonce is unknown, used, too old, or somebody else's."""


class ProtocolDisabled(Refused):
    """The user or the tenant has this protocol switched off."""


class ScopeInsufficient(Refused):
    """The app password or token is right, but not for this."""


class AppPasswordNeeded(Refused):
    """The master password is right, but with second factors mail protocols take app passwords only."""


class PasswordChangeNeeded(Refused):
    """The password is right, but somebody else chose it: it must be changed first."""


class PasswordNotYetValid(Refused):
    """The temporary password is right, but its time has not come."""


class MessageRejected(Refused):
    """The recipient's own rules refuse the message; `reason` is what the recipient says to it."""

    def __init__(self, *details: object, reason: str = "") -> None:
        super().__init__(*details)
        self.reason = reason


class MailLoop(Refused):
    """The message came through here, or through too many servers, before."""


class MessageNotDraft(Refused):
    """Only drafts are sent from where they are."""


class NotPermitted(Refused):
    """The actor may not do this."""


class ForwardingStopped(Refused):
    """Mail for this address would only be sent on, and nothing of the tenant's leaves by itself now; later it may."""


class SendingStopped(Refused):
    """Nothing is sent for this tenant now."""


class MailReadOnly(Refused):
    """The tenant's mail can be read and comes in; its users change nothing now."""


class WildcardNotPermitted(Refused):
    """A pattern stands where only one address may."""


class PostingRefused(Refused):
    """The group does not take mail of this sender."""


class SenderNotOwned(Refused):
    """The sender may not send as this address; the details are the address and where it stands."""


class PasswordUnsuitable(Refused):
    """The new password is too short or too long."""


class PasswordReused(PasswordUnsuitable):
    """The new password is the present one or one of the last."""


class PasswordLeaked(PasswordUnsuitable):
    """The new password is in public collections of stolen ones."""


class HashUnsuitable(Refused):
    """A password hash brought along is of no known scheme, or costs more to check than may be."""


class DestinationForbidden(Refused):
    """Nothing may be connected to there: a private, reserved or own address, or a port that is not for this."""


class RegionForbids(Refused):
    """The tenant's mail may not lie in the region of that shard."""


class MailboxProtected(Refused):
    """INBOX and special-use mailboxes cannot be deleted or renamed like others."""


# -- not found ----------------------------------------------------------------------------------


class TenantNotFound(NotFound):
    """No such tenant."""


class DomainNotFound(NotFound):
    """No such domain."""


class UserNotFound(NotFound):
    """No such user."""


class DeletedUserNotFound(NotFound):
    """No such user was deleted, or it is erased already."""


class AddressNotFound(NotFound):
    """Nobody receives mail at this address."""


class PasskeyNotFound(NotFound):
    """No such passkey of this user."""


class MailboxNotFound(NotFound):
    """No such mailbox of this user."""


class MessageNotFound(NotFound):
    """No such message of this user."""


class AppPasswordNotFound(NotFound):
    """No such app password of this user."""


class TokenNotFound(NotFound):
    """No such token of this owner."""


class DkimKeyNotFound(NotFound):
    """No such DKIM key of this tenant."""


class CertificateNotFound(NotFound):
    """No such certificate."""


class WebhookNotFound(NotFound):
    """No such webhook of this owner."""


class AuditNotFound(NotFound):
    """No such audit of this owner, or its time is over."""


class SettingNotFound(NotFound):
    """The site has no setting of this name."""


class FilterNotFound(NotFound):
    """No such rule of this owner."""


class ScriptNotFound(NotFound):
    """No such Sieve script of this user."""


class ShardNotFound(NotFound):
    """No such shard."""


class QueueEntryNotFound(NotFound):
    """No such message waits to be sent for this user."""


class FileNotFound(NotFound):
    """The user has no such storage file."""


# -- conflict -----------------------------------------------------------------------------------


class MailboxExists(Conflict):
    """A mailbox of that name exists."""


class AddressTaken(Conflict):
    """The canonical form of this address belongs to somebody already."""


class AddressKept(AddressTaken):
    """A deleted user of the same tenant keeps the address, or one that it looks like, `until` it is erased."""

    def __init__(self, *details: object, until: datetime | None = None) -> None:
        super().__init__(*details)
        self.until = until


class AddressCycle(Conflict):
    """Mail for the address would come back to it, or go through too many others."""


class ErasureBegun(Conflict):
    """The deleted user is being erased: it cannot be restored any more."""


class DomainTaken(Conflict):
    """The domain belongs to a tenant already."""


class SendAsExists(Conflict):
    """The user may send as this address already."""


class DkimKeyExists(Conflict):
    """The domain has a DKIM key of that selector, or one that a change at the same moment got ahead of."""


class FiltersChanged(Conflict):
    """Rules or scripts were changed meanwhile by somebody else: read them again."""


class ScriptExists(Conflict):
    """A script of that name exists."""


class ScriptIsActive(Conflict):
    """The active script cannot be deleted: deactivate it first."""


class FactorIsOn(Conflict):
    """This kind of second factor is on already; the detail says which."""


class FactorIsOff(Conflict):
    """This kind of second factor is not on; the detail says which."""


class PasskeyTaken(Conflict):
    """The passkey is registered already, by whomever."""


class TenantExists(Conflict):
    """A tenant of that name exists."""


class ShardExists(Conflict):
    """A shard of that name exists."""


class MailboxBusy(Conflict):
    """Other sessions kept changing the mailbox; IMAP answers NO [INUSE]."""


class MailboxChanged(Conflict):
    """The mailbox was deleted or replaced under a session that had it open."""


class BeingSent(Conflict):
    """The message is on its way at this moment: it can be neither held nor cancelled now."""


class RequestDiffers(Conflict):
    """Another request was made under the same Idempotency-Key."""


class RequestUnderWay(Conflict):
    """The same request, under the same Idempotency-Key, is being done."""


# -- limits -------------------------------------------------------------------------------------


class OverQuota(LimitExceeded):
    """The user's quota is used up; `since` when mail is refused for it, where that is counted."""

    def __init__(self, *details: object, since: datetime | None = None) -> None:
        super().__init__(*details)
        self.since = since


class MessageTooLarge(LimitExceeded):
    """The message is larger than the limit, bytes."""


class TooManyUsers(LimitExceeded):
    """The tenant has as many users as its plan allows."""


class TooManyMembers(LimitExceeded):
    """A group or a forwarded address has as many members or targets as the limit allows."""


class TooManyPasskeys(LimitExceeded):
    """The user has as many passkeys as the limit allows."""


class TooManyAppPasswords(LimitExceeded):
    """The user has as many app passwords as the limit allows."""


class TooManyDkimKeys(LimitExceeded):
    """The domain has as many DKIM keys as the limit allows."""


class TooManyWebhooks(LimitExceeded):
    """The owner has as many webhooks as it may."""


class TooManyFilters(LimitExceeded):
    """There are as many rules, targets or listed domains as the limit allows, or they take too much room."""


class TooManyScripts(LimitExceeded):
    """The user has as many scripts as the limit allows."""


class ScriptTooLarge(LimitExceeded):
    """The script is larger than the limit, bytes."""


class TooManyFiles(LimitExceeded):
    """The user keeps as many storage files, or bytes in them, as may be; the detail says which."""


class TooManyMailboxes(LimitExceeded):
    """The user has as many mailboxes as the limit allows."""


class TooManyKeywords(LimitExceeded):
    """The mailbox has as many keywords as fit."""


class UidsExhausted(LimitExceeded):
    """The mailbox has given nearly all UIDs there are; only a new mailbox has others."""


class TooManyConnections(LimitExceeded):
    """Too many connections of this user or address."""


class RateExceeded(LimitExceeded):
    """So much within an hour or a day is not allowed; the details name the limit."""


class TooManyAttempts(LimitExceeded):
    """Too many failed logins; wait, `wait_s` seconds where that is known."""

    def __init__(self, *details: object, wait_s: int = 0) -> None:
        super().__init__(*details)
        self.wait_s = wait_s


# -- unavailable --------------------------------------------------------------------------------


class StoreUnavailable(Unavailable):
    """The database did not answer in time; whether it did the work is unknown."""


class StoreFull(Unavailable):
    """The database has no room left."""


class StoreDamaged(Unavailable):
    """What is stored does not fit together; `fsck` tells what and repairs it."""


class MailboxMoving(Unavailable):
    """The user's mail is on its way to another shard; over in seconds."""


class EncryptionFailed(Unavailable):
    """The user's mail is to be encrypted and cannot be; the detail says why. It is not taken in the clear."""


class JournalUnavailable(Unavailable):
    """The tenant's journal cannot take its copy now, and without it no mail is taken."""


class DnsUnavailable(Unavailable):
    """No resolver could say what is at that name: not that there is nothing."""


class OutgoingFailed(Unavailable):
    """Outside nobody answered, not in time, or not what was expected."""


class ServerBusy(Unavailable):
    """A bounded queue in this process is full."""
