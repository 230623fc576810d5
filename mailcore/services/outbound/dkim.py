"""Signing what leaves: with the active keys of the domain that From names, or for our reports those of our own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from bson import ObjectId

from mailcore.errors import DomainInvalid
from mailcore.model.address import domain_name
from mailcore.model.ids import TenantId
from mailcore.services.outbound.dkim_signatures import Signer, signature_fields
from mailcore.services.process.offload import Offload
from mailcore.services.trust.sealing import SealBroken, Sealing
from mailcore.store.directory import Directory
from mailcore.store.directory.dkim_keys import SigningKey

log = logging.getLogger(__name__)

CACHE_S: Final = 30.0
"""A key that was made active signs everywhere within so long; one that was retired signs so long at most."""
MAX_CACHED: Final = 10_000
OFFLOAD_BYTES: Final = 512 * 1024
"""From this size on hashing and cutting takes over 5 ms."""


def key_purpose(key_id: ObjectId) -> str:
    """Return what a private key is sealed for."""
    return f"dkim.key:{key_id}"


class Dkim:
    """Signs for every service that sends; the private keys stay in here."""

    def __init__(
        self, directory: Directory, sealing: Sealing, offload: Offload, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._sealing = sealing
        self._offload = offload
        self._clock = clock
        self._signers: dict[ObjectId, tuple[float, tuple[Signer, ...]]] = {}

    def sign(self, tenant_id: TenantId, from_domain: str, message: bytes) -> bytes:
        """Return the DKIM-Signature fields to put in front of a message, b"" if nothing may sign it.

        Only a domain that is verified and the tenant's at this moment signs: that is read anew each time, one
        round trip; its keys are up to 30 s old, and were made under this very claim of the domain.

        Args:
            tenant_id: on whose behalf the message goes out.
            from_domain: what From names behind its "@", in Unicode or A-labels.
            message: complete, with CRLF.

        Raises:
            SyntaxFault: the header has a line that is no field.
            StoreUnavailable: the directory did not answer; unsigned mail would be taken for forged.
        """
        try:
            name = domain_name(from_domain)
        except DomainInvalid:
            return b""
        domain = self._directory.domains.find(tenant_id, name)
        if domain is None or domain.verified_at is None:
            return b""
        return self._fields(name, self._signers_of(tenant_id, domain.id), message)

    def sign_for_host(self, name: str, message: bytes) -> bytes:
        """Return the DKIM-Signature fields of a message that we wrote ourselves, b"" if its domain has no keys.

        Round trips as for `signers`.

        Args:
            name: a domain of ours, in lower case.
            message: complete, with CRLF.

        Raises:
            SyntaxFault: the header has a line that is no field.
            StoreUnavailable: the directory did not answer.
        """
        return self._fields(name, self.signers(name), message)

    def _fields(self, name: str, signers: tuple[Signer, ...], message: bytes) -> bytes:
        if not signers:
            return b""

        def work() -> bytes:
            return signature_fields(message, name, signers)

        return self._offload.run(work) if len(message) >= OFFLOAD_BYTES else work()

    def signers(self, name: str) -> tuple[Signer, ...]:
        """Return the keys of a verified domain of ours, whoever's; two round trips, one while its keys are known.

        Raises:
            StoreUnavailable: the directory did not answer.
        """
        domain = self._directory.domains.find_by_names([name]).get(name)
        if domain is None or domain.verified_at is None:
            return ()
        return self._signers_of(domain.tenant_id, domain.id)

    def _signers_of(self, tenant_id: TenantId, domain_id: ObjectId) -> tuple[Signer, ...]:
        cached = self._signers.get(domain_id)
        if cached is not None and self._clock() < cached[0]:
            return cached[1]
        opened = (self._open(key) for key in self._directory.dkim_keys.signing(tenant_id, domain_id))
        signers = tuple(signer for signer in opened if signer is not None)
        if len(self._signers) >= MAX_CACHED:
            self._signers.clear()
        self._signers[domain_id] = (self._clock() + CACHE_S, signers)
        return signers

    def _open(self, key: SigningKey) -> Signer | None:
        try:
            private_key = self._sealing.open(key_purpose(key.id), key.sealed_key)
        except SealBroken:
            log.error("dkim.key.broken", extra={"key": str(key.id), "selector": key.selector})  # noqa: TRY400
            return None
        return Signer(key.selector, key.algorithm, private_key)

    def forget(self, domain_id: ObjectId) -> None:
        """Read a domain's keys anew next time."""
        self._signers.pop(domain_id, None)
