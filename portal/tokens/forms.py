"""The form of a new token."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.validators import InputRequired, Length

from mailcore.model.roles import Role
from portal.choices import choices

ROLES = {
    Role.MANAGER: _("Manage people, addresses and domains; reads no mail"),
    Role.WEBMAIL: _("Act as a webmail: read and send for everybody"),
    Role.DOWNLOADER: _("Read messages"),
    Role.AUDIT_CLIENT: _("Read audits of mailboxes"),
    Role.ROOT: _("Everything of this organisation"),
}
"""Roles that a tenant's token may have, the least mighty first, and what they are for."""
DAYS = {
    "30": _("30 days"),
    "90": _("90 days"),
    "365": _("One year"),
    "": _("Never: until it is revoked"),
}


class TokenForm(FlaskForm):
    """What it is for, what it may do, and until when."""

    description = StringField(
        _("What it is for"), validators=[InputRequired(_("Say what it is for.")), Length(max=200)]
    )
    role = SelectField(_("What it may do"), choices=choices({role.value: text for role, text in ROLES.items()}))
    days = SelectField(_("Good for"), choices=choices(DAYS), default="90")
