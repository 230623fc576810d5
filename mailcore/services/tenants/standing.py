"""What a tenant's standing lets its users do: asked by whatever changes mail, and by whatever sends it.

Mail that comes in and what operators do is never stopped by it; what would leave again by itself is, and is kept.
"""

from __future__ import annotations

from typing import Final

from mailcore.errors import MailReadOnly, SendingStopped
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.rights import ALL_RIGHTS, Right
from mailcore.model.tenant import Standing, State
from mailcore.store.placement import Home

READING: Final = Right.LOOKUP | Right.READ
"""What is left of an owner's rights."""
_BOUND: Final = frozenset({ActorKind.USER, ActorKind.MEMBER})
_READERS: Final = frozenset({Standing.READ_ONLY, Standing.CLOSED})
_OF_MAIL: Final = ("mailbox", "filter", "tenant_filter", "script", "autoreply", "file")
"""Kinds of changes that are of mail, by what stands before their dot; sign-in and security can always be changed."""


def own_rights(home: Home, actor: Actor) -> Right:
    """Return what somebody may do with mailboxes that are his own."""
    return READING if _is_bound(home, actor) else ALL_RIGHTS


def check_change(home: Home, actor: Actor, kind: str) -> None:
    """Make sure that a change may be made.

    Raises:
        MailReadOnly: it is one of mail, by somebody of a tenant whose mail is read-only.
    """
    if _is_bound(home, actor) and kind.partition(".")[0] in _OF_MAIL:
        raise MailReadOnly(kind)


def check_mail_change(home: Home, actor: Actor) -> None:
    """As `check_change`, of messages.

    Raises:
        MailReadOnly: as there.
    """
    if _is_bound(home, actor):
        raise MailReadOnly("mail")


def check_sending(home: Home) -> None:
    """Make sure that a user may send.

    Raises:
        SendingStopped: the tenant's standing, or staff, stop it.
    """
    if home.standing is not Standing.FULL or (home.sending_hold is not None and home.sending_hold.stops):
        raise SendingStopped(home.tenant_id)


def sends_by_itself(state: State, standing: Standing) -> bool:
    """Return whether anything leaves that nobody sends by hand: forwards, redirects, automatic replies.

    Nothing does of whoever may not sign in, and so could not stop it, or may not send.

    Args:
        state: the stricter of the user's and what the tenant admits; of what is no user's, what the tenant admits.
        standing: the tenant's.
    """
    return state is State.ACTIVE and standing is Standing.FULL


def _is_bound(home: Home, actor: Actor) -> bool:
    return home.standing in _READERS and actor.kind in _BOUND
