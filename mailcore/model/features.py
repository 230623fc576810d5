"""What staff can switch on or off for single tenants, or for a share of them; only what has an effect stands here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Feature(StrEnum):
    """One part of the product, by the name it is stored under."""

    DNS_WRITING = "dns_writing"
    """The portal writes records at an organisation's DNS provider."""
    HOST_CERTIFICATES = "host_certificates"
    """Certificates are ordered for further hosts of the tenant's domains; those that are ordered are renewed."""
    MAIL_EXPORTS = "mail_exports"
    """Files with all mail of a user are asked for and written; those that are written can be fetched."""
    USER_SCRIPTS = "user_scripts"
    """Users' own Sieve scripts have a say in what becomes of incoming mail."""


BY_DEFAULT: Final[Mapping[Feature, bool]] = {
    Feature.DNS_WRITING: True,
    Feature.HOST_CERTIFICATES: True,
    Feature.MAIL_EXPORTS: True,
    Feature.USER_SCRIPTS: True,
}
"""What holds for a tenant of which nobody has said anything."""


def is_in_share(feature: Feature, tenant_id: str, percent: int) -> bool:
    """Tell whether a tenant is among so many of a hundred; who is among few is among more, for each feature others."""
    digest = hashlib.sha256(f"{feature.value}:{tenant_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % 100 < percent


def read_features(stored: Mapping[str, object]) -> Mapping[Feature, bool]:
    """Return what is stored of a tenant; names that nobody knows, and what is no answer, are left out."""
    known = {feature.value: feature for feature in Feature}
    return {known[name]: value for name, value in stored.items() if name in known and isinstance(value, bool)}
