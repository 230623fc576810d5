"""Settings of the site: kept in the directory, and followed by every process within half a minute."""

from __future__ import annotations

import logging
import threading
from typing import Final

from mailcore.errors import MailError, SettingNotFound
from mailcore.model import site_settings
from mailcore.model.actor import Actor
from mailcore.model.limits import UserLimits
from mailcore.model.site_settings import SiteSetting, Value
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.notices import Spawn
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

FOLLOW_S: Final = 20.0

log = logging.getLogger(__name__)


class SiteSettings:
    """Reads and changes them; those that are limits count for every user without a number of its own."""

    def __init__(self, directory: Directory, placement: Placement, audit: Audit, limits: UserLimits) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit
        self._limits = limits
        self._closed = threading.Event()

    def list_all(self) -> list[tuple[SiteSetting, Value, bool]]:
        """Return every setting with its value, and whether somebody set it; one round trip."""
        given = self._directory.site_settings.read_all()
        found = []
        for setting in site_settings.ALL.values():
            is_set = bool(setting.limit) and setting.key in given
            found.append((setting, setting.read(given[setting.key] if is_set else self._default(setting)), is_set))
        return found

    def get(self, key: str) -> Value:
        """Return the value of a setting.

        Raises:
            SettingNotFound: there is none of this name.
        """
        for setting, value, _ in self.list_all():
            if setting.key == key:
                return value
        raise SettingNotFound(key)

    def put(self, actor: Actor, key: str, value: object) -> None:
        """Set one; it counts here at once, and in other processes within 20 s.

        Raises:
            SettingNotFound: there is none of this name.
            ValueInvalid: not a value of its kind, or one that nothing here depends on.
        """
        setting = site_settings.ALL.get(key)
        if setting is None:
            raise SettingNotFound(key)
        checked = setting.read(value)
        setting.check_change(checked)
        with self._audit.of_platform(actor, "setting.changed", {"key": key, "value": checked}) as change:
            change.before["value"] = self.get(key)
            self._directory.site_settings.put(key, checked)
        self.follow()

    def follow(self) -> None:
        """Let what is set count in this process; one round trip."""
        given = self._directory.site_settings.read_all()
        numbers: dict[str, int] = {}
        for setting in site_settings.ALL.values():
            if setting.limit and setting.key in given:
                numbers[setting.limit] = int(setting.read(given[setting.key]))
        self._placement.use_user_limits(self._limits.replaced_by(numbers))

    def start(self, spawn: Spawn) -> None:
        """Follow what other processes set."""
        spawn(self._follow_forever)

    def close(self) -> None:
        """Follow no more."""
        self._closed.set()

    def _default(self, setting: SiteSetting) -> Value:
        return getattr(self._limits, setting.limit) if setting.limit else setting.default

    def _follow_forever(self) -> None:
        while True:
            try:
                self.follow()
            except MailError as error:
                log.warning("site_settings.not_read", extra={"reason": type(error).__name__})
            if self._closed.wait(FOLLOW_S):
                return
