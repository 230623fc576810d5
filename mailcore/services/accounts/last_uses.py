"""Last uses of app passwords and tokens: noted some seconds later, many at once, never by the login itself."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from typing import Final

from bson import ObjectId

from mailcore.errors import MailError
from mailcore.model.app_password import AppPassword, LastUse
from mailcore.model.ids import UserId
from mailcore.model.token import Token, expiry
from mailcore.store.directory import Directory

log = logging.getLogger(__name__)

NOTED_EVERY: Final = timedelta(minutes=1)
MAX_WAITING: Final = 100_000


class LastUses:
    """Collects uses in memory; `flush` writes them."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._app_passwords: dict[tuple[UserId, ObjectId], tuple[LastUse, timedelta | None]] = {}
        self._tokens: dict[ObjectId, tuple[LastUse, datetime | None]] = {}
        self._lock = threading.Lock()

    def of_app_password(self, user_id: UserId, password: AppPassword, use: LastUse) -> None:
        """Note a use, unless one was noted within the last minute."""
        if _is_due(password.last_use, use):
            with self._lock:
                if len(self._app_passwords) < MAX_WAITING:
                    self._app_passwords[user_id, password.id] = (use, password.slides)

    def of_token(self, token: Token, use: LastUse) -> None:
        """Note a use, unless one was noted within the last minute."""
        if _is_due(token.last_use, use):
            with self._lock:
                if len(self._tokens) < MAX_WAITING:
                    self._tokens[token.id] = (use, expiry(use.at, token.slides, token.ends_at))

    def flush(self) -> None:
        """Write what was noted: no round trip if nothing was, else one for each kind; what fails is forgotten."""
        with self._lock:
            app_passwords, self._app_passwords = self._app_passwords, {}
            tokens, self._tokens = self._tokens, {}
        try:
            if app_passwords:
                self._directory.app_passwords.note_uses(app_passwords)
            if tokens:
                self._directory.api_tokens.note_uses(tokens)
        except MailError as error:
            log.warning("last_uses.lost", extra={"count": len(app_passwords) + len(tokens), "reason": str(error)})


def _is_due(last: LastUse | None, use: LastUse) -> bool:
    return last is None or use.at - last.at >= NOTED_EVERY
