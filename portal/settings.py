"""What the portal must know before it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mailcore.settings import MailSettings
from mailcore.settings import SettingsInvalid as MailSettingsInvalid
from portal.billing.settings import StripeSettings
from portal.domains.settings import DomainSettings

DEFAULT_PUBLIC_URL = "http://localhost:8000"


class SettingsInvalid(Exception):
    """Variables of the environment are missing or malformed; the text names them, one line each."""


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """The portal's settings, read once."""

    database_url: str
    mail: MailSettings = field(repr=False)
    public_url: str = DEFAULT_PUBLIC_URL
    """Where browsers find the portal: every link in a mail begins with it, whatever a request says."""
    sender: str = ""
    """Address of a user of ours in whose name the portal sends mail; "" sends none."""
    proxies: int = 0
    """How many proxies of ours stand before it and say where a request came from (X-Forwarded-For)."""
    domains: DomainSettings = field(default_factory=DomainSettings)
    stripe: StripeSettings | None = None
    """None: nobody pays, and no plan limits anything."""

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.public_url.startswith("https://")

    @property
    def host(self) -> str:
        """The host of the public URL; passkeys are bound to it."""
        return urlsplit(self.public_url).hostname or ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> PortalSettings:
        """Read DATABASE_URL, a libpq URL of Postgres, EIDER_PORTAL_URL, _SENDER, _PROXIES, and the others'.

        Raises:
            SettingsInvalid: with every problem found.
        """
        problems = []
        url = environment.get("DATABASE_URL", "")
        if not url.startswith("postgresql://"):
            problem = "of another kind" if url else "missing"
            problems.append(f"DATABASE_URL must be postgresql://..., it is {problem}")
        public_url = environment.get("EIDER_PORTAL_URL", "").rstrip("/") or DEFAULT_PUBLIC_URL
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", public_url):
            problems.append("EIDER_PORTAL_URL must look like https://portal.example.com, without a path")
        proxies = environment.get("EIDER_PORTAL_PROXIES", "") or "0"
        if not re.fullmatch(r"[0-9]", proxies):
            problems.append("EIDER_PORTAL_PROXIES is a number from 0 to 9")
        sender = environment.get("EIDER_PORTAL_SENDER", "").strip()
        if sender and not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", sender):
            problems.append("EIDER_PORTAL_SENDER is the address of a user here")
        stripe = StripeSettings.from_environment(environment, problems)
        mail = None
        try:
            mail = MailSettings.from_environment(environment)
        except MailSettingsInvalid as invalid:
            problems += invalid.problems
        if problems or mail is None:
            raise SettingsInvalid("\n".join(problems))
        domains = DomainSettings.from_environment(environment)
        return cls(url, mail, public_url, sender, int(proxies), domains, stripe)
