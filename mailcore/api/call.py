"""One request on its way: who asks, whose user it is about, and what a dry run found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec

from bson import ObjectId
from werkzeug.datastructures import Headers

from mailcore.api.errors import ApiError
from mailcore.api.operation import Permission
from mailcore.api.steps import Steps
from mailcore.errors import DeletedUserNotFound, PasswordChangeNeeded, UserNotFound
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId, UserId
from mailcore.model.octets import Octets
from mailcore.model.roles import ROLES, Grants, Role, may
from mailcore.model.secret import Secret
from mailcore.model.token import Token, TokenScope
from mailcore.services import MailServices
from mailcore.services.events.audit import Planned

ME = "me"
P = ParamSpec("P")


@dataclass(slots=True)
class Call:
    """What an operation is handed."""

    services: MailServices
    token: Token | None
    """None where the operation is open to everybody."""
    actor: Actor
    path: dict[str, str]
    value: Secret | None = None
    """The token's own value."""
    user_id: UserId | None = None
    plan: list[dict[str, Any]] = field(default_factory=list)
    """What a dry run would have changed."""
    body: Octets | None = None
    """The body of an operation that takes bytes, where it was neither JSON nor a form."""
    headers: dict[str, str] = field(default_factory=dict)
    """For the answer."""
    asked: Headers = field(default_factory=Headers)
    """The header of the request."""

    @property
    def owner(self) -> UserId:
        """Return the user that the path names."""
        assert self.user_id is not None
        return self.user_id

    @property
    def grants(self) -> Grants:
        """Return what the token's role may do."""
        return ROLES[self.role]

    @property
    def role(self) -> Role:
        """Return the role of the token."""
        assert self.token is not None
        return self.token.role

    @property
    def tenant_id(self) -> TenantId | None:
        """Return the tenant that the token is bound to; None for the platform's."""
        return self.token.owner.tenant_id if self.token is not None else None

    @property
    def token_user(self) -> UserId | None:
        """Return the user that the token is bound to."""
        return self.token.owner.user_id if self.token is not None else None

    @property
    def must_change_first(self) -> bool:
        """Whether the token is for the choice of another password only."""
        return self.token is not None and self.token.change_first

    @property
    def is_own(self) -> bool:
        """Whether the token is that of the user in the path."""
        return self.token is not None and self.user_id is not None and self.token.owner.user_id == self.user_id

    def check_hidden(self, asked: Iterable[str]) -> None:
        """Make sure that no field is set which the token's role does not see.

        Raises:
            ApiError: one is.
        """
        refused = sorted(self.grants.hidden_fields.intersection(asked))
        if refused:
            raise ApiError(403, "MissingPrivileges", f"This token may not change {', '.join(refused)}")

    def sees(self, tenant_id: TenantId) -> bool:
        """Whether things of a tenant exist for this token; a user's own are found by the user."""
        return self.tenant_id is None or self.tenant_id == tenant_id

    def change(self, function: Callable[P, object], /, *arguments: P.args, **named: P.kwargs) -> None:
        """Make a change; a dry run notes it and goes on to the next."""
        try:
            function(*arguments, **named)
        except Planned as planned:
            self.plan.append({"change": planned.kind, **planned.wanted})

    @contextmanager
    def together(self) -> Iterator[Steps]:
        """Make the changes that are noted inside at the end of it; where one would be refused none is made."""
        steps = Steps()
        yield steps
        steps.carry_out(self.change, dry_run=self.actor.dry_run)

    def on_behalf(self) -> Actor:
        """Return the actor for mail of the user in the path."""
        return replace(self.actor, on_behalf_of=self.owner)


def actor_of(token: Token | None, remote_address: str, request_id: str, *, dry_run: bool) -> Actor:
    """Return who acts with a token: the operator, a member of the tenant, or the user itself."""
    kind, identity, behalf = ActorKind.SYSTEM, "anybody", None
    if token is not None:
        identity = token.identity
        behalf = token.owner.user_id
        kind = {
            TokenScope.PLATFORM: ActorKind.OPERATOR,
            TokenScope.TENANT: ActorKind.MEMBER,
            TokenScope.USER: ActorKind.USER,
        }[token.owner.scope]
    return Actor(kind, Door.API, identity, behalf, remote_address, request_id, dry_run)


def resolve_user(call: Call, text: str) -> UserId:
    """Return the user of a path, if it exists for this token; no round trip if its home is known.

    Raises:
        UserNotFound: no such user, or another tenant's, or, for a user's token, anybody else.
    """
    assert call.token is not None
    owner = call.token.owner
    if text == ME and owner.user_id is not None:
        return owner.user_id
    if not ObjectId.is_valid(text):
        raise UserNotFound(text)
    user_id = UserId(ObjectId(text))
    if owner.user_id not in {None, user_id}:
        raise UserNotFound(text)
    if not call.sees(call.services.placement.home(user_id).tenant_id):
        raise UserNotFound(text)
    return user_id


def resolve_deleted_user(call: Call, text: str) -> UserId:
    """Return the deleted user of a path, if it exists for this token.

    Raises:
        DeletedUserNotFound: no such user was deleted, or it is another tenant's; a user's token knows none.
    """
    assert call.token is not None
    if call.token_user is not None or not ObjectId.is_valid(text):
        raise DeletedUserNotFound(text)
    user_id = UserId(ObjectId(text))
    if not call.sees(call.services.deleted_users.get(user_id).user.tenant_id):
        raise DeletedUserNotFound(text)
    return user_id


def check_permission(call: Call, needs: Permission) -> None:
    """Make sure that the token's role may do this.

    Raises:
        ApiError: it may not.
        PasswordChangeNeeded: its user has to choose another password first.
    """
    is_own = call.is_own if call.user_id is not None else call.token_user is not None and needs.own_without_user
    is_kept_back = needs.of_tenant and call.token_user is not None  # whatever its role
    if is_kept_back or not may(call.role, needs.action, needs.resource, own=is_own):
        raise ApiError(403, "MissingPrivileges", "This token may not do this")
    if call.must_change_first and not needs.before_change:
        raise PasswordChangeNeeded
