"""Forms about domains: shapes only."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, PasswordField, SelectField, SelectMultipleField, StringField
from wtforms.validators import InputRequired, Length, Optional

from mailcore.model.mta_sts import StsMode
from portal.choices import choices
from portal.domains.models import DkimWay


class AddDomainForm(FlaskForm):
    """A name."""

    name = StringField(
        _("Domain"),
        validators=[InputRequired(_("Enter a domain such as example.org.")), Length(max=300)],
        render_kw={"autocapitalize": "off", "spellcheck": "false", "autocomplete": "off", "inputmode": "url"},
    )


class StsForm(FlaskForm):
    """How strict the MTA-STS policy is."""

    mode = SelectField(
        _("Policy"),
        validators=[InputRequired()],
        choices=choices(
            {
                StsMode.TESTING.value: _("Testing: senders report, and deliver all the same"),
                StsMode.ENFORCE.value: _("Enforce: senders deliver by verified TLS only"),
                StsMode.NONE.value: _("None: senders forget the policy"),
            }
        ),
    )


class DkimWayForm(FlaskForm):
    """How keys are published."""

    way = SelectField(
        _("Way"),
        validators=[InputRequired()],
        choices=choices(
            {
                DkimWay.CNAME.value: _("Two CNAMEs: keys change without your doing"),
                DkimWay.TEXT.value: _("Text records: you publish each new key"),
            }
        ),
    )


class ProviderForm(FlaskForm):
    """Which provider, its token, and which records."""

    provider = SelectField(_("DNS provider"), validators=[InputRequired()])
    token = PasswordField(_("API token"), validators=[Optional(), Length(max=1000)], render_kw={"autocomplete": "off"})
    zone = StringField(_("Zone"), validators=[Optional(), Length(max=253)])
    keep = BooleanField(_("Keep the token, sealed, for the next time"))
    records = SelectMultipleField(_("Records"), validate_choice=False)


class WriteForm(FlaskForm):
    """What a preview handed on."""

    plan = HiddenField(validators=[InputRequired()])
    handed_on = HiddenField(validators=[InputRequired(), Length(max=8000)])
