"""What the portal must know before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class SettingsInvalid(Exception):
    """A variable of the environment is missing or malformed; the text names it."""


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """The portal's settings, read once."""

    database_url: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> PortalSettings:
        """Read DATABASE_URL, a libpq URL of Postgres.

        Raises:
            SettingsInvalid: it is missing or of another kind.
        """
        url = environment.get("DATABASE_URL", "")
        if not url.startswith("postgresql://"):
            problem = "of another kind" if url else "missing"
            raise SettingsInvalid(f"DATABASE_URL must be postgresql://..., it is {problem}")
        return cls(database_url=url)
