"""The cookie that says which session a browser has."""

from __future__ import annotations

from flask import request, session

from mailcore.model.secret import Secret
from portal.accounts.sessions import Browser

TOKEN = "signed_in"  # noqa: S105  a name
KEPT = ("language",)
"""What stays when somebody signs in or out."""


def browser() -> Browser:
    """Return from where this request comes."""
    return Browser(request.remote_addr or "", request.headers.get("User-Agent", ""))


def sign_in(token: Secret) -> None:
    """Begin anew with this session: nothing that was in the cookie before opens anything."""
    start_over()
    session[TOKEN] = token.reveal_text()
    session.permanent = False


def start_over() -> None:
    """Forget what the cookie held, its form token included."""
    kept = {name: session[name] for name in KEPT if name in session}
    session.clear()
    session.update(kept)
