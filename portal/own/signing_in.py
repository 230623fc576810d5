"""How a mail user whose password was right goes on, from whichever page it was given at."""

from __future__ import annotations

from typing import Final

from flask import redirect, session, url_for
from flask.typing import ResponseReturnValue

from mailcore.model.factors import CHECKED
from mailcore.model.tenant import User
from mailcore.services.accounts.identity import Identity
from portal.accounts import cookies
from portal.accounts.sessions import TEMPORARY
from portal.mail_plane import mail
from portal.own import sessions
from portal.own.sessions import SignedOutMeanwhile

STEP: Final = "own_step"
"""Key of the cookie's note between password and second factor: user, nonce, and whether another password is due."""


def go_on(identity: Identity, wanted: str | None) -> ResponseReturnValue:
    """Ask for the second factor where there is one that is checked here, else let in.

    Raises:
        SignedOutMeanwhile: since the password was looked at it was changed.
    """
    cookies.start_over()
    if CHECKED & set(identity.second_step):
        nonce = mail().second_factors.begin_step(identity).reveal_text()
        session[STEP] = [str(identity.user_id), nonce, identity.password_change_needed]
        return redirect(url_for("own.second_step", next=wanted), code=303)
    user = mail().users.get(identity.user_id)
    if user.auth_version != identity.auth_version:
        raise SignedOutMeanwhile
    return enter(user, "password", wanted, change_needed=identity.password_change_needed)


def enter(user: User, factor: str, wanted: str | None, *, change_needed: bool) -> ResponseReturnValue:
    """Open a session of the user as it was verified; go where one wanted to go, or first to another password."""
    how = TEMPORARY if change_needed else factor
    cookies.sign_in(sessions.open_session(user, how, cookies.browser()))
    place = url_for("own_security.password") if change_needed else wanted or url_for("own.home")
    return redirect(place, code=303)
