"""The filter of the audit log."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import DateField, SelectField, StringField
from wtforms.validators import Length, Optional

from portal.audit.words import SUBJECTS
from portal.choices import choices


class FilterForm(FlaskForm):
    """Which events are wanted; sent by GET, so that the address can be kept."""

    class Meta:
        """It changes nothing."""

        csrf = False

    actor = StringField(_("Who"), validators=[Optional(), Length(max=200)])
    subject = SelectField(
        _("About"),
        choices=choices({"": _("Everything")} | {one.value: said for one, said in SUBJECTS.items()}),
        default="",
    )
    since = DateField(_("First day"), validators=[Optional()])
    until = DateField(_("Last day"), validators=[Optional()])
