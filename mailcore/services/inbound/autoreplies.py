"""The automatic reply of each user: set up, looked at, and taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final

from mailcore.errors import UserNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.autoreply import Autoreply
from mailcore.model.event import Details
from mailcore.model.ids import UserId
from mailcore.model.plan import AutomaticReply
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.placement import Home, Placement

MAX_NAME: Final = 128
MAX_SUBJECT: Final = 2048
MAX_TEXT_BYTES: Final = 128 * 1024
MAX_CACHED: Final = 10_000
SETTABLE: Final = frozenset(each.name for each in fields(Autoreply)) - {"created_at"}


class Autoreplies:
    """Keeps what users have answered; deliveries learn from the user's document that there is something."""

    def __init__(self, directory: Directory, placement: Placement, audit: Audit, sessions: Sessions) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit
        self._sessions = sessions
        self._cache: dict[UserId, tuple[int, Autoreply | None]] = {}

    def get(self, user_id: UserId) -> Autoreply:
        """Return what the user has set up; one that is off if nothing ever was.

        Raises:
            UserNotFound: there is no such user.
        """
        return self._placement.home(user_id).shard.autoreplies.find(user_id) or Autoreply()

    def set(self, actor: Actor, user_id: UserId, changes: Mapping[str, Any]) -> Autoreply:
        """Change some of it, by the names of `Autoreply`; who was answered before is answered once more.

        Raises:
            ValueInvalid: a text is too long or of more than one line where one is meant, or it ends before it begins.
            UserNotFound: there is no such user.
        """
        before = self.get(user_id)
        after = checked(replace(before, **_known(changes)))
        after = replace(after, created_at=before.created_at or now())
        wanted: Details = {"is_on": after.is_on, "subject": after.subject, "start": after.start, "end": after.end}
        with self._audit.of_user(actor, "autoreply.changed", user_id, wanted) as change:
            change.before["is_on"] = before.is_on
            self._placement.home(user_id).shard.autoreplies.replace(user_id, after)
            self._note(user_id, is_on=after.is_on)
        self._sessions.user_changed(user_id)
        return after

    def delete(self, actor: Actor, user_id: UserId) -> None:
        """Take it away, whether there was one or not.

        Raises:
            UserNotFound: there is no such user.
        """
        with self._audit.of_user(actor, "autoreply.deleted", user_id):
            self._note(user_id, is_on=False)
            self._placement.home(user_id).shard.autoreplies.delete(user_id)
        self._sessions.user_changed(user_id)

    def due(self, home: Home) -> AutomaticReply | None:
        """Return what is answered at this moment; one round trip after each change, else none."""
        if not home.autoreply_version:
            return None
        known = self._cache.get(home.user_id)
        if known is None or known[0] != home.autoreply_version:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            known = (home.autoreply_version, home.shard.autoreplies.find(home.user_id))
            self._cache[home.user_id] = known
        autoreply = known[1]
        if autoreply is None or not autoreply.holds_at(now()):
            return None
        return AutomaticReply(
            handle=f"autoreply:{home.autoreply_version}",
            subject=autoreply.subject,
            text=autoreply.text,
            html=autoreply.html,
            name=autoreply.name,
        )

    def _note(self, user_id: UserId, *, is_on: bool) -> None:
        """Let deliveries know; after the content is stored, for they read that when they see a new version."""
        if self._directory.user_changes.set_autoreply(user_id, is_on=is_on) is None:
            raise UserNotFound(user_id)
        self._placement.forget(user_id)


def _known(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = changes.keys() - SETTABLE
    if unknown:
        raise ValueInvalid(f"an automatic reply has no {min(unknown)}")
    return changes


def checked(autoreply: Autoreply) -> Autoreply:
    """Return it if it can be sent as it is.

    Raises:
        ValueInvalid: it cannot; the text says why.
    """
    for what, text, most in (("name", autoreply.name, MAX_NAME), ("subject", autoreply.subject, MAX_SUBJECT)):
        if len(text) > most or not (text.isprintable() or not text):
            raise ValueInvalid(f"{what}: one line of up to {most} characters")
    for what, text in (("text", autoreply.text), ("html", autoreply.html)):
        if len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES or "\x00" in text:
            raise ValueInvalid(f"{what}: up to {MAX_TEXT_BYTES} bytes, no NUL")
    for what, instant in (("start", autoreply.start), ("end", autoreply.end)):
        if instant is not None and (not isinstance(instant, datetime) or instant.tzinfo is None):
            raise ValueInvalid(f"{what}: an instant with its time zone, or nothing")
    if autoreply.start is not None and autoreply.end is not None and autoreply.end <= autoreply.start:
        raise ValueInvalid("end: later than start")
    return autoreply
