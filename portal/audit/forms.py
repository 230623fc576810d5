"""The filter of the audit log."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import DateField, StringField
from wtforms.validators import Length, Optional


class FilterForm(FlaskForm):
    """Which events are wanted; sent by GET, so that the address can be kept."""

    class Meta:
        """It changes nothing."""

        csrf = False

    actor = StringField(_("Who"), validators=[Optional(), Length(max=200)])
    what = StringField(_("What"), validators=[Optional(), Length(max=80)])
    since = DateField(_("From"), validators=[Optional()])
    until = DateField(_("Until"), validators=[Optional()])
