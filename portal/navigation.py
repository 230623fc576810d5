"""What stands in the navigation: one line for each page that is reached from everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask_babel import lazy_gettext as _

from portal.access import SignedIn
from portal.permissions import Permission


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; shown to whoever has the permission."""

    label: Any
    endpoint: str
    permission: Permission
    icon: str


ENTRIES: tuple[Entry, ...] = (
    Entry(_("Overview"), "overview.home", Permission.VIEW_ORGANISATION, "home"),
    Entry(_("Domains"), "domains.index", Permission.VIEW_DOMAINS, "globe"),
    Entry(_("People"), "people.index", Permission.VIEW_PEOPLE, "people"),
    Entry(_("Groups"), "groups.index", Permission.VIEW_PEOPLE, "group"),
    Entry(_("Shared mailboxes"), "shared_mailboxes.index", Permission.VIEW_PEOPLE, "inbox"),
    Entry(_("Catch-all"), "routing.index", Permission.VIEW_PEOPLE, "mail"),
    Entry(_("Deliveries"), "deliveries.index", Permission.VIEW_DELIVERIES, "mail"),
    Entry(_("Statistics"), "dashboards.index", Permission.VIEW_DELIVERIES, "list"),
    Entry(_("Members"), "members.index", Permission.VIEW_MEMBERS, "shield"),
    Entry(_("Plan and billing"), "billing.index", Permission.VIEW_BILLING, "card"),
    Entry(_("API tokens"), "tokens.index", Permission.MANAGE_TOKENS, "key"),
    Entry(_("Support"), "support.index", Permission.MANAGE_ORGANISATION, "staff"),
    Entry(_("Audit log"), "audit.index", Permission.VIEW_AUDIT, "list"),
    Entry(_("Organisations"), "staff.home", Permission.STAFF_VIEW, "people"),
    Entry(_("Abuse"), "staff_abuse.index", Permission.STAFF_VIEW, "shield"),
    Entry(_("Statistics"), "staff_charts.index", Permission.STAFF_VIEW, "list"),
    Entry(_("Features"), "staff_features.index", Permission.STAFF_VIEW, "swap"),
    Entry(_("My account"), "own.home", Permission.OWN_MAIL, "home"),
    Entry(_("App passwords"), "own_app_passwords.index", Permission.OWN_MAIL, "key"),
    Entry(_("Filters"), "own_filters.index", Permission.OWN_MAIL, "filter"),
    Entry(_("Away and forwarding"), "own_away.index", Permission.OWN_MAIL, "swap"),
    Entry(_("Signing in"), "own_security.index", Permission.OWN_MAIL, "lock"),
    Entry(_("Sign-in log"), "own_data.activity", Permission.OWN_MAIL, "clock"),
    Entry(_("Sent mail"), "own_sent.index", Permission.OWN_MAIL, "out"),
    Entry(_("Deleted mail"), "own_data.deleted_mail", Permission.OWN_MAIL, "inbox"),
    Entry(_("Encryption"), "own_keys.index", Permission.OWN_MAIL, "shield"),
    Entry(_("Take mail along"), "own_exports.index", Permission.OWN_MAIL, "download"),
    Entry(_("Set up programs"), "own_set_up.index", Permission.OWN_MAIL, "mail"),
)
"""In the order in which they are shown."""


def entries_for(who: SignedIn | None, exists: Callable[[str], bool]) -> list[Entry]:
    """Return what somebody sees; a part that is not installed has no line."""
    if who is None:
        return []
    return [entry for entry in ENTRIES if who.may(entry.permission) and exists(entry.endpoint)]


def current(entries: list[Entry], path: str, url: Callable[[str], str]) -> Entry | None:
    """Return the line to which a page belongs: the one whose path the page's begins with, the longest of them."""
    below = {entry.endpoint: url(entry.endpoint).rstrip("/") + "/" for entry in entries}
    fitting = [entry for entry in entries if f"{path}/".startswith(below[entry.endpoint])]
    return max(fitting, key=lambda entry: len(below[entry.endpoint]), default=None)
