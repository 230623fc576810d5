"""Domains of an organisation, as programs see them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import StringConstraints

from mailcore.api.call import Call
from mailcore.api.fields import Fields, Output, instant
from mailcore.api.operation import Operation, Permission
from mailcore.model.roles import Action, Resource
from portal.api.calls import identity, operation, organisation_of
from portal.api.members import ListMembers
from portal.domains import queries, services
from portal.domains.models import DomainClaim, RecordResult
from portal.domains.records import Advice, State, Verdict
from portal.domains.sentences import sentence
from portal.mail_plane import portal


class DomainFields(Fields):
    """One domain."""

    id: str
    name: str
    verified: str | None
    checked: str | None
    open_records: int
    """Records that are not as they should be."""


class DomainAnswer(DomainFields, Output):
    """One domain with what was last seen of its records."""

    records: list[dict[str, Any]]


class DomainList(Output):
    """Up to fifty domains by name; `next` is the name after which to go on, or false."""

    results: list[DomainFields]
    next: str | bool


class ListDomains(ListMembers):
    """Of which tenant, and after which name."""

    after: Annotated[str, StringConstraints(max_length=253)] | None = None


class OneDomain(ListMembers):
    """Of which tenant."""


class AddDomain(ListMembers):
    """Which domain."""

    domain: Annotated[str, StringConstraints(min_length=1, max_length=253)]


@operation
def list_domains(call: Call, given: ListDomains) -> dict[str, Any]:
    """Return a tenant's domains by name; three round trips."""
    claims = queries.list_claims(organisation_of(call, given.tenant), given.after or "")
    still_open = queries.count_open([one.id for one in claims])
    more = claims[-1].name if len(claims) == queries.PAGE else False
    return {"results": [_shown(one, still_open.get(one.id, 0)) for one in claims], "next": more}


@operation
def get_domain(call: Call, given: OneDomain) -> dict[str, Any]:
    """Return one domain with the state of its records."""
    return _whole(queries.get_claim(organisation_of(call, given.tenant), _id(call)))


@operation
def add_domain(call: Call, given: AddDomain) -> dict[str, Any]:
    """Claim a domain; mail flows once its DNS proves the claim."""
    organisation = organisation_of(call, given.tenant)
    claim = services.add_domain(call.actor, organisation, given.domain, portal().settings.domains.names)
    return {"id": str(claim.id)}


@operation
def check_domain(call: Call, given: OneDomain) -> dict[str, Any]:
    """Let a domain's records be looked at now."""
    services.check_now(organisation_of(call, given.tenant), _id(call))
    return {}


@operation
def remove_domain(call: Call, given: OneDomain) -> dict[str, Any]:
    """Give a domain up."""
    services.remove_domain(call.actor, organisation_of(call, given.tenant), _id(call))
    return {}


def _id(call: Call) -> Any:
    return identity(call.path["domain"], "DomainNotFound", "domain")


def _shown(one: DomainClaim, still_open: int) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "name": one.name,
        "verified": instant(one.verified_at),
        "checked": instant(one.checked_at),
        "openRecords": still_open,
    }


def _whole(one: DomainClaim) -> dict[str, Any]:
    records = [_record(result) for result in one.results]
    return {**_shown(one, sum(result["state"] != "match" for result in records)), "records": records}


def _record(result: RecordResult) -> dict[str, Any]:
    """Return what is wanted of a record, what was seen, what to change, and what that rests on."""
    verdict = Verdict(State(result.state), Advice(result.advice), result.named)
    return {
        "kind": str(result.kind),
        "name": result.name,
        "type": result.type,
        "required": result.is_required,
        "values": list(result.proposal),
        "state": str(result.state),
        "advice": str(result.advice),
        "sentence": sentence(verdict),
        "since": instant(result.since),
        "checked": instant(result.checked_at),
        "evidence": list(result.evidence),
    }


class Added(Output):
    """The new domain."""

    id: str


def _needs(action: Action) -> Permission:
    return Permission(Resource.DOMAINS, action, of_tenant=True)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/domains",
        "listDomains",
        "List domains",
        _needs(Action.READ),
        ListDomains,
        DomainList,
        list_domains,
        is_list=True,
    ),
    Operation(
        "POST",
        "/domains",
        "addDomain",
        "Claim a domain",
        _needs(Action.CREATE),
        AddDomain,
        Added,
        add_domain,
    ),
    Operation(
        "GET",
        "/domains/{domain}",
        "getDomain",
        "Get a domain",
        _needs(Action.READ),
        OneDomain,
        DomainAnswer,
        get_domain,
    ),
    Operation(
        "POST",
        "/domains/{domain}/check",
        "checkDomain",
        "Look at its records",
        _needs(Action.UPDATE),
        OneDomain,
        Output,
        check_domain,
    ),
    Operation(
        "DELETE",
        "/domains/{domain}",
        "removeDomain",
        "Give a domain up",
        _needs(Action.DELETE),
        OneDomain,
        Output,
        remove_domain,
    ),
)
