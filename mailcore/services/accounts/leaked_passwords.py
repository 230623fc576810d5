"""Whether a password is among those stolen elsewhere, asked of a range service (haveibeenpwned's protocol).

Five hexadecimal digits of the SHA-1 leave this system, one of a million prefixes, never the
password or its hash. A service that does not answer keeps nobody from choosing a password.
"""

from __future__ import annotations

import hashlib
import logging
import urllib.request
from http.client import HTTPException
from typing import Final

from mailcore.model.secret import Secret

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 1.0
MAX_ANSWER_BYTES: Final = 1 << 20
PREFIX_CHARACTERS: Final = 5


class LeakedPasswords:
    """Asks the range service at `url`; without one nothing is known."""

    def __init__(self, url: str | None) -> None:
        self._url = url.rstrip("/") if url else None

    def has(self, password: Secret) -> bool:
        """Return whether the password is known to be stolen; one request, one second at most, False on any fault."""
        if self._url is None:
            return False
        digest = hashlib.sha1(password.reveal(), usedforsecurity=False).hexdigest().upper()
        prefix, suffix = digest[:PREFIX_CHARACTERS], digest[PREFIX_CHARACTERS:]
        request = urllib.request.Request(  # noqa: S310  http and https only, checked by the settings
            f"{self._url}/range/{prefix}", headers={"Add-Padding": "true", "User-Agent": "eider"}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                lines = answer.read(MAX_ANSWER_BYTES).decode("ascii", "replace").splitlines()
        except (OSError, ValueError, HTTPException) as error:
            log.warning("leaked_passwords.unavailable", extra={"reason": str(error)})
            return False
        return any(_counts(line, suffix) for line in lines)


def _counts(line: str, suffix: str) -> bool:
    """Return whether a line names the suffix; a count of 0 is padding."""
    found, _, count = line.strip().partition(":")
    return found.upper() == suffix and count.isdecimal() and int(count) > 0
