"""How values are shown: dates, browsers, sizes, names of roles."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum

from flask import Flask
from flask_babel import format_date, format_datetime, format_decimal
from flask_babel import gettext as _
from markupsafe import Markup
from webauthn.helpers import bytes_to_base64url

from portal.permissions import Role

_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl"))
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip


def set_up(app: Flask) -> None:
    """Give templates the filters `date`, `moment`, `utc`, `browser`, `size`, `state`, `base64url`, and `role_name`."""
    app.add_template_filter(date)
    app.add_template_filter(moment)
    app.add_template_filter(utc)
    app.add_template_filter(browser)
    app.add_template_filter(size)
    app.add_template_filter(state)
    app.add_template_filter(bytes_to_base64url, "base64url")
    app.add_template_global(role_name)


def date(at: datetime | None) -> str:
    """Return a day."""
    return format_date(at, "medium") if at is not None else _("never")


def utc(at: datetime | None) -> str:
    """Return a day and time, UTC."""
    return f"{format_datetime(at, 'medium')} UTC" if at is not None else _("never")


def moment(at: datetime | None) -> Markup | str:
    """Return a day and time that scripts show in the reader's zone, and that is UTC without them."""
    if at is None:
        return utc(at)
    known = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return Markup('<time datetime="{}">{}</time>').format(known.isoformat(), utc(at))


def browser(user_agent: str) -> str:
    """Return what a browser calls itself, in two words."""
    name = next((shown for sign, shown in _BROWSERS if sign in user_agent), "")
    system = next((shown for sign, shown in _SYSTEMS if sign in user_agent), "")
    found = re.sub(r"\s+", " ", f"{name} {system}").strip()
    return found or user_agent[:40] or _("unknown")


def state(value: StrEnum | str) -> str:
    """Return a state of an organisation or a user, or a standing, in a word or two."""
    return {
        "active": _("active"),
        "suspended": _("suspended"),
        "disabled": _("mail refused"),
        "closed": _("closed"),
        "full": _("active"),
        "no_sending": _("sending is off"),
        "read_only": _("read-only"),
    }[value]


def size(size_bytes: int | None) -> str:
    """Return a number of bytes as people say it; None is without limit."""
    if size_bytes is None:
        return _("unlimited")
    amount = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            digits = "#,##0" if amount >= 10 or unit == "B" else "#,##0.0"
            return f"{format_decimal(amount, format=digits)} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def role_name(role: Role | str) -> str:
    """Return what a role is called."""
    names = {
        Role.OWNER: _("Owner"),
        Role.ADMIN: _("Admin"),
        Role.BILLING: _("Billing"),
        Role.HELPDESK: _("Helpdesk"),
        Role.AUDITOR: _("Auditor"),
        Role.MAIL_USER: _("Mail user"),
        Role.STAFF: _("Staff"),
    }
    return names[Role(role)]
