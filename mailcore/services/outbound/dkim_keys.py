"""DKIM keys of domains: made, published, taking over from one another without a gap, and gone.

A new key waits until it has been seen in DNS for an hour, then it signs and the one before it only stays
published, without its private half, until nothing it signed can be on its way any more. Only a domain's
first key takes over as soon as it is seen.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from bson import ObjectId

from mailcore.errors import (
    DkimKeyExists,
    DkimKeyNotFound,
    DomainNotFound,
    MailError,
    NotPermitted,
    TooManyDkimKeys,
    Unavailable,
    ValueInvalid,
)
from mailcore.model.actor import Actor
from mailcore.model.address import domain_name
from mailcore.model.dkim import SELECTOR, DkimAlgorithm, DkimKey, DkimKeyState
from mailcore.model.event import Details
from mailcore.model.ids import TenantId
from mailcore.model.limits import Limits
from mailcore.model.secret import Secret
from mailcore.model.tenant import Domain
from mailcore.services.events.audit import Audit
from mailcore.services.outbound.dkim import Dkim, key_purpose
from mailcore.services.outbound.dkim_private_keys import new_key, read_key
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload
from mailcore.services.trust.sealing import Sealing
from mailcore.store.directory import Directory

TxtLookup = Callable[[str], Sequence[str]]
"""Returns the TXT records of a name, the strings of each joined; raises Unavailable where DNS does not say."""

MAX_DESCRIPTION_CHARACTERS = 200

log = logging.getLogger(__name__)


class DkimKeys:
    """Makes keys and moves them through their states; no method returns a private half."""

    def __init__(
        self, directory: Directory, sealing: Sealing, dkim: Dkim, audit: Audit, offload: Offload, limits: Limits
    ) -> None:
        self._directory = directory
        self._sealing = sealing
        self._dkim = dkim
        self._audit = audit
        self._offload = offload
        self._limits = limits

    # -- by hand --------------------------------------------------------------------------------

    def create(
        self,
        actor: Actor,
        tenant_id: TenantId,
        domain: str,
        *,
        algorithm: DkimAlgorithm = DkimAlgorithm.RSA,
        selector: str | None = None,
        private_key: Secret | None = None,
        description: str = "",
        is_active: bool = False,
    ) -> DkimKey:
        """Make a key for a domain, or take over one that was made elsewhere, whose kind then counts.

        `is_active`: it signs at once, for the actor knows that it is published, or will see to it; other active
        keys of its kind retire.

        Raises:
            DomainInvalid, DomainNotFound: not a domain of this tenant.
            NotPermitted: the domain is not verified.
            DkimKeyExists: it has that selector already.
            TooManyDkimKeys: it has as many as the limit allows.
            ValueInvalid: selector, key or description is malformed.
        """
        found = self._verified_domain(tenant_id, domain)
        if selector is not None and SELECTOR.fullmatch(selector) is None:
            raise ValueInvalid("a selector is made of a-z, 0-9, hyphens and dots, such as mail2026")
        if len(description) > MAX_DESCRIPTION_CHARACTERS or not (description.isprintable() or not description):
            raise ValueInvalid(f"a description is one line of up to {MAX_DESCRIPTION_CHARACTERS} characters")
        state = DkimKeyState.ACTIVE if is_active else DkimKeyState.PENDING
        key = self._create(actor, found, algorithm, selector, private_key, description, state)
        if is_active:
            self._retire_others(actor, key)
        return key

    def get(self, tenant_id: TenantId, key_id: ObjectId) -> DkimKey:
        """Return one of the tenant's keys.

        Raises:
            DkimKeyNotFound: it has none such.
        """
        key = self._directory.dkim_keys.find(tenant_id, key_id)
        if key is None:
            raise DkimKeyNotFound(key_id)
        return key

    def list_of(self, tenant_id: TenantId, domain: str | None = None) -> list[DkimKey]:
        """Return the tenant's keys, or those of one domain, in order of creation.

        Raises:
            DomainInvalid: not a domain name.
        """
        return self._directory.dkim_keys.list_of(tenant_id, None if domain is None else domain_name(domain))

    def search(
        self, tenant_id: TenantId | None, query: str, *, after: ObjectId | None, before: ObjectId | None, limit: int
    ) -> tuple[list[DkimKey], int]:
        """Return keys, of every tenant if none is named, nearest to an id first, and how many in all; two round trips.

        `query` is looked for in domains and descriptions.
        """
        keys = self._directory.dkim_keys
        found = keys.search(tenant_id, query, after=after, before=before, limit=limit)
        return found, keys.count(tenant_id, query)

    def find_id(self, key_id: ObjectId) -> DkimKey | None:
        """Return the key of an id, whosever it is; None if there is none."""
        return self._directory.dkim_keys.find_id(key_id)

    def activate(self, actor: Actor, tenant_id: TenantId, key_id: ObjectId) -> None:
        """Let a pending key sign at once, seen in DNS or not; other active ones of its kind retire.

        Raises:
            DkimKeyNotFound: the tenant has none such.
            DkimKeyExists: it is not pending.
        """
        key = self.get(tenant_id, key_id)
        if key.state is not DkimKeyState.PENDING:
            raise DkimKeyExists(f"the key is {key.state.value} already")
        self._move(actor, key, DkimKeyState.ACTIVE)
        self._retire_others(actor, key)

    def delete(self, actor: Actor, tenant_id: TenantId, key_id: ObjectId) -> None:
        """Remove a key, whatever its state.

        Raises:
            DkimKeyNotFound: the tenant has none such.
        """
        key = self.get(tenant_id, key_id)
        with self._audit.of_tenant(actor, "dkim.deleted", tenant_id, _told(key)):
            if not self._directory.dkim_keys.delete(tenant_id, [key_id]):
                raise DkimKeyNotFound(key_id)
        self._dkim.forget(key.domain_id)

    def succeed(self, actor: Actor, tenant_id: TenantId, domain: str) -> None:
        """Make the keys that will follow those that sign, unless such wait already; they take over once seen.

        Where selectors take turns, the next is free only when what the last one signed is not on its way any more.

        Raises:
            DomainInvalid, DomainNotFound: not a domain of this tenant.
            NotPermitted: the domain is not verified.
            TooManyDkimKeys: it has as many as the limit allows.
        """
        found = self._verified_domain(tenant_id, domain)
        keys = [key for key in self._directory.dkim_keys.list_of(tenant_id, found.name) if key.domain_id == found.id]
        waiting = {key.algorithm for key in keys if key.state is DkimKeyState.PENDING}
        for algorithm in (DkimAlgorithm.RSA,) if found.dkim_selectors else tuple(DkimAlgorithm):
            if algorithm not in waiting:
                self._create_next(actor, found, algorithm)

    def use_selectors(self, actor: Actor, tenant_id: TenantId, domain: str, selectors: Sequence[str]) -> None:
        """Let a domain's keys take turns under these selectors, or each have its own again where there are none.

        What signs goes on signing until a key of the other kind is seen in DNS; keys that wait are made anew. With
        selectors all keys are RSA: those are verified everywhere.

        Raises:
            DomainInvalid, DomainNotFound: not a domain of this tenant.
            ValueInvalid: malformed, or fewer than two: one would have to change under what it signed.
        """
        if len(selectors) == 1 or any(SELECTOR.fullmatch(selector) is None for selector in selectors):
            raise ValueInvalid("two selectors or more are needed, made of a-z, 0-9, hyphens and dots")
        found = self._directory.domains.find(tenant_id, domain_name(domain))
        if found is None:
            raise DomainNotFound(f"{domain} is not a domain of this tenant")
        wanted: Details = {"domain": found.name, "selectors": " ".join(selectors)}
        with self._audit.of_tenant(actor, "dkim.selectors", tenant_id, wanted):
            self._directory.domains.set_dkim_selectors(tenant_id, found.name, selectors)
        keys = self._directory.dkim_keys.list_of(tenant_id, found.name)
        for key in keys:
            is_of_old_kind = key.selector not in selectors if selectors else key.selector in found.dkim_selectors
            if key.state is DkimKeyState.PENDING and is_of_old_kind:
                self._remove(actor, key)
        if not selectors and any(key.selector in found.dkim_selectors for key in keys):
            self._create(actor, found, DkimAlgorithm.RSA, None, None, "", DkimKeyState.PENDING)

    # -- by the jobs ----------------------------------------------------------------------------

    def check(self, actor: Actor, tenant_id: TenantId, look_up: TxtLookup, name: str | None = None) -> int:
        """Look whether each of a tenant's keys, or of one domain's, is published; return of how many that changed.

        What DNS does not say now stays as it was.
        """
        changed = 0
        for domain in self._domains(tenant_id, name):
            for key in self._directory.dkim_keys.list_of(tenant_id, domain.name):
                try:
                    is_published = any(key.is_in(record) for record in look_up(key.record_name))
                except Unavailable:
                    continue
                if is_published != (key.published_at is not None):
                    kind = "dkim.published" if is_published else "dkim.unpublished"
                    with self._audit.of_tenant(actor, kind, tenant_id, _told(key)):
                        self._directory.dkim_keys.note_published(tenant_id, key.id, now() if is_published else None)
                    changed += 1
        return changed

    def _domains(self, tenant_id: TenantId, name: str | None) -> list[Domain]:
        if name is None:
            return self._directory.domains.list_of(tenant_id)
        found = self._directory.domains.find(tenant_id, name)
        return [] if found is None else [found]

    def rotate_one(self, actor: Actor, tenant_id: TenantId, name: str, at: datetime | None = None) -> None:
        """Do what is due for one domain, in A-labels; nothing if it is not the tenant's, or not verified."""
        for domain in self._domains(tenant_id, name):
            if domain.verified_at is not None:
                self._rotate_all(actor, domain, self._directory.dkim_keys.list_of(tenant_id, name), at or now())

    def rotate(self, actor: Actor, tenant_id: TenantId, at: datetime | None = None) -> None:
        """Do for a tenant's domains what is due: make keys, let published ones take over, remove what is over.

        Safe to run at any time and twice at once. Left-over keys are looked for before the domains are read: a
        domain that comes meanwhile has none to be mistaken for left over.
        """
        keys = self._directory.dkim_keys.list_of(tenant_id)
        domains = self._directory.domains.list_of(tenant_id)
        for key in keys:
            if key.domain_id not in {domain.id for domain in domains}:
                self._remove(actor, key)
        for domain in domains:
            if domain.verified_at is not None:
                try:
                    mine = self._directory.dkim_keys.list_of(tenant_id, domain.name)
                    self._rotate_all(actor, domain, mine, at or now())
                except MailError as error:
                    log.warning("dkim.not_rotated", extra={"domain": domain.name, "reason": type(error).__name__})

    def _rotate_all(self, actor: Actor, domain: Domain, keys: Sequence[DkimKey], at: datetime) -> None:
        for algorithm in (DkimAlgorithm.RSA,) if domain.dkim_selectors else tuple(DkimAlgorithm):
            mine = [key for key in keys if key.algorithm is algorithm and key.domain_id == domain.id]
            self._rotate(actor, domain, algorithm, mine, at)

    def _rotate(
        self, actor: Actor, domain: Domain, algorithm: DkimAlgorithm, keys: Iterable[DkimKey], at: datetime
    ) -> None:
        times = self._limits.dkim
        of_state: dict[DkimKeyState, list[DkimKey]] = {state: [] for state in DkimKeyState}
        for key in keys:
            of_state[key.state].append(key)
        active, pending = of_state[DkimKeyState.ACTIVE], of_state[DkimKeyState.PENDING]
        for key in of_state[DkimKeyState.RETIRING]:
            if at - (key.changed_at or key.created_at) >= timedelta(seconds=times.retiring_s):
                self._remove(actor, key)
        for key in pending:
            if key.published_at is None:
                continue
            if not active or at - key.published_at >= timedelta(seconds=times.published_before_use_s):
                self._move(actor, key, DkimKeyState.ACTIVE)
                self._retire_others(actor, key, whatever_kind=bool(domain.dkim_selectors))
                return
        newest = max((key.changed_at or key.created_at for key in active), default=None)
        outdated = [key for key in active if (key.selector in domain.dkim_selectors) != bool(domain.dkim_selectors)]
        is_due = (
            newest is None or at - newest >= timedelta(seconds=times.rotate_after_s) or len(outdated) == len(active)
        )
        if not pending and is_due:
            self._create_next(actor, domain, algorithm)

    def _create_next(self, actor: Actor, domain: Domain, algorithm: DkimAlgorithm) -> None:
        """Make the key that comes next; where selectors take turns, once one of them is free."""
        selector = None
        if domain.dkim_selectors:
            used = {key.selector for key in self._directory.dkim_keys.list_of(domain.tenant_id, domain.name)}
            selector = next((each for each in domain.dkim_selectors if each not in used), None)
            if selector is None:
                return
        self._create(actor, domain, algorithm, selector, None, "", DkimKeyState.PENDING)

    # -- steps ----------------------------------------------------------------------------------

    def _verified_domain(self, tenant_id: TenantId, name: str) -> Domain:
        domain = self._directory.domains.find(tenant_id, domain_name(name))
        if domain is None:
            raise DomainNotFound(f"{name} is not a domain of this tenant")
        if domain.verified_at is None:
            raise NotPermitted(f"{name} is not verified yet")
        return domain

    def _create(
        self,
        actor: Actor,
        domain: Domain,
        algorithm: DkimAlgorithm,
        selector: str | None,
        private_key: Secret | None,
        description: str,
        state: DkimKeyState,
    ) -> DkimKey:
        if len(self._directory.dkim_keys.list_of(domain.tenant_id, domain.name)) >= self._limits.dkim_keys:
            raise TooManyDkimKeys(domain.name)
        pair = read_key(private_key) if private_key is not None else self._offload.run(lambda: new_key(algorithm))
        at = now()
        key = DkimKey(
            id=ObjectId(),
            tenant_id=domain.tenant_id,
            domain_id=domain.id,
            domain=domain.name,
            selector=selector or f"{pair.algorithm.key_type[:2]}{at:%Y%m%d}-{secrets.token_hex(2)}",
            algorithm=pair.algorithm,
            state=state,
            public_key=pair.public_key,
            created_at=at,
            description=description,
            changed_at=at,
        )
        sealed = self._sealing.seal(key_purpose(key.id), pair.private_key.reveal())
        with self._audit.of_tenant(actor, "dkim.created", domain.tenant_id, _told(key)):
            if not self._directory.dkim_keys.insert(key, sealed):
                raise DkimKeyExists(f"{domain.name} has the selector {key.selector} already")
        self._dkim.forget(domain.id)
        return key

    def _retire_others(self, actor: Actor, successor: DkimKey, *, whatever_kind: bool = False) -> None:
        """Retire active keys of a kind only after their successor is active: there is no moment without one."""
        for key in self._directory.dkim_keys.list_of(successor.tenant_id, successor.domain):
            is_kind = whatever_kind or key.algorithm is successor.algorithm
            is_alike = key.domain_id == successor.domain_id and is_kind
            if is_alike and key.state is DkimKeyState.ACTIVE and key.id != successor.id:
                self._move(actor, key, DkimKeyState.RETIRING)

    def _move(self, actor: Actor, key: DkimKey, state: DkimKeyState) -> None:
        with self._audit.of_tenant(actor, f"dkim.{state.value}", key.tenant_id, _told(key)):
            if not self._directory.dkim_keys.change_state(key, state, now()):
                raise DkimKeyExists(f"{key.selector} was changed by somebody else")
        self._dkim.forget(key.domain_id)

    def _remove(self, actor: Actor, key: DkimKey) -> None:
        with self._audit.of_tenant(actor, "dkim.deleted", key.tenant_id, _told(key)):
            self._directory.dkim_keys.delete(key.tenant_id, [key.id])
        self._dkim.forget(key.domain_id)


def _told(key: DkimKey) -> dict[str, str]:
    return {"domain": key.domain, "selector": key.selector, "algorithm": key.algorithm.value}
