"""From the tree of errors to NO with a response code (RFC 5804 §1.3)."""

from __future__ import annotations

from typing import Final

from mailcore import errors
from mailcore.errors import MailError
from mailcore.managesieve.wire import Reply, bye, no

TRY_LATER: Final = "TRYLATER"

UNEXPECTED = no("Internal error, it was logged")
GOING_DOWN = bye("Server is restarting, connect again", TRY_LATER)
TIMED_OUT = bye("Nothing heard for too long")
TOO_MANY_FAULTS = bye("Too many bad commands")
TOO_MANY_CONNECTIONS = bye("Too many connections, try again later", TRY_LATER)
LOST = bye("Cannot tell where the next command begins")
LINE_TOO_LONG = no("Line is too long")
LITERAL_TOO_LARGE = no("That is larger than a script may be", "QUOTA/MAXSIZE")
UNKNOWN_COMMAND = no("Unknown command")
NOT_NOW = no("Command is not allowed now")
NOT_ENCRYPTED = no("Encrypt the connection first", "ENCRYPT-NEEDED")
RESPONSE_EXPECTED = no("A response is one string")

REPLIES: dict[type[MailError], Reply] = {
    errors.SyntaxFault: no("Not a value that can be set"),
    errors.Refused: no("Not allowed"),
    errors.MailReadOnly: no("Mail is read-only for your organisation now"),
    errors.AuthenticationFailed: no("User name or password is wrong"),
    errors.UserDisabled: no("This login is disabled"),
    errors.ProtocolDisabled: no("ManageSieve is switched off for this login"),
    errors.ScopeInsufficient: no("This app password or token is not for ManageSieve"),
    errors.AppPasswordNeeded: no("Sign in with an app password: this login has a second factor"),
    errors.PasswordChangeNeeded: no("Choose a new password in the browser first"),
    errors.PasswordNotYetValid: no("User name or password is wrong"),
    errors.NotFound: no("No such thing", "NONEXISTENT"),
    errors.ScriptNotFound: no("There is no script of that name", "NONEXISTENT"),
    # the user was removed, or its mail is not where the directory says: not for the client to mend
    errors.UserNotFound: no("This login is gone"),
    errors.ShardNotFound: no("Try again later", TRY_LATER),
    errors.Conflict: no("Somebody else changed it, try again", TRY_LATER),
    errors.ScriptExists: no("There is a script of that name", "ALREADYEXISTS"),
    errors.ScriptIsActive: no("The active script cannot be deleted, deactivate it first", "ACTIVE"),
    errors.LimitExceeded: no("A limit is reached", "QUOTA"),
    errors.TooManyScripts: no("There are as many scripts as may be", "QUOTA/MAXSCRIPTS"),
    errors.ScriptTooLarge: LITERAL_TOO_LARGE,
    errors.TooManyConnections: no("Too many connections, try again later", TRY_LATER),
    errors.TooManyAttempts: no("Too many attempts, wait a while", TRY_LATER),
    errors.Unavailable: no("Try again later", TRY_LATER),
}
"""Rows of categories hold for all of their leaves that have none of their own."""


def ended(reason: str) -> Reply:
    """Return what a client is told whose session has to end."""
    return bye(reason)


def reply_to(error: MailError) -> Reply:
    """Return what the client is told about an error: the most special row that fits; of scripts, what is wrong."""
    if isinstance(error, errors.ScriptInvalid):
        return no(str(error))
    if type(error) in {errors.SyntaxFault, errors.ValueInvalid} and error.details:
        return no(str(error.details[0]))  # the grammar's and the scripts' service's own faults carry fixed text
    for kind in type(error).__mro__:
        reply = REPLIES.get(kind)
        if reply is not None:
            return reply
    return UNEXPECTED
