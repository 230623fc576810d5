"""Forms of signing in and up: shapes only."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, SelectField, StringField
from wtforms.validators import InputRequired, Length, Optional

EMAIL = {"autocomplete": "username", "inputmode": "email", "autocapitalize": "off", "spellcheck": "false"}
MAX_CREDENTIAL = 16_384
"""Characters of what a passkey answers."""


class SignInForm(FlaskForm):
    """Address and password."""

    email = StringField(
        _("Email address"),
        validators=[InputRequired(_("Enter your address.")), Length(max=320)],
        render_kw=EMAIL | {"autocomplete": "username webauthn"},
    )
    password = PasswordField(
        _("Password"),
        validators=[InputRequired(_("Enter your password.")), Length(max=1024)],
        render_kw={"autocomplete": "current-password"},
    )


class SecondStepForm(FlaskForm):
    """A code of the app, or a recovery code."""

    code = StringField(
        _("Code"),
        validators=[InputRequired(_("Enter the code.")), Length(max=40)],
        render_kw={"autocomplete": "one-time-code", "autocapitalize": "off", "spellcheck": "false"},
    )


class SignUpForm(FlaskForm):
    """Who signs up, and for what."""

    organisation = StringField(
        _("Name of your organisation"),
        validators=[InputRequired(_("Enter the name of your organisation.")), Length(max=200)],
        render_kw={"autocomplete": "organization"},
    )
    name = StringField(
        _("Your name"),
        validators=[InputRequired(_("Enter your name.")), Length(max=200)],
        render_kw={"autocomplete": "name"},
    )
    email = StringField(
        _("Your email address"),
        validators=[InputRequired(_("Enter your address.")), Length(max=320)],
        render_kw=EMAIL | {"autocomplete": "email"},
    )
    region = SelectField(_("Where your mail is kept"))


class NewPasswordForm(FlaskForm):
    """A password that is chosen."""

    password = PasswordField(
        _("New password"),
        validators=[InputRequired(_("Choose a password of at least 8 characters.")), Length(max=1024)],
        render_kw={"autocomplete": "new-password", "minlength": "8"},
    )


class ConfirmForm(FlaskForm):
    """How a new member will sign in: one of both."""

    password = PasswordField(
        _("Password"), validators=[Optional(), Length(max=1024)], render_kw={"autocomplete": "new-password"}
    )
    credential = HiddenField(validators=[Optional(), Length(max=MAX_CREDENTIAL)])


class InvitationForm(ConfirmForm):
    """Who accepts an invitation."""

    name = StringField(_("Your name"), validators=[Optional(), Length(max=200)], render_kw={"autocomplete": "name"})


class ResetForm(FlaskForm):
    """Who forgot a password."""

    email = StringField(
        _("Email address"), validators=[InputRequired(_("Enter your address.")), Length(max=320)], render_kw=EMAIL
    )


class PasswordForm(FlaskForm):
    """One's own password, to prove who one is."""

    password = PasswordField(
        _("Password"),
        validators=[InputRequired(_("Enter your password.")), Length(max=1024)],
        render_kw={"autocomplete": "current-password"},
    )


class TotpForm(FlaskForm):
    """The first code of a new seed."""

    code = StringField(
        _("Code that the app shows"),
        validators=[InputRequired(_("Enter the code.")), Length(max=10)],
        render_kw={"autocomplete": "one-time-code", "inputmode": "numeric"},
    )
