"""What would be written of a domain's records at its DNS provider, and by which token; `ledger` has it done."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

from mailcore.model.actor import Actor
from mailcore.model.features import Feature
from mailcore.model.secret import Secret
from mailcore.services.trust.sealing import SealBroken
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.database import session, unit_of_work
from portal.domains import queries
from portal.domains.errors import NO_ANSWER, OFF, ProviderFailed, WritingOff
from portal.domains.models import DomainClaim, RecordResult
from portal.domains.providers.plan import Change, digest, plan
from portal.domains.providers.table import PROVIDERS
from portal.domains.providers.writer import ZoneWriter
from portal.domains.records import RecordKind, Wanted
from portal.mail_plane import Portal
from portal.staff import features

TIMEOUT_S: Final = 30.0
"""For all that is said to a provider in one go: its library waits for ever."""
HANDED_ON: Final = "dns.handed_on"
KEPT: Final = "dns.credentials"
WRITING: Final = "dns.writing"
"""What an access is sealed for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """Where records are written, and by which token."""

    claim_id: UUID
    provider: str
    zone: str
    token: Secret = field(repr=False)
    records: tuple[str, ...]
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What will be written, and which records have to be entered by hand."""

    changes: tuple[Change, ...]
    digest: str
    by_hand: tuple[Wanted, ...]


def wanted_of_result(result: RecordResult) -> Wanted:
    """Return the record that a result is about."""
    return Wanted(
        RecordKind(result.kind), result.name, result.type, tuple(result.wanted), result.is_required, result.ttl_s
    )


def preview(parts: Portal, claim: DomainClaim, access: Access) -> Preview:
    """Look at what the provider holds and return what has to change.

    Raises:
        ProviderFailed: it refused, or did not answer.
        WritingOff: the organisation is without this feature now.
    """
    organisation = session().get_one(Organisation, claim.organisation_id)
    if not features.is_on(organisation, Feature.DNS_WRITING):
        raise WritingOff(OFF)
    provider = PROVIDERS[access.provider]
    chosen = [wanted_of_result(result) for result in claim.results if result.key in access.records]
    written = [wanted for wanted in chosen if wanted.type in provider.types]
    held = bounded(writer_of(parts, access).held)
    changes = plan(written, held)
    return Preview(changes, digest(changes), tuple(each for each in chosen if each.type not in provider.types))


def hand_on(parts: Portal, access: Access) -> str:
    """Return what a preview gives its page, so that the token need not be entered twice; sealed."""
    return base64.urlsafe_b64encode(seal(parts, HANDED_ON, access)).decode()


def take_back(parts: Portal, claim_id: UUID, text: str) -> Access | None:
    """Return what a preview of this domain handed on, or None."""
    try:
        return unseal(parts, HANDED_ON, claim_id, base64.urlsafe_b64decode(text.encode()))
    except (ValueError, SealBroken):
        return None


def kept_access(parts: Portal, claim: DomainClaim) -> Access | None:
    """Return the access that the admin wanted kept, or None."""
    if claim.sealed_credentials is None:
        return None
    try:
        return unseal(parts, KEPT, claim.id, claim.sealed_credentials)
    except SealBroken:
        return None


def forget(actor: Actor, organisation: Organisation, claim_id: UUID) -> None:
    """Forget the token of a domain's provider.

    Raises:
        ClaimNotFound: the organisation has none such.
    """
    with unit_of_work():
        claim = queries.get_claim(organisation, claim_id, for_change=True)
        claim.sealed_credentials = None
        record(actor, "domain.token_forgotten", claim.name, organisation_id=organisation.id)


def writer_of(parts: Portal, access: Access) -> ZoneWriter:
    """Return what speaks with the provider."""
    provider = PROVIDERS[access.provider]
    return ZoneWriter(provider, access.zone, access.token, parts.settings.domains.powerdns_url)


def seal(parts: Portal, purpose: str, access: Access) -> bytes:
    """Return an access, sealed for a purpose."""
    content = [access.provider, access.zone, access.token.reveal_text(), list(access.records), access.keep]
    return parts.mail.sealing.seal(f"{purpose}:{access.claim_id}", json.dumps(content).encode())


def unseal(parts: Portal, purpose: str, claim_id: UUID, sealed: bytes) -> Access:
    """Return what was sealed for a purpose.

    Raises:
        SealBroken: for another one, for another domain, or by a key that is gone.
    """
    provider, zone, token, records, keep = json.loads(parts.mail.sealing.open(f"{purpose}:{claim_id}", sealed))
    return Access(claim_id, provider, zone, Secret(token), tuple(records), keep)


def bounded(work: Callable[[], T]) -> T:
    """Return what it returns, within `TIMEOUT_S`.

    Raises:
        ProviderFailed: it took longer.
    """
    executor = ThreadPoolExecutor(max_workers=1)
    try:
        return executor.submit(work).result(TIMEOUT_S)
    except TookTooLong as error:
        raise ProviderFailed(NO_ANSWER) from error
    finally:
        executor.shutdown(wait=False)


def in_zone(name: str, zone: str) -> bool:
    """Whether a name lies in a zone."""
    return f".{name}".endswith(f".{zone}")


def chosen_keys(results: Sequence[RecordResult]) -> list[str]:
    """Return the records that a form proposes: all that are not as they should be."""
    return [result.key for result in results if result.state != "match"]
