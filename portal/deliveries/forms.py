"""What is looked for among deliveries."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import DateField, StringField
from wtforms.validators import Length, Optional

LONGEST = 998


class DaysForm(FlaskForm):
    """From which days; sent by GET, so that the address can be kept."""

    class Meta:
        """It changes nothing."""

        csrf = False

    since = DateField(_("First day"), validators=[Optional()])
    until = DateField(_("Last day"), validators=[Optional()])

    def starts_at(self) -> datetime | None:
        """Return when the first day begins, UTC."""
        return _begins(self.since.data)

    def ends_at(self) -> datetime | None:
        """Return when the last day is over, UTC."""
        day = self.until.data
        return _begins(day + timedelta(days=1)) if day is not None and day < date.max else None


class SearchForm(DaysForm):
    """All that is given has to fit."""

    sender = StringField(_("Sender"), validators=[Optional(), Length(max=LONGEST)])
    recipient = StringField(_("Recipient"), validators=[Optional(), Length(max=LONGEST)])
    message_id = StringField("Message-ID", validators=[Optional(), Length(max=LONGEST)])
    queue_id = StringField(_("Queue id"), validators=[Optional(), Length(max=LONGEST)])

    def text(self, name: str) -> str:
        """Return what is looked for in a field."""
        return (self[name].data or "").strip()


def _begins(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)
