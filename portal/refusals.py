"""What people are told when something is refused: one table by class of the error, one by what a service says of it.

Services say in English what is wrong, for logs and programs. Nothing of that is shown: what is not in the second table
is told by its class, and every class has a sentence by the category it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from flask_babel import gettext
from flask_babel import lazy_gettext as _

from mailcore import errors
from portal.showing import date

KINDS: Final[Mapping[type[errors.MailError], Any]] = {
    errors.AddressInvalid: _("That is not an address that can receive mail. Write it like name@example.org."),
    errors.AddressTaken: _("Somebody has this address already, or one that looks like it. Choose another."),
    errors.AddressKept: _(
        "A deleted user keeps this address. Restore them, or give their addresses free, under Deleted."
    ),
    errors.AddressNotFound: _("Nobody in your organisation has this address."),
    errors.AddressCycle: _("Mail would come back to where it was sent from. Leave this address out."),
    errors.DomainNotFound: _("This domain is not one of yours. Add it under Domains first."),
    errors.DomainTaken: _("This domain stands for another one already, or belongs to somebody else."),
    errors.DomainInvalid: _("That is not a domain name. Write it like example.org."),
    errors.WildcardNotPermitted: _("A pattern with * cannot stand here. Enter one address."),
    errors.TooManyUsers: _("Your plan has no room for another user. Choose a larger plan under Billing."),
    errors.TooManyMembers: _("That is more members than one group may have."),
    errors.TooManyAppPasswords: _("There are as many app passwords as may be. Take one back first."),
    errors.TooManyFilters: _(
        "There are as many rules as may be, or they forward to too many addresses. Delete one first."
    ),
    errors.PasswordReused: _("This is the present password or one of the last. Choose another."),
    errors.PasswordLeaked: _("This password is in public lists of stolen ones. Choose another."),
    errors.PasswordUnsuitable: _("A password has at least 8 characters. Choose a longer one."),
    errors.OverQuota: _("There is not enough room. Delete something or ask for more storage."),
    errors.ErasureBegun: _("It is too late: this user is being erased."),
    errors.AuthenticationFailed: _("The password is wrong."),
    errors.SecondFactorWrong: _("The code is wrong or was used. Wait for the next one."),
    errors.TooManyAttempts: _("Too many tries. Wait a few minutes, then try it again."),
    errors.SyntaxFault: _("That is not how it has to be written. Look at it once more."),
    errors.Refused: _("That is not allowed here."),
    errors.Conflict: _("It is so already, or somebody else changed it meanwhile. Load the page again."),
    errors.LimitExceeded: _("That is more than is allowed. Take something away first."),
    errors.NotFound: _("It is not there any more. Load the page again."),
    errors.Unavailable: _("This cannot be reached at the moment. Try it again in a minute."),
    errors.MailboxNotFound: _("There is no such folder any more. Choose another."),
    errors.MailboxNameInvalid: _("That is no name for a folder."),
    errors.MailboxExists: _("There is a folder of this name already."),
    errors.MailReadOnly: _("The plan is not paid for: mail can only be read now."),
    errors.UserDisabled: _("This user may not sign in."),
    errors.PasswordChangeNeeded: _("Choose another password first."),
    errors.NonceInvalid: _("This took too long, or was used already. Begin again."),
    errors.PasskeyTaken: _("This passkey is known already."),
    errors.TooManyPasskeys: _("There are as many passkeys as may be. Remove one first."),
    errors.FactorIsOn: _("It is turned on already."),
    errors.FactorIsOff: _("It is not turned on."),
    errors.FiltersChanged: _("The rules were changed meanwhile. Load the page again."),
    errors.ScriptInvalid: _("This rule cannot be carried out. Look at what it says once more."),
    errors.DestinationForbidden: _("Nothing is sent there. Enter another target."),
    errors.BeingSent: _("It is being sent this moment."),
    errors.SendingStopped: _("Outgoing mail is on hold."),
    errors.RegionForbids: _("This is kept in another region."),
    errors.HashUnsuitable: _("That is no hash of a password that can be used here."),
    errors.RateExceeded: _("That was too much at once. Wait a while, then try it again."),
}
"""A sentence for each class; subclasses count as their parents."""
SAID: Final[Mapping[str, Any]] = {
    "a quota is a positive number of bytes": _("Storage is an amount above nothing, such as 5 GB."),
    "a name has 1 to * characters": _("A name has 1 to 200 characters."),
    "a name has no control characters": _("A name is one line of letters, digits and signs."),
    "an organisation's name is no web address": _("Names have letters, and are no web addresses."),
    "only * can be switched off": _("That way to mail cannot be closed."),
    "a reason is one line of up to * characters": _("The reason is one line. Make it shorter."),
    "an app password is * letters a-z": _("An app password is made here, not chosen."),
    "an app password opens at least one protocol": _("Choose what the app password opens."),
    "an app password lives for some time": _("Choose a time that is still to come."),
    "an app password expires in the future": _("Choose a time that is still to come."),
    "a temporary password becomes valid within a year": _("Choose a day within a year."),
    "a deleted user is erased within ten years": _("Choose a day within ten years."),
    "this user gets the journal of the tenant: *": _(
        "This user gets the copy of all mail for the archive. Name another for it first."
    ),
    "a passkey has a name and is *": _("A passkey needs a name."),
    "the origin is https, *": _("Passkeys cannot be used at this address of the portal."),
    "* is a shared mailbox itself: *": _("A shared mailbox cannot read another one: nobody signs in to it."),
    "a pattern cannot be a main address": _("A pattern with * cannot be a main address. Enter one address."),
    "a wildcard cannot be the main address": _("A pattern with * cannot be a main address. Enter one address."),
    "a wildcard is not changed: *": _("A pattern cannot be changed. Make another, and take this one away."),
    "an address has no +label; *": _("Leave the + and what follows out; such mail arrives anyway."),
    "the main address cannot be taken away": _(
        "The main address cannot be taken away. Make another one the main address first."
    ),
    "* is not verified yet": _("This domain is not verified yet. Finish its set-up under Domains first."),
    "* must be verified, and no alias": _("This domain is not verified yet. Finish its set-up under Domains first."),
    "* has addresses: *": _("This domain has addresses. Delete them first, or move them to another domain."),
    "* has aliases: *": _("Other domains stand for this one. Take them away first."),
    "* is itself an alias: *": _("This domain stands for another one itself. Name that one."),
    "* has aliases, so it cannot be one": _("Other domains stand for this one, so it cannot stand for another."),
    "a forwarded address needs a target": _("Say where mail is to go."),
    "forwards a day are a number from 0*": _("Forwards a day are a number from 0."),
    "the * of an autoreply is one line": _("Subject and name of an answer are one line each."),
    "the subject or the name of the autoreply is too long": _("Subject or name of the answer is too long."),
    "an autoreply has at most * bytes": _("The answer is too long. Make it shorter."),
    "start and end of an autoreply are *": _("Start and end are a day and a time."),
    "an autoreply ends after it starts": _("The end lies before the start."),
    "*: one line of up to * characters": _("Subject and name of an answer are one line each."),
    "*: up to * bytes, no NUL": _("The answer is too long. Make it shorter."),
    "*: an instant with its time zone, or nothing": _("Start and end are a day and a time."),
    "end: later than start": _("The end lies before the start."),
    "rules of a tenant name a mailbox by its name*": _("There is no such folder any more. Choose another."),
    "rules of a user name a mailbox by its id": _("There is no such folder any more. Choose another."),
    "a mailbox is named by its id or by its name*": _("There is no such folder any more. Choose another."),
    "a condition on a header *": _("A condition on a header needs its name."),
    "* is no name of a header": _("That is not the name of a header."),
    '"exists" is about a header, *': _("A condition that asks for a header has no value."),
    "a condition needs a value to compare with": _("A condition needs a value to compare with."),
    "* is a number from * to *": _("This number is too large or too small."),
    "at most * conditions": _("That is more conditions than one rule may have."),
    "a reply is a text of up to * characters": _("The answer is too long. Make it shorter."),
    "flags are those of RFC 9051*": _("That is more marks than one rule may set."),
    "* is no keyword: *": _("A mark has letters, digits and signs, without spaces."),
    "at most * addresses to forward to": _("That is more addresses than one may forward to."),
    "data of an application has at most *": _("This holds more than can be kept."),
    "* is one line of up to * characters": _("This is one line. Make it shorter."),
    "*: a URL to forward to has up to *": _("Write the target as an address, or like https://host/path."),
    "*: write https://host/path or smtp://host:port": _("Write the target as an address, or like https://host/path."),
    "*: a target is an address or begins with *": _("Write the target as an address, or like https://host/path."),
    "*: ports for * are *": _("This port is not used for forwarding. Leave it out."),
    "*: a mail server is written *": _("Write a mail server like smtp://host:25, without a path."),
    "* is no address to forward to: *": _(
        "That is not an address that can receive mail. Write it like name@example.org."
    ),
    "mail is encrypted by OpenPGP or by S/MIME: *": _(
        "Mail is encrypted by OpenPGP or by S/MIME: take the other key away."
    ),
    "nothing can be encrypted without a key: *": _("Enter a key first: without one nothing can be encrypted."),
    "there is no key to encrypt with": _("Enter a key first: without one nothing can be encrypted."),
    "this OpenPGP key was revoked": _("This key was revoked. Export the one that you use now."),
    "this OpenPGP key has expired on *": _("This key has expired. Export the one that you use now."),
    "this OpenPGP key cannot encrypt: *": _("This key cannot encrypt. Export one that can."),
    "an OpenPGP key has at most * characters": _(
        "This is larger than a key may be. Export it without pictures and signatures of others."
    ),
    "this is a private key, *": _("This is a private key, which nobody else should see. Export the public one."),
    "this is no OpenPGP public key in ASCII armor": _(
        "This is no public OpenPGP key. Export it as text (ASCII armor)."
    ),
    "at most * certificates": _("That is more certificates than may be."),
    "a certificate for S/MIME holds *": _("A certificate for S/MIME needs an RSA key of usual size."),
    "the certificate of * is not valid at this time": _(
        "This certificate is not valid now. Export the one that you use now."
    ),
    "a certificate has at most * characters": _("This is larger than a certificate may be."),
    "this is no certificate in PEM": _("This is no certificate. Export it as text (PEM)."),
    "mail exports are switched off *": _(
        "Taking mail along is switched off for your organisation. Ask its administrator."
    ),
    "the organisation is not active": _("The organisation is not active."),
    "the organisation is not suspended": _("The organisation is not suspended."),
    "give a reason": _("Give a reason."),
    "a grant has a reason and lasts *": _("Give a reason, and 1 to 72 hours."),
    "it would be over already": _("Choose a time that is still to come."),
    "a number from * to *": _("This number is too large or too small."),
    "none of the user's addresses is free: *": _(
        "Others have all addresses of this user. Take one away from them, then restore the user."
    ),
    "somebody else decides": _("Another member of support decides about it."),
    "choose one of the plans": _("Choose one of the plans."),
    "a cap is a positive amount": _("A cap is an amount above nothing."),
}
"""What services say, with * for what differs, in the words of people; the first that fits counts."""
SPOKEN: Final = frozenset(
    {errors.ValueInvalid, errors.NotPermitted, errors.SyntaxFault, errors.Refused, errors.Conflict}
)
"""Classes that say what is wrong by their detail alone."""
_PATTERNS: Final = [(re.compile(re.escape(text).replace(r"\*", ".*"), re.DOTALL), said) for text, said in SAID.items()]


def refusal(error: errors.MailError) -> str:
    """Return what to tell somebody whose change was refused."""
    if isinstance(error, errors.AddressKept) and (until := getattr(error, "until", None)) is not None:
        return gettext(
            "A deleted user keeps this address until %(day)s."
            " Restore them, or give their addresses free, under Deleted.",
            day=date(until),
        )
    said = of_detail(str(error.details[0])) if type(error) in SPOKEN and error.details else None
    return said or of_kind(type(error))


def of_detail(detail: str) -> str | None:
    """Return what a service says in the words of people, or None if it is not in the table."""
    return next((str(said) for pattern, said in _PATTERNS if pattern.fullmatch(detail)), None)


def of_kind(kind: type[errors.MailError]) -> str:
    """Return the sentence of a class, which is that of the nearest of its parents that has one."""
    return next(str(KINDS[each]) for each in kind.__mro__ if each in KINDS)
