"""Lists of senders' domains: always or never spam, for users that carry a tag.

A tenant has its own lists; those under `PLATFORM` hold for the tagged users of every tenant. A tenant's word counts
before the platform's, and a block before an allowance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Final

from bson import ObjectId

from mailcore.errors import DomainInvalid, DomainNotFound, TooManyFilters, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.address import domain_name
from mailcore.model.event import PLATFORM, Details
from mailcore.model.filter import ListedDomain, Verdict
from mailcore.model.ids import TenantId
from mailcore.model.limits import Limits
from mailcore.model.user_settings import MAX_TAG_CHARACTERS
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.events.audit import Audit, Change
from mailcore.store.directory import Directory
from mailcore.store.directory.told_versions import DOMAIN_ACCESS
from mailcore.store.placement import Home, Placement

PLATFORM_AGE_S: Final = 30.0
MAX_AGE_S: Final = 300.0
MAX_KNOWN: Final = 1000
"""Tenants whose lists a process remembers."""

_Lists = dict[tuple[str, str], Verdict]


class DomainAccess:
    """Changes the lists, and asks them at delivery."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        audit: Audit,
        sessions: Sessions,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit
        self._sessions = sessions
        self._limit = limits.listed_domains
        self._clock = clock
        self._known: dict[TenantId, tuple[int, float, _Lists]] = {}

    def verdict(self, home: Home, domains: Iterable[str]) -> Verdict | None:
        """Return what is said of mail from these domains to a user, None if nothing is.

        No round trip for users without tags, nor where the lists are known, nor for tenants that have none; the
        platform's own are read once in 30 s.
        """
        tags = [tag.casefold() for tag in home.settings.tags]
        if not tags:
            return None
        asked = [(tag, domain.lower()) for tag in tags for domain in domains]
        for tenant_id, version, age_s in (
            (home.tenant_id, home.domain_access_version, MAX_AGE_S),
            (PLATFORM, -1, PLATFORM_AGE_S),
        ):
            lists = self._lists(tenant_id, version, age_s) if version else {}
            said = {lists[each] for each in asked if each in lists}
            if said:
                return Verdict.BLOCK if Verdict.BLOCK in said else Verdict.ALLOW
        return None

    def list_of(self, tenant_id: TenantId, tag: str, verdict: Verdict) -> list[ListedDomain]:
        """Return one list, by domain; one round trip."""
        return self._directory.domain_access.list_of(tenant_id, _tag(tag), verdict, self._limit)

    def put(self, actor: Actor, tenant_id: TenantId, tag: str, verdict: Verdict, domain: str) -> ListedDomain:
        """List a sender's domain; what was said of it for that tag before is replaced.

        Raises:
            ValueInvalid: no tag, or no domain.
            TooManyFilters: the tenant's lists are full.
            TenantNotFound: there is no such tenant.
        """
        try:
            listed = ListedDomain(ObjectId(), _tag(tag), verdict, domain_name(domain))
        except DomainInvalid as error:
            raise ValueInvalid(f"{domain[:100]!r} is no domain: {error.details[0]}") from error
        wanted = {"tag": listed.tag, "list": verdict.value, "domain": listed.domain}
        with self._changing(actor, tenant_id, "listed", wanted):
            if self._directory.domain_access.count(tenant_id) >= self._limit:
                raise TooManyFilters(f"at most {self._limit} domains on all lists")
            self._announce(tenant_id)
            stored = self._directory.domain_access.put(tenant_id, listed)
        self._tell(tenant_id)
        return stored

    def delete(self, actor: Actor, tenant_id: TenantId, entry_id: ObjectId) -> ListedDomain:
        """Take an entry from its list and return it.

        Raises:
            DomainNotFound: the tenant has none such.
        """
        with self._changing(actor, tenant_id, "unlisted", {"entry": str(entry_id)}) as change:
            self._announce(tenant_id)
            gone = self._directory.domain_access.delete(tenant_id, entry_id)
            if gone is None:
                raise DomainNotFound("there is no such entry")
            change.before.update({"tag": gone.tag, "list": gone.verdict.value, "domain": gone.domain})
        self._tell(tenant_id)
        return gone

    def _changing(
        self, actor: Actor, tenant_id: TenantId, what: str, wanted: Details
    ) -> AbstractContextManager[Change]:
        kind = f"domain_access.{what}"
        if tenant_id == PLATFORM:
            return self._audit.of_platform(actor, kind, wanted)
        return self._audit.of_tenant(actor, kind, tenant_id, wanted)

    def _announce(self, tenant_id: TenantId) -> None:
        """Make everybody look from now on; a tenant that had lists once keeps being asked, from memory."""
        if tenant_id != PLATFORM:
            self._directory.tenants.announce(tenant_id, DOMAIN_ACCESS)

    def _tell(self, tenant_id: TenantId) -> None:
        self._known.pop(tenant_id, None)
        if tenant_id != PLATFORM:
            self._directory.tenants.announce(tenant_id, DOMAIN_ACCESS)
            self._placement.forget_tenant(tenant_id)
            self._sessions.tenant_changed(tenant_id)

    def _lists(self, tenant_id: TenantId, version: int, age_s: float) -> _Lists:
        known = self._known.get(tenant_id)
        if known is not None and known[0] == version and self._clock() < known[1] + age_s:
            return known[2]
        read_at = self._clock()
        found = self._directory.domain_access.list_all(tenant_id, self._limit)
        lists = {(one.tag, one.domain): one.verdict for one in found}
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[tenant_id] = (version, read_at, lists)
        return lists


def _tag(text: str) -> str:
    tag = text.strip().casefold()
    if not tag or len(tag) > MAX_TAG_CHARACTERS or not tag.isprintable():
        raise ValueInvalid(f"a tag is one line of 1 to {MAX_TAG_CHARACTERS} characters")
    return tag
