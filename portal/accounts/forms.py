"""Forms of signing in and up: shapes only."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length


class SignInForm(FlaskForm):
    """Address and password."""

    email = StringField(_("Email address"), validators=[InputRequired(_("Enter your address.")), Length(max=320)])
    password = PasswordField(_("Password"), validators=[InputRequired(_("Enter your password.")), Length(max=1024)])
