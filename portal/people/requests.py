"""What requests about people have in common: whose user it is, and how a refusal is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bson import ObjectId
from flask import abort, flash, redirect
from werkzeug.wrappers import Response

from mailcore.errors import MailError, NotFound, Unavailable
from mailcore.model.ids import UserId
from mailcore.model.tenant import User
from portal.mail_plane import current_tenant, mail
from portal.refusals import refusal

PAGE: Final = 50


def id_of(text: str) -> ObjectId:
    """Return the id that a path or field names; what is none answers 404."""
    if len(text) != 24 or not ObjectId.is_valid(text):
        abort(404)
    return ObjectId(text)


def user_of_tenant(text: str) -> User:
    """Return a user of the organisation; 404 for what is none, another's just as well. One round trip."""
    user = mail().users.get(UserId(id_of(text)))
    if user.tenant_id != current_tenant():
        abort(404)
    return user


def attempt(change: Callable[[], object], done: str | None, target: str, *, anchor: str = "") -> Response:
    """Make a change, say how it went, and go where it is shown; without `done` the caller says what became of it.

    A refusal is told in words; what is not there answers 404, a store that is away 503.
    """
    try:
        change()
    except (NotFound, Unavailable) as error:
        if type(error).__name__ not in {"AddressNotFound", "DomainNotFound"}:
            raise
        flash(refusal(error), "error")
    except MailError as error:
        flash(refusal(error), "error")
    else:
        if done is not None:
            flash(done, "success")
    return redirect(target + (f"#{anchor}" if anchor else ""), code=303)
