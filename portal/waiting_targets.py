"""Targets of forwarding that get nothing yet: what users and their admins see of them."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.model.forward_target import is_url
from mailcore.model.onward_target import target_key
from mailcore.model.tenant import User
from portal.mail_plane import mail


@dataclass(frozen=True, slots=True)
class Waiting:
    """A target that gets nothing yet; a URL waits for an admin, for nobody can be asked there."""

    target: str
    is_url: bool


def waiting_of(user: User) -> list[Waiting]:
    """Return what gets nothing yet of what a user's settings, rules and script name in so many words.

    One round trip, and one to three more where an address may be hosted here.
    """
    named = list(user.settings.targets) if user.settings.targets_ask else []
    named += mail().filters.asking_targets(user.id)
    once: dict[str, str] = {}
    for target in named:
        once.setdefault(target_key(target), target)
    return [Waiting(target, is_url(target)) for target in mail().targets.waiting(user, once.values())]
