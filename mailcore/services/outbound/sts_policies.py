"""What is remembered of MTA-STS policies: by all relays together, and over restarts (RFC 8461 §5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.store.directory import Directory


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy as it was fetched."""

    policy_id: str
    text: str


class StsPolicies:
    """Keeps policies."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def find(self, domain: str) -> StoredPolicy | None:
        """Return the policy of a domain that is not over yet; one round trip."""
        found = self._directory.mta_sts.find(domain)
        return None if found is None else StoredPolicy(found["policy_id"], found["text"])

    def put(self, domain: str, policy_id: str, text: str, max_age_s: int) -> None:
        """Keep a policy."""
        self._directory.mta_sts.put(domain, policy_id, text, max_age_s)
