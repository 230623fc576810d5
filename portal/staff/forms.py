"""Forms of staff and of grants: shapes only."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import BooleanField, SelectField, StringField
from wtforms.validators import InputRequired, Length

from portal.choices import choices


class GrantForm(FlaskForm):
    """For how long, why, and whether staff may act."""

    reason = StringField(_("What support is to look at"), validators=[InputRequired(), Length(max=300)])
    hours = SelectField(
        _("For"),
        choices=choices({"1": _("1 hour"), "4": _("4 hours"), "24": _("1 day"), "72": _("3 days")}),
        default="4",
        validators=[InputRequired()],
    )
    may_write = BooleanField(_("Support may also act for us, not only look"))


class ReasonForm(FlaskForm):
    """Why something is done."""

    reason = StringField(_("Reason"), validators=[InputRequired(), Length(max=300)])


class SuspendForm(ReasonForm):
    """Why, and how to object."""

    appeal = StringField(_("How the owner can object"), validators=[InputRequired(), Length(max=300)])
