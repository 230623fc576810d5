"""Who is signed in, and what a view needs: every view says so, or the portal does not start."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, cast

from flask import abort, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from mailcore.model.actor import Actor, ActorKind, Door
from portal.accounts.models import Member, Organisation, PortalSession
from portal.permissions import Permission, Role, allows

View = TypeVar("View", bound=Callable[..., Any])


class Open(Enum):
    """What a view needs instead of a permission."""

    PUBLIC = "public"
    """Nothing: sign-in, sign-up, what a mailed token opens."""
    SIGNED_IN = "signed_in"
    """Anybody who is signed in, whatever the role."""


Need = Permission | Open


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who sits at the browser of this request."""

    session: PortalSession
    role: Role
    member: Member | None = None
    organisation: Organisation | None = None
    needs_second_factor: bool = False
    """The role must have a second factor and this member has none yet: nothing else can be done before."""

    def may(self, permission: Permission) -> bool:
        """Tell whether the role has a permission."""
        return allows(self.role, permission)

    @property
    def identity(self) -> str:
        """How the audit log names whom this is."""
        return self.member.email if self.member is not None else (self.session.mail_address or "")


def requires(permission: Permission) -> Callable[[View], View]:
    """Let only those pass whose role has the permission.

    Who is not signed in is sent to the sign-in; who lacks the permission is answered 403; who must first set up a
    second factor is sent there.
    """
    return _guarded(permission)


def signed_in_only(view: View) -> View:
    """Let anybody pass who is signed in."""
    return _guarded(Open.SIGNED_IN)(view)


def public(view: View) -> View:
    """Let everybody pass."""
    view.portal_need = Open.PUBLIC  # type: ignore[attr-defined]
    return view


def need_of(view: Callable[..., Any]) -> Need | None:
    """Return what a view needs; None: it does not say, which is a mistake."""
    return getattr(view, "portal_need", None)


def signed_in() -> SignedIn | None:
    """Return who is signed in, or None."""
    return cast("SignedIn | None", g.get("signed_in"))


def current() -> SignedIn:
    """Return who is signed in; only for views that need it."""
    found = signed_in()
    if found is None:
        abort(401)
    return found


def current_member() -> Member:
    """Return the member; only for views that need a permission of members."""
    member = current().member
    if member is None:
        abort(403)
    return member


def current_organisation() -> Organisation:
    """Return the organisation on which the member works; only for views that need a permission of members."""
    organisation = current().organisation
    if organisation is None:
        abort(403)
    return organisation


def actor() -> Actor:
    """Return who acts in this request, for services of the portal and of the mail plane."""
    who = signed_in()
    remote = request.remote_addr or ""
    request_id = str(g.get("request_id", ""))
    if who is None:
        return Actor(ActorKind.MEMBER, Door.PORTAL, "", None, remote, request_id)
    kind = ActorKind.STAFF if who.role is Role.STAFF else ActorKind.MEMBER
    if who.role is Role.MAIL_USER:
        kind = ActorKind.USER
    return Actor(kind, Door.PORTAL, who.identity, None, remote, request_id)


def _guarded(need: Need) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*arguments: Any, **named: Any) -> ResponseReturnValue:
            refusal = _refusal(need)
            return refusal if refusal is not None else view(*arguments, **named)

        guarded.portal_need = need  # type: ignore[attr-defined]
        return cast("View", guarded)

    return decorate


def _refusal(need: Need) -> ResponseReturnValue | None:
    """Return what is answered instead of the view, or None."""
    who = signed_in()
    if who is None:
        wanted = request.full_path.rstrip("?") if request.method == "GET" else None
        door = "own.sign_in" if need is Permission.OWN_MAIL else "accounts.sign_in"
        return redirect(url_for(door, next=wanted if wanted != "/" else None), code=303)
    if isinstance(need, Permission):
        if not who.may(need):
            abort(403)
        if who.needs_second_factor and need is not Permission.OWN_PROFILE:
            return redirect(url_for("profile.security"), code=303)
    return None
