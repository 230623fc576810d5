"""The cookie that says which session a browser has, and what it is in the middle of."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from flask import request, session

from mailcore.model.secret import Secret
from portal.accounts.passkeys import browser_binding
from portal.accounts.sessions import Browser

TOKEN: Final = "signed_in"  # noqa: S105  a name
SECOND_STEP: Final = "second_step"
SECOND_STEP_S: Final = 300
KEPT: Final = ("language",)
"""What stays when somebody signs in or out."""


def browser() -> Browser:
    """Return from where this request comes."""
    return Browser(request.remote_addr or "", request.headers.get("User-Agent", ""))


def sign_in(token: Secret) -> None:
    """Begin anew with this session: nothing that was in the cookie before opens anything."""
    start_over()
    session[TOKEN] = token.reveal_text()


def start_over() -> None:
    """Forget what the cookie held, its form token included."""
    kept = {name: session[name] for name in KEPT if name in session}
    session.clear()
    session.update(kept)


def await_second_step(member_id: UUID, version: str) -> None:
    """Remember which member's password was right, and which it was; the second factor is still to come."""
    start_over()
    session[SECOND_STEP] = [str(member_id), version, int(time.time())]


def second_step() -> tuple[UUID, str] | None:
    """Return whose password was right within the last five minutes, and which it was, or None."""
    found = session.get(SECOND_STEP)
    if not isinstance(found, list) or len(found) != 3 or time.time() - int(found[2]) > SECOND_STEP_S:
        return None
    return UUID(found[0]), str(found[1])


def member_of_second_step() -> UUID | None:
    """Return the member of the second step, or None."""
    found = second_step()
    return found[0] if found is not None else None


def binding() -> str:
    """Return what binds a passkey's challenge to this browser."""
    return browser_binding(session)
