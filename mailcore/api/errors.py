"""From an error to what a client of the API is told: one row for each leaf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mailcore import errors as e


class ApiError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str, text: str, details: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.details = details
        self.headers: dict[str, str] = {}

    def body(self) -> dict[str, Any]:
        """Return the JSON object of the answer."""
        found: dict[str, Any] = {"error": self.text, "code": self.code}
        if self.details:
            found["details"] = dict(self.details)
        return found


@dataclass(frozen=True, slots=True)
class Row:
    """What one error is to clients.

    Attributes:
        tells: the error's own first detail is written for people, and told in place of `text`.
    """

    status: int
    code: str
    text: str
    tells: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


_AGAIN: Final = {"Retry-After": "5"}
_UNAVAILABLE: Final = Row(503, "ServiceUnavailable", "The service cannot do this now; try again", headers=_AGAIN)

TABLE: Final[Mapping[type[e.MailError], Row]] = {
    e.AddressInvalid: Row(400, "InputValidationError", "This is not an address", tells=True),
    e.DomainInvalid: Row(400, "InputValidationError", "This is not a domain", tells=True),
    e.MessageMalformed: Row(400, "InputValidationError", "This message cannot be sent", tells=True),
    e.NoRecipients: Row(400, "ENORECIPIENTS", "The message has no recipients: give to, cc or bcc"),
    e.ValueInvalid: Row(400, "InputValidationError", "A value is not right", tells=True),
    e.MailboxNameInvalid: Row(400, "InputValidationError", "This is not a name for a mailbox"),
    e.FlagInvalid: Row(400, "InputValidationError", "This is not a flag"),
    e.ScriptInvalid: Row(400, "InputValidationError", "This script cannot be used", tells=True),
    e.AuthenticationFailed: Row(403, "AuthFailed", "Authentication failed"),
    e.UserDisabled: Row(403, "UserDisabled", "User is disabled"),
    e.SecondFactorWrong: Row(403, "InvalidToken", "This second factor is not right, or was used"),
    e.NonceInvalid: Row(403, "Invalid2faNonce", "Unknown, used or too old: sign in again"),
    e.ProtocolDisabled: Row(403, "InvalidAuthScope", "This scope is switched off"),
    e.ScopeInsufficient: Row(403, "InvalidAuthScope", "This password is not for this scope"),
    e.AppPasswordNeeded: Row(403, "InvalidAuthScope", "This scope needs an application password"),
    e.PasswordChangeNeeded: Row(403, "PasswordChangeNeeded", "The password must be changed first"),
    e.PasswordNotYetValid: Row(403, "TempPasswordNotYetValid", "This password is not valid yet"),
    e.SenderNotOwned: Row(403, "NotPermitted", "The user may not send as this address"),
    e.MessageNotDraft: Row(400, "MessageNotDraft", "Only a draft can be sent from where it is"),
    e.ForwardingStopped: Row(
        403, "NotPermitted", "Nothing is sent on: the organisation's owner sees why in the portal"
    ),
    e.SendingStopped: Row(403, "NotPermitted", "Sending is stopped: the organisation's owner sees why in the portal"),
    e.MailReadOnly: Row(403, "NotPermitted", "Mail is read-only: the organisation's owner sees why in the portal"),
    e.NotPermitted: Row(403, "NotPermitted", "This is not permitted", tells=True),
    e.PasswordUnsuitable: Row(400, "InsecurePasswordError", "Choose another password", tells=True),
    e.PasswordReused: Row(400, "InsecurePasswordError", "Choose a password that was not used before", tells=True),
    e.PasswordLeaked: Row(403, "InsecurePasswordError", "This password is known to be stolen; choose another"),
    e.HashUnsuitable: Row(400, "InputValidationError", "This password hash cannot be used", tells=True),
    e.DestinationForbidden: Row(400, "NotPermitted", "Nothing may be connected to there", tells=True),
    e.RegionForbids: Row(400, "NotPermitted", "The tenant's mail may not lie there", tells=True),
    e.WildcardNotPermitted: Row(400, "WildcardNotPermitted", "A wildcard is not permitted here", tells=True),
    e.MailLoop: Row(400, "ELOOP", "The message goes in a circle"),
    e.PostingRefused: Row(403, "NotPermitted", "This sender may not post there"),
    e.MessageRejected: Row(400, "MessageRejected", "The message is not taken", tells=True),
    e.MailLoop: Row(400, "MailLoop", "Mail would come back to where it was", tells=True),
    e.MailboxProtected: Row(400, "DisallowedMailboxMethod", "This mailbox cannot be deleted or renamed"),
    e.TenantNotFound: Row(404, "TenantNotFound", "This tenant does not exist"),
    e.DomainNotFound: Row(404, "DomainNotFound", "This domain does not exist", tells=True),
    e.UserNotFound: Row(404, "UserNotFound", "This user does not exist"),
    e.DeletedUserNotFound: Row(404, "AccountNotFound", "No such user can be restored"),
    e.AddressNotFound: Row(404, "AddressNotFound", "This address does not exist"),
    e.PasskeyNotFound: Row(404, "CredentialsNotFound", "This credential does not exist"),
    e.MailboxNotFound: Row(404, "NoSuchMailbox", "This mailbox does not exist"),
    e.MessageNotFound: Row(404, "MessageNotFound", "This message does not exist"),
    e.AppPasswordNotFound: Row(404, "AspNotFound", "This application password does not exist"),
    e.TokenNotFound: Row(404, "TokenNotFound", "This token does not exist"),
    e.DkimKeyNotFound: Row(404, "DkimNotFound", "This DKIM key does not exist"),
    e.CertificateNotFound: Row(404, "CertNotFound", "This certificate does not exist"),
    e.WebhookNotFound: Row(404, "WebhookNotFound", "This webhook does not exist"),
    e.AuditNotFound: Row(404, "AuditNotFoundError", "This audit does not exist, or not any more"),
    e.SettingNotFound: Row(404, "SettingNotFound", "There is no such setting"),
    e.QueueEntryNotFound: Row(404, "NoSuchQueueEntry", "No such message waits to be sent"),
    e.FilterNotFound: Row(404, "FilterNotFound", "This filter does not exist"),
    e.FileNotFound: Row(404, "FileNotFound", "This file does not exist"),
    e.ScriptNotFound: Row(404, "ScriptNotFound", "This script does not exist"),
    e.ShardNotFound: Row(404, "ShardNotFound", "This shard does not exist"),
    e.ErasureBegun: Row(400, "DeleteInProgress", "It is too late: the user is being erased"),
    e.MailboxExists: Row(400, "MailboxExistsError", "Mailbox already exists"),
    e.AddressTaken: Row(400, "AddressExistsError", "This address already exists"),
    e.AddressKept: Row(400, "AddressExistsError", "A deleted user keeps this address", tells=True),
    e.DomainTaken: Row(400, "DomainExists", "This domain already exists"),
    e.FactorIsOn: Row(400, "FactorIsOn", "This second factor is on already"),
    e.FactorIsOff: Row(400, "FactorIsOff", "This second factor is not on"),
    e.PasskeyTaken: Row(400, "CredentialExists", "This credential is registered already"),
    e.TenantExists: Row(400, "TenantExists", "A tenant of this name exists"),
    e.ShardExists: Row(400, "ShardExists", "A shard of this name exists"),
    e.MailboxBusy: Row(409, "MailboxBusy", "The mailbox is being changed; try again", headers=_AGAIN),
    e.MailboxChanged: Row(404, "NoSuchMailbox", "This mailbox does not exist"),
    e.AddressCycle: Row(400, "AddressCycle", "Mail for this address would come back to it", tells=True),
    e.SendAsExists: Row(400, "SendAsExistsError", "The user may send as this address already", tells=True),
    e.FiltersChanged: Row(409, "FiltersChanged", "Somebody else changed them; read them again", headers=_AGAIN),
    e.ScriptExists: Row(400, "ScriptExists", "A script of this name exists"),
    e.ScriptIsActive: Row(400, "ScriptIsActive", "The active script cannot be deleted"),
    e.DkimKeyExists: Row(400, "DkimExists", "The domain has a DKIM key of this selector"),
    e.BeingSent: Row(409, "BeingSent", "The message is being sent at this moment", headers=_AGAIN),
    e.RequestDiffers: Row(422, "IdempotencyKeyReused", "Another request was made under this Idempotency-Key"),
    e.RequestUnderWay: Row(409, "RequestUnderWay", "The same request is being done; try again", headers=_AGAIN),
    e.OverQuota: Row(400, "OverQuotaError", "The user is over quota"),
    e.MessageTooLarge: Row(413, "MessageTooLarge", "The message is too large"),
    e.TooManyUsers: Row(403, "TooMany", "The plan has no room for another user", tells=True),
    e.TooManyPasskeys: Row(403, "TooMany", "The user has as many credentials as it may"),
    e.TooManyAppPasswords: Row(403, "TooMany", "The user has as many application passwords as it may"),
    e.TooManyFilters: Row(403, "TooMany", "There are as many filters as there may be", tells=True),
    e.TooManyWebhooks: Row(403, "TooMany", "There are as many webhooks as there may be", tells=True),
    e.TooManyFiles: Row(403, "TooMany", "The user keeps as many files as it may", tells=True),
    e.TooManyScripts: Row(403, "TooMany", "The user has as many scripts as it may", tells=True),
    e.ScriptTooLarge: Row(413, "ScriptTooLarge", "The script is too large", tells=True),
    e.TooManyMembers: Row(403, "TooMany", "The group has as many members as it may"),
    e.TooManyDkimKeys: Row(403, "TooMany", "The domain has as many DKIM keys as it may"),
    e.TooManyMailboxes: Row(403, "TooMany", "The user has as many mailboxes as it may"),
    e.UidsExhausted: Row(403, "TooMany", "The mailbox has no ids left for messages: use a new one"),
    e.TooManyKeywords: Row(403, "TooMany", "The mailbox has as many keywords as fit"),
    e.TooManyConnections: Row(429, "RateLimitedError", "Too many connections", headers=_AGAIN),
    e.RateExceeded: Row(403, "RateLimitedError", "The limit for this time is reached"),
    e.TooManyAttempts: Row(403, "RateLimitedError", "Too many failed attempts; wait"),
    e.StoreUnavailable: _UNAVAILABLE,
    e.OutgoingFailed: _UNAVAILABLE,
    e.DnsUnavailable: _UNAVAILABLE,
    e.StoreFull: Row(507, "StoreFull", "There is no room for this now"),
    e.StoreDamaged: Row(500, "InternalDatabaseError", "What is stored is damaged; the operator is told"),
    e.MailboxMoving: _UNAVAILABLE,
    e.EncryptionFailed: Row(503, "EncryptionFailed", "This cannot be encrypted: look at the keys", headers=_AGAIN),
    e.JournalUnavailable: _UNAVAILABLE,
    e.ServerBusy: _UNAVAILABLE,
}


def api_error(error: e.MailError) -> ApiError:
    """Return what a client is told of an error; the nearest row counts for leaves added below one."""
    row = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), None)
    if row is None:
        return internal()
    told = error.details[0] if row.tells and error.details and isinstance(error.details[0], str) else ""
    found = ApiError(row.status, row.code, told[:1].upper() + told[1:] if told else row.text)
    found.headers.update(row.headers)
    if isinstance(error, e.TooManyAttempts) and error.wait_s:
        found.headers["Retry-After"] = str(error.wait_s)
    return found


def internal() -> ApiError:
    """Return the answer to what nobody foresaw; it tells nothing."""
    return ApiError(500, "InternalError", "Something went wrong here; it was logged")


def invalid(details: Mapping[str, str]) -> ApiError:
    """Return the answer to input that does not fit; `details` says for each field what is right."""
    return ApiError(
        400, "InputValidationError", "; ".join(f"{name}: {text}" for name, text in details.items()), details
    )
