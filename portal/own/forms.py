"""Forms of the own account: shapes only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateTimeLocalField,
    Field,
    HiddenField,
    PasswordField,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import EqualTo, InputRequired, Length, Optional, ValidationError

from mailcore.errors import ValueInvalid
from mailcore.model.access import Scope
from mailcore.model.forward_target import clean_target
from portal.choices import choices
from portal.people.addresses import several

PASSWORD_NEEDED = _("Enter your password.")


def mail_may_go_to(_form: FlaskForm, field: Field) -> None:
    """Refuse what is neither an address nor a URL that mail can be sent on to, and name it."""
    for target in several(field.data or ""):
        try:
            clean_target(target)
        except ValueInvalid as error:
            told = gettext(
                "Mail cannot be sent on to “%(target)s”. Write it like name@example.org.", target=target[:100]
            )
            raise ValidationError(told) from error


class OwnSignInForm(FlaskForm):
    """Mail address and password."""

    address = StringField(_("Mail address"), validators=[InputRequired(_("Enter your address.")), Length(max=320)])
    password = PasswordField(_("Password"), validators=[InputRequired(PASSWORD_NEEDED), Length(max=1024)])


class SecondStepForm(FlaskForm):
    """A code of an app, or one of those kept for when it is lost; or what a passkey answered."""

    code = StringField(_("Code"), validators=[Length(max=64)])
    credential = HiddenField(validators=[Length(max=20_000)])


class PasswordForm(FlaskForm):
    """Another password; the present one proves who it is."""

    present = PasswordField(_("Present password"), validators=[InputRequired(PASSWORD_NEEDED), Length(max=1024)])
    password = PasswordField(
        _("New password"), validators=[InputRequired(_("Enter a new password.")), Length(max=1024)]
    )
    again = PasswordField(
        _("New password once more"), validators=[EqualTo("password", _("The two passwords differ. Enter them again."))]
    )


class ConfirmForm(FlaskForm):
    """The password, before something that concerns signing in."""

    present = PasswordField(_("Your password"), validators=[InputRequired(PASSWORD_NEEDED), Length(max=1024)])


class PasskeyForm(ConfirmForm):
    """A new passkey."""

    name = StringField(_("Name of the device"), validators=[InputRequired(_("Enter a name.")), Length(max=100)])


class CodeForm(FlaskForm):
    """The first code of an app."""

    code = StringField(_("Code"), validators=[InputRequired(_("Enter the code that the app shows.")), Length(max=16)])


class AppPasswordForm(FlaskForm):
    """An app password for one program."""

    description = StringField(_("What for"), validators=[InputRequired(_("Enter what it is for.")), Length(max=200)])
    opens = SelectField(_("Opens"), choices=[], default="all")
    present = PasswordField(_("Your password"), validators=[InputRequired(PASSWORD_NEEDED), Length(max=1024)])

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.opens.choices = choices(
            {
                "all": _("Reading and sending: mail programs and phones"),
                "send": _("Sending only: printers, scanners and shops"),
                "read": _("Reading only: archives and helpers"),
            }
        )

    def scopes(self) -> tuple[Scope, ...]:
        """Return what was chosen."""
        return {"send": (Scope.SMTP,), "read": (Scope.IMAP, Scope.POP3)}.get(self.opens.data, (Scope.ALL,))


class AutoreplyForm(FlaskForm):
    """An automatic answer."""

    is_on = BooleanField(_("Answer mail for me"))
    subject = StringField(_("Subject"), validators=[Length(max=200)])
    text = TextAreaField(_("Text"), validators=[Length(max=20_000)])
    start = DateTimeLocalField(_("From"), validators=[Optional()], format=["%Y-%m-%dT%H:%M", "%Y-%m-%d"])
    end = DateTimeLocalField(_("Until"), validators=[Optional()], format=["%Y-%m-%dT%H:%M", "%Y-%m-%d"])

    def validate_text(self, field: Field) -> None:
        """Refuse an answer that says nothing."""
        if self.is_on.data and not (field.data or "").strip():
            raise ValidationError(gettext("Write what the answer says."))

    def validate_end(self, field: Field) -> None:
        """Refuse an answer that ends before it begins."""
        if field.data and self.start.data and field.data <= self.start.data:
            raise ValidationError(gettext("This is before it begins."))


class ForwardingForm(FlaskForm):
    """Where all mail goes on to."""

    targets = TextAreaField(_("Send my mail on to"), validators=[Length(max=5000), mail_may_go_to])
    keeps = BooleanField(_("Keep a copy here"))


class FilterForm(FlaskForm):
    """One rule: what it looks for, and what it does."""

    name = StringField(_("Name"), validators=[Length(max=200)])
    sender = StringField(_("From has"), validators=[Length(max=200)])
    recipient = StringField(_("To has"), validators=[Length(max=200)])
    subject = StringField(_("Subject has"), validators=[Length(max=200)])
    text = StringField(_("Text has"), validators=[Length(max=200)])
    attachments = SelectField(_("Attachments"), choices=[], default="")
    mailbox = SelectField(_("Move to"), choices=[], default="")
    seen = BooleanField(_("Mark as read"))
    flagged = BooleanField(_("Mark with a star"))
    spam = SelectField(_("Spam"), choices=[], default="")
    delete = BooleanField(_("Delete"))
    targets = StringField(_("Send on to"), validators=[Length(max=1000), mail_may_go_to])
    is_on = BooleanField(_("This rule is on"), default=True)
    stops = BooleanField(_("Look at no rule after this one"))

    def __init__(self, *arguments: Any, mailboxes: Mapping[str, str] = {}, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.attachments.choices = choices({"": _("does not matter"), "yes": _("with attachments"), "no": _("without")})
        self.spam.choices = choices({"": _("as the filter finds"), "yes": _("is spam"), "no": _("is never spam")})
        self.mailbox.choices = choices({"": _("leave it where it goes"), **mailboxes})


class KeysForm(FlaskForm):
    """Public keys, and what is encrypted with them."""

    keys = TextAreaField(_("Public key"), validators=[Length(max=200_000)])
    of_stored = BooleanField(_("Encrypt what arrives before it is stored"))
    of_forwarded = BooleanField(_("Encrypt what is sent on"))

    def validate_keys(self, field: Field) -> None:
        """Refuse to encrypt with nothing."""
        if (self.of_stored.data or self.of_forwarded.data) and not (field.data or "").strip():
            raise ValidationError(gettext("Give a key, or untick both: nothing can be encrypted without one."))


class RestoreForm(FlaskForm):
    """Which deleted mail comes back."""

    mailbox = HiddenField(validators=[Length(max=1000)])
    since = HiddenField(validators=[InputRequired(), Length(max=40)])
