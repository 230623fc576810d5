"""Forms about members: shapes only."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import SelectField, SelectMultipleField, StringField
from wtforms.validators import InputRequired, Length
from wtforms.widgets import CheckboxInput, ListWidget

from portal.choices import choices
from portal.permissions import MEMBER_ROLES


class InviteForm(FlaskForm):
    """Whom to ask, to be what."""

    email = StringField(
        _("Email address"),
        validators=[InputRequired(_("Enter an address.")), Length(max=320)],
        render_kw={"autocomplete": "off", "inputmode": "email", "autocapitalize": "off", "spellcheck": "false"},
    )
    role = SelectField(_("Role"), choices=choices({role.value: role.value for role in reversed(MEMBER_ROLES)}))


class RoleForm(FlaskForm):
    """Another role."""

    role = SelectField(_("Role"), choices=choices({role.value: role.value for role in MEMBER_ROLES}))


class SecondFactorForm(FlaskForm):
    """Which roles must have a second factor."""

    roles = SelectMultipleField(
        _("Roles"),
        choices=choices({role.value: role.value for role in MEMBER_ROLES}),
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )


class SwitchForm(FlaskForm):
    """On which organisation to work."""

    organisation = StringField(validators=[InputRequired(), Length(max=40)])
