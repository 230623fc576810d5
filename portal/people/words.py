"""What is said about people in plain words: refusals, faults of a list, states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext as _

from mailcore import errors
from mailcore.model.access import Protocol, Scope
from mailcore.model.routing import Posters
from portal.people.csv_file import FileFault, FileUnreadable
from portal.people.import_plan import Fault
from portal.refusals import of_kind


def unreadable(error: FileUnreadable) -> str:
    """Return why a file cannot be used and what to do."""
    return {
        FileFault.EMPTY: _(
            "There is nobody in this file. It needs a line with the names of the columns, "
            "then one line for each person."
        ),
        FileFault.TOO_LARGE: _("This file is larger than 5 MB. Bring the people in several files."),
        FileFault.TOO_MANY_LINES: _("There are more than 10,000 people in this file. Bring them in several files."),
        FileFault.NOT_TEXT: _("This is not a text file. In your spreadsheet choose “Save as” and then “CSV”."),
        FileFault.NO_ADDRESS_COLUMN: _(
            "No column is called “address”. The first line must name the columns; only “address” is needed."
        ),
        FileFault.QUOTES: _(
            "A quotation mark in line %(line)s does not end. Close it, or take it out.", line=error.line
        ),
    }[error.fault]


def fault(problem: Mapping[str, Any]) -> str:
    """Return what is wrong with a line of a list, and what to do."""
    kind = problem.get("fault", "")
    value, detail = problem.get("value", ""), problem.get("detail", "")
    known = {
        Fault.ADDRESS_MISSING: _("The address is missing."),
        Fault.ADDRESS_INVALID: _("“%(value)s” is not an address that can receive mail.", value=value),
        Fault.ADDRESS_LABEL: _(
            "“%(value)s” has a + in it. Leave the + and what follows out; such mail arrives anyway.", value=value
        ),
        Fault.DOMAIN_FOREIGN: _("%(domain)s is not one of your domains. Add it under Domains first.", domain=detail),
        Fault.DOMAIN_UNVERIFIED: _(
            "%(domain)s is not verified yet. Finish its set-up under Domains first.", domain=detail
        ),
        Fault.TAKEN: _("Somebody has %(value)s already.", value=value),
        Fault.TWICE: _("%(value)s is in line %(line)s as well.", value=value, line=problem.get("other_line", 0)),
        Fault.NAME_INVALID: _("The name is too long, or has characters that cannot be shown."),
        Fault.QUOTA_INVALID: _("“%(value)s” is no amount of storage. Write it like 5 GB.", value=value),
        Fault.PASSWORD_UNSUITABLE: _("The password is too short. It needs at least 8 characters."),
        Fault.GROUP_UNKNOWN: _("There is no group %(value)s. Make it first, or leave it out.", value=value),
        Fault.NO_SEAT: _("Your plan has no room for this user. Choose a larger plan under Billing."),
    }
    if kind in known:
        return known[Fault(kind)]
    error = getattr(errors, kind, None)
    return of_kind(error if isinstance(error, type) and issubclass(error, errors.MailError) else errors.Conflict)


def protocol_name(protocol: Protocol) -> str:
    """Return what people know a protocol by."""
    return {
        Protocol.IMAP: _("IMAP: mail programs and phones"),
        Protocol.POP3: _("POP3: programs that fetch mail"),
        Protocol.SMTP: _("SMTP: sending from programs and phones"),
        Protocol.MANAGESIEVE: _("ManageSieve: filter scripts from programs"),
    }.get(protocol, protocol.value)


def scope_name(scope: Scope) -> str:
    """Return what an app password opens."""
    return {
        Scope.ALL: _("reading and sending"),
        Scope.IMAP: _("reading (IMAP)"),
        Scope.POP3: _("fetching (POP3)"),
        Scope.SMTP: _("sending (SMTP)"),
        Scope.SIEVE: _("filter scripts"),
    }[scope]


def posters_name(posters: Posters) -> str:
    """Return who may write to a group."""
    return {
        Posters.ANYONE: _("Anybody"),
        Posters.TENANT: _("People of your organisation"),
        Posters.MEMBERS: _("Members of the group"),
    }[posters]
