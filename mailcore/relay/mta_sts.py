"""MTA-STS: domains that say by HTTPS which hosts take their mail, and that these must show a certificate (RFC 8461)."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mailcore.errors import DestinationForbidden, DnsUnavailable, MailError, OutgoingFailed
from mailcore.net.outgoing import Fetched, OutgoingClient
from mailcore.services.outbound.dns import Dns
from mailcore.services.outbound.sts_policies import StoredPolicy, StsPolicies

log = logging.getLogger(__name__)

FETCH_S: Final = 60.0
POLICY_BYTES: Final = 64 * 1024
LONGEST_AGE_S: Final = 31_557_600
NOT_AGAIN_S: Final = 300.0
"""After a fetch that failed nobody tries again for so long (RFC 8461 §3.3)."""
REMEMBERED: Final = 10_000
CACHED_S: Final = 60.0

_RECORD: Final = re.compile(r"v=STSv1\s*;\s*(?:[^;]*;\s*)*?id=([A-Za-z0-9]{1,32})\s*(?:;.*)?", re.DOTALL)


class Mode(Enum):
    """What a sender does when a host fails."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain asks for."""

    mode: Mode
    patterns: tuple[str, ...]
    max_age_s: int

    @property
    def is_enforced(self) -> bool:
        """Whether mail may go to hosts that fit only."""
        return self.mode is Mode.ENFORCE

    def names(self, host: str) -> bool:
        """Whether a host is one of the policy's; `*` stands for one label (RFC 8461 §4.1)."""
        host = host.lower().rstrip(".")
        return any(
            host == pattern or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])
            for pattern in self.patterns
        )


def parse_policy(text: str) -> Policy | None:
    """Read a policy file (RFC 8461 §3.2); None if it is none."""
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            continue
        key, value = key.strip(), value.strip()
        if key == "mx":
            patterns.append(value.lower().rstrip("."))
        else:
            fields.setdefault(key, value)
    age = fields.get("max_age", "")
    modes = {mode.value: mode for mode in Mode}
    mode = modes.get(fields.get("mode", ""))
    if fields.get("version") != "STSv1" or mode is None or not re.fullmatch(r"[0-9]{1,10}", age):
        return None
    if not patterns and mode is not Mode.NONE:
        return None
    return Policy(mode, tuple(patterns), min(int(age), LONGEST_AGE_S))


def parse_record(texts: Sequence[str]) -> str | None:
    """Return the id of the one record that is an MTA-STS record (RFC 8461 §3.1); None if there is not exactly one."""
    found = [text for text in texts if re.match(r"v=STSv1\s*;", text)]
    match = _RECORD.fullmatch(found[0]) if len(found) == 1 else None
    return None if match is None else match[1]


class MtaSts:
    """Finds the policy of a domain: what is known counts for as long as it said, whatever an attacker cuts off."""

    def __init__(self, dns: Dns, client: OutgoingClient, store: StsPolicies) -> None:
        self._dns = dns
        self._client = client
        self._store = store
        self._not_before: dict[str, float] = {}
        self._cached: dict[str, tuple[float, Policy | None]] = {}

    def policy(self, domain: str) -> Policy | None:
        """Return the policy that holds for a domain, None if none is known; looked at anew once a minute."""
        cached = self._cached.get(domain)
        if cached is not None and time.monotonic() < cached[0]:
            return cached[1]
        policy = self._looked_up(domain)
        if len(self._cached) >= REMEMBERED:
            self._cached.clear()
        self._cached[domain] = time.monotonic() + CACHED_S, policy
        return policy

    def _looked_up(self, domain: str) -> Policy | None:
        known = self._known(domain)
        try:
            policy_id = parse_record(self._dns.texts(f"_mta-sts.{domain}"))
        except DnsUnavailable:
            policy_id = None
        if policy_id is not None and (known is None or known.policy_id != policy_id):
            fresh = self._fetched(domain, policy_id)
            if fresh is not None:
                return fresh
        return None if known is None else parse_policy(known.text)

    def _known(self, domain: str) -> StoredPolicy | None:
        try:
            return self._store.find(domain)
        except MailError as error:
            log.warning("mta_sts.unknown", extra={"domain": domain, "reason": type(error).__name__})
            return None

    def _fetched(self, domain: str, policy_id: str) -> Policy | None:
        """Fetch and remember; None if that fails now."""
        if time.monotonic() < self._not_before.get(domain, 0.0):
            return None
        try:
            answer = self._client.get(
                f"mta-sts.{domain}", "/.well-known/mta-sts.txt", limit_bytes=POLICY_BYTES, timeout_s=FETCH_S
            )
            policy = _policy_of(answer)
        except (DnsUnavailable, OutgoingFailed, DestinationForbidden) as error:
            log.info("mta_sts.not_fetched", extra={"domain": domain, "reason": str(error)[:200]})
            policy = None
        if policy is None:
            if len(self._not_before) >= REMEMBERED:
                self._not_before.clear()
            self._not_before[domain] = time.monotonic() + NOT_AGAIN_S
            return None
        try:
            self._store.put(domain, policy_id, answer.body.decode("utf-8", "replace"), policy.max_age_s)
        except MailError as error:
            log.warning("mta_sts.not_kept", extra={"domain": domain, "reason": type(error).__name__})
        return policy


def _policy_of(answer: Fetched) -> Policy | None:
    if answer.status != 200 or answer.content_type != "text/plain":
        return None
    return parse_policy(answer.body.decode("utf-8", "replace"))
