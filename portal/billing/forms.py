"""Forms of billing: shapes only."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import DecimalField, HiddenField, IntegerField, SelectField, StringField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from portal.choices import choices

TAX_ID_TYPES = {"eu_vat": _("VAT number in the EU"), "gb_vat": _("VAT number in the UK"), "ch_vat": "CH MWST"}


class CheckoutForm(FlaskForm):
    """Which plan, and how much of it."""

    plan = HiddenField(validators=[InputRequired()])
    quantity = IntegerField(_("How many"), validators=[InputRequired(), NumberRange(1, 100_000)])


class ChangeForm(FlaskForm):
    """Another number of seats or GB, or another plan."""

    plan = HiddenField()
    """"" keeps the plan."""
    quantity = IntegerField(_("How many"), validators=[InputRequired(), NumberRange(1, 100_000)])


class SpendCapForm(FlaskForm):
    """What a month may cost; empty is without a cap."""

    amount = DecimalField(_("At most each month, in euros"), validators=[Optional(), NumberRange(1)], places=2)


class CouponForm(FlaskForm):
    """The code of a coupon."""

    code = StringField(_("Coupon code"), validators=[InputRequired(), Length(max=80)])


class TaxIdForm(FlaskForm):
    """A number that invoices bear."""

    kind = SelectField(_("Kind"), choices=choices(TAX_ID_TYPES), validators=[InputRequired()])
    value = StringField(_("Number"), validators=[InputRequired(), Length(max=40)])
