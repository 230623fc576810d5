"""What pages about holds and suppressed addresses read and show."""

from __future__ import annotations

import re
from typing import Any, Final

from bson import ObjectId
from flask_babel import gettext as _

from mailcore.errors import UserNotFound
from mailcore.model.ids import UserId
from mailcore.services.outbound.suppressions import COMPLAINED_OF, Suppression

_REFUSED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3} ")


def whose_hold(text: str) -> UserId | None:
    """Return whose hold a form names; nobody is the whole organisation.

    Raises:
        UserNotFound: it names somebody, and there is nobody of that id.
    """
    if not text:
        return None
    if not ObjectId.is_valid(text):
        raise UserNotFound(text[:64])
    return UserId(ObjectId(text))


def why_suppressed(one: Suppression) -> Any:
    """Return why nothing is sent to an address: our words translated, another server's answer as it was."""
    if COMPLAINED_OF.fullmatch(one.reason):
        return _("The recipient reported mail as spam.")
    if _REFUSED.match(one.reason):
        return _("Refused for good: %(answer)s", answer=one.reason)
    return one.reason
