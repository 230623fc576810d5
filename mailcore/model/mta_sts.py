"""The MTA-STS policy of a domain that takes its mail here (RFC 8461 §3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class StsMode(StrEnum):
    """What senders do where TLS to our exchangers fails (RFC 8461 §5)."""

    TESTING = "testing"
    ENFORCE = "enforce"
    NONE = "none"


MAX_AGE_S: Final = {StsMode.TESTING: 86_400, StsMode.ENFORCE: 30 * 86_400, StsMode.NONE: 86_400}


def policy_text(mode: StsMode, mx_hosts: Sequence[str]) -> str:
    """Return the policy, lines ended by CRLF."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in mx_hosts)]
    return "\r\n".join([*lines, f"max_age: {MAX_AGE_S[mode]}", ""])


def policy_id(mode: StsMode, mx_hosts: Sequence[str]) -> str:
    """Return the id that `_mta-sts` publishes: another text has another id."""
    return hashlib.sha256(policy_text(mode, mx_hosts).encode()).hexdigest()[:20]
