"""The MTA-STS policy that is served for a domain (RFC 8461 §3.2)."""

from __future__ import annotations

import hashlib
from typing import Final

from portal.domains.models import StsMode
from portal.domains.wanted import ServiceNames

MAX_AGE_S: Final = {StsMode.TESTING: 86_400, StsMode.ENFORCE: 30 * 86_400, StsMode.NONE: 86_400}


def policy_text(mode: StsMode, names: ServiceNames) -> str:
    """Return the policy, lines ended by CRLF."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in names.mx_hosts)]
    return "\r\n".join([*lines, f"max_age: {MAX_AGE_S[mode]}", ""])


def policy_id(mode: StsMode, names: ServiceNames) -> str:
    """Return the id that `_mta-sts` publishes: another text has another id."""
    return hashlib.sha256(policy_text(mode, names).encode()).hexdigest()[:20]
