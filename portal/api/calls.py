"""What every operation here needs: the organisations that a token sees, errors of the portal, dry runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from mailcore.api.call import Call
from mailcore.api.errors import ApiError
from mailcore.api.fields import Input
from portal.accounts.models import Organisation
from portal.audit.models import AuditEvent
from portal.audit.services import NOTED
from portal.database import session, unit_of_work
from portal.domains.errors import ClaimNotFound, DomainNotClaimable
from portal.failures import RETRY_AFTER_S
from portal.members.services import AlreadyMember, LastOwner

Given = TypeVar("Given", bound=Input)
Run = Callable[[Call, Given], dict[str, Any]]


class _Undone(Exception):
    """A dry run is over: nothing of it stays."""


def operation(run: Run[Given]) -> Run[Given]:
    """Let an operation's errors be those of the API, and a dry run change nothing."""

    @functools.wraps(run)
    def guarded(call: Call, given: Given) -> dict[str, Any]:
        try:
            if not call.actor.dry_run:
                return run(call, given)
            return _dry(call, given, run)
        except AlreadyMember:
            raise ApiError(400, "MemberExistsError", "Whoever has this address is a member already") from None
        except LastOwner:
            raise ApiError(400, "LastOwner", "A tenant has at least one owner") from None
        except ClaimNotFound:
            raise ApiError(404, "DomainNotFound", "There is no such domain for this token") from None
        except DomainNotClaimable as refused:
            raise ApiError(400, "DomainNotClaimable", f"{refused.name} cannot be had: {refused.reason}") from None
        except (DBAPIError, PoolExhausted) as error:
            if isinstance(error, PoolExhausted) or error.connection_invalidated:
                raise _unavailable() from error
            raise

    return guarded


def _dry(call: Call, given: Given, run: Run[Given]) -> dict[str, Any]:
    """Do it, keep what the audit log would have said, and undo it."""
    noted: list[AuditEvent] = []
    try:
        with unit_of_work() as current:
            current.info[NOTED] = noted
            run(call, given)
            call.plan.extend({"change": one.what, "target": one.target, **one.details} for one in noted)
            raise _Undone  # noqa: TRY301  the way out of a unit of work without a commit
    except _Undone:
        return {}
    finally:
        session().info.pop(NOTED, None)


def organisation_of(call: Call, text: str | None) -> Organisation:
    """Return the organisation that is named, or the token's own where none is.

    Raises:
        ApiError: none of this id for this token, or a platform's token that does not say which.
    """
    mine = call.tenant_id
    if text is None:
        if mine is None:
            raise ApiError(400, "InputValidationError", "Say which tenant", {"tenant": "the id of a tenant"})
        wanted = select(Organisation).where(Organisation.tenant == str(mine))
    else:
        wanted = select(Organisation).where(Organisation.id == _uuid(text))
        if mine is not None:
            wanted = wanted.where(Organisation.tenant == str(mine))
    found = session().scalars(wanted).one_or_none()
    if found is None:
        raise no_tenant()
    return found


def identity(text: str, code: str, what: str) -> UUID:
    """Return the id in a path.

    Raises:
        ApiError: it is none, so there is no such thing.
    """
    try:
        return UUID(text)
    except ValueError:
        raise ApiError(404, code, f"There is no such {what} for this token") from None


def no_tenant() -> ApiError:
    """Return the answer about a tenant that a token does not see."""
    return ApiError(404, "TenantNotFound", "There is no such tenant for this token")


def _uuid(text: str) -> UUID:
    return identity(text, "TenantNotFound", "tenant")


def _unavailable() -> ApiError:
    error = ApiError(503, "ServiceUnavailable", "The service cannot do this now; try again")
    error.headers["Retry-After"] = str(RETRY_AFTER_S)
    return error
