"""What goes wrong with domains in the portal."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

NO_ANSWER: Final = "no answer in time"
OFF: Final = "writing is switched off"
TOKEN_GONE: Final = "the token cannot be read any more"  # noqa: S105  a text
"""What the text of `ProviderFailed` may be, beside what a provider did."""


class Refusal(StrEnum):
    """Why a name cannot be claimed."""

    PUBLIC_SUFFIX = "public-suffix"
    OURS = "ours"
    ALREADY_YOURS = "already-yours"
    TAKEN = "taken"
    PARENT_TAKEN = "parent-taken"
    TOO_MANY = "too-many"


class DomainNotClaimable(Exception):
    """The name cannot be claimed by this organisation; the reason says why."""

    def __init__(self, name: str, reason: Refusal) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class ClaimNotFound(Exception):
    """The organisation has no such domain."""


class ProviderFailed(Exception):
    """The DNS provider refused or did not answer; `showing.provider_trouble` says it in the reader's language."""


class WritingOff(ProviderFailed):
    """Support has switched writing off for this organisation."""


class PlanChanged(Exception):
    """What stands at the provider is no longer what the preview was made from."""


class WritingUnderWay(Exception):
    """Records of the domain are being written at this moment."""
