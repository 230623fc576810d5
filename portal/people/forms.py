"""Forms about people: shapes only; what may be is the services' question."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    FileField,
    RadioField,
    SelectMultipleField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import InputRequired, Length
from wtforms.widgets import CheckboxInput, ListWidget

from mailcore.model.access import CAN_BE_DISABLED, Protocol
from mailcore.model.routing import Posters
from portal.choices import choices
from portal.people.sizes import size_of
from portal.people.words import posters_name, protocol_name

ADDRESS = _("Address")
ADDRESS_MISSING = _("Enter an address.")


def is_size(_form: FlaskForm, field: Any) -> None:
    """Refuse what is no size."""
    try:
        size_of(field.data or "")
    except ValueError:
        raise ValidationError(_("Write an amount such as 5 GB, or leave it empty.")) from None


class Checkboxes(SelectMultipleField):
    """Several of few choices."""

    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()


class UserForm(FlaskForm):
    """A new user."""

    address = StringField(ADDRESS, validators=[InputRequired(ADDRESS_MISSING), Length(max=320)])
    name = StringField(_("Name"), validators=[Length(max=200)])
    quota = StringField(_("Storage"), validators=[Length(max=20), is_size])


class EditUserForm(FlaskForm):
    """What is easily changed of a user."""

    name = StringField(_("Name"), validators=[Length(max=200)])
    quota = StringField(_("Storage"), validators=[Length(max=20), is_size])


class AddressForm(FlaskForm):
    """One address."""

    address = StringField(ADDRESS, validators=[InputRequired(ADDRESS_MISSING), Length(max=320)])


class ProtocolsForm(FlaskForm):
    """Which protocols are open."""

    protocols = Checkboxes(_("Ways to the mail"), choices=[])

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.protocols.choices = choices({one.value: protocol_name(one) for one in Protocol if one in CAN_BE_DISABLED})

    @classmethod
    def showing(cls, disabled: Collection[Protocol]) -> ProtocolsForm:
        """Return the form with those ticked that are not disabled."""
        return cls(formdata=None, data={"protocols": [one.value for one in CAN_BE_DISABLED - set(disabled)]})

    def disabled(self) -> frozenset[Protocol]:
        """Return those that are not ticked."""
        return frozenset(one for one in CAN_BE_DISABLED if one.value not in (self.protocols.data or []))


class GroupForm(FlaskForm):
    """What a group is."""

    name = StringField(_("Name"), validators=[Length(max=200)])
    members = TextAreaField(_("Members"), validators=[Length(max=100_000)])
    posters = RadioField(_("Who may write to it"), choices=[], default=Posters.ANYONE.value)
    moderators = TextAreaField(_("Moderators"), validators=[Length(max=10_000)])

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.posters.choices = choices({one.value: posters_name(one) for one in Posters})


class NewGroupForm(GroupForm):
    """A new group."""

    address = StringField(ADDRESS, validators=[InputRequired(ADDRESS_MISSING), Length(max=320)])


class SharedMailboxForm(FlaskForm):
    """A new shared mailbox."""

    address = StringField(ADDRESS, validators=[InputRequired(ADDRESS_MISSING), Length(max=320)])
    name = StringField(_("Name"), validators=[Length(max=200)])
    delegates = TextAreaField(_("Who reads it and sends as it"), validators=[Length(max=10_000)])


class DelegatesForm(FlaskForm):
    """Who reads a shared mailbox."""

    delegates = TextAreaField(_("Who reads it and sends as it"), validators=[Length(max=10_000)])


class CatchAllForm(FlaskForm):
    """Who gets what nobody else gets."""

    pattern = StringField(_("Domain or pattern"), validators=[InputRequired(_("Enter a domain.")), Length(max=320)])
    address = StringField(_("Goes to"), validators=[InputRequired(ADDRESS_MISSING), Length(max=320)])


class DomainAliasForm(FlaskForm):
    """A domain that stands for another."""

    alias = StringField(_("Domain that stands for another"), validators=[InputRequired(_("Enter a domain."))])
    domain = StringField(_("Stands for"), validators=[InputRequired(_("Enter a domain."))])


class ImportForm(FlaskForm):
    """A list of people."""

    file = FileField(_("CSV file"), validators=[InputRequired(_("Choose a file."))])


class SettingsForm(ProtocolsForm):
    """What holds for everybody."""


class ConfirmForm(FlaskForm):
    """Nothing but the form token."""

    sure = BooleanField(_("I am sure"))
