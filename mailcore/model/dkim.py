"""DKIM keys as everybody but the signer sees them (RFC 6376, RFC 8463): without the private half."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bson import ObjectId

from mailcore.model.ids import TenantId

SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?){0,3}")
"""`sub-domain *("." sub-domain)` (RFC 6376 §3.1), in lower case."""


class DkimAlgorithm(StrEnum):
    """How a key signs, by the `a=` tag."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"

    @property
    def key_type(self) -> str:
        """The `k=` tag of the published key (RFC 6376 §3.6.1)."""
        return self.value.partition("-")[0]


class DkimKeyState(StrEnum):
    """A key's life: made, then signing, then only published for what is still on its way."""

    PENDING = "pending"
    """Waits until it can be seen in DNS."""
    ACTIVE = "active"
    RETIRING = "retiring"
    """Signs no more; its private half is gone, its record has to stay until the state ends."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One selector of a domain."""

    id: ObjectId
    tenant_id: TenantId
    domain_id: ObjectId
    """The claim that it was made under: a domain that is added again, by whomever, starts without keys."""
    domain: str
    """A-labels."""
    selector: str
    algorithm: DkimAlgorithm
    state: DkimKeyState
    public_key: str
    """Base64, as in the `p=` tag."""
    created_at: datetime
    description: str = ""
    published_at: datetime | None = None
    """Since when it is seen in DNS; None: it is not."""
    changed_at: datetime | None = None
    """When it came into its present state."""

    @property
    def record_name(self) -> str:
        """Where the public key has to be published (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record_value(self) -> str:
        """The TXT record; a DNS host cuts it into strings of up to 255 octets."""
        return f"v=DKIM1; k={self.algorithm.key_type}; p={self.public_key}"

    def is_in(self, record: str) -> bool:
        """Whether a TXT record publishes this key, however it is spaced and in whatever order."""
        tags = dict(_tag(part) for part in record.split(";") if "=" in part)
        return tags.get("p") == self.public_key and tags.get("k", "rsa") == self.algorithm.key_type


def _tag(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), "".join(value.split())
