"""A user's Sieve scripts (RFC 5804 §1.4): named, at most one active, each compiled before it is stored."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mailcore.errors import (
    ScriptExists,
    ScriptInvalid,
    ScriptIsActive,
    ScriptNotFound,
    ScriptTooLarge,
    TooManyScripts,
    ValueInvalid,
)
from mailcore.model.actor import Actor
from mailcore.model.filter import FilterSet, StoredScript, of_user
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits, SieveLimits
from mailcore.services.addresses.onward_targets import ConfirmedTargets, is_own_choice
from mailcore.services.events.audit import Audit
from mailcore.services.inbound.filter_changes import FilterChanges
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload
from mailcore.sieve import EXTENSIONS, compile_script, redirects_of
from mailcore.store.user.filter_sets import FilterChange

MAX_NAME_BYTES: Final = 512
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class ScriptEntry:
    """A script without its text."""

    name: str
    size_bytes: int
    is_active: bool
    changed_at: datetime


class Scripts:
    """Stores, activates and hands out scripts."""

    def __init__(
        self, changes: FilterChanges, targets: ConfirmedTargets, audit: Audit, limits: Limits, offload: Offload
    ) -> None:
        self._targets = targets
        self._offload = offload
        self._changes = changes
        self._audit = audit
        self._limits = limits

    @property
    def extensions(self) -> tuple[str, ...]:
        """What scripts may require, in order."""
        return tuple(sorted(EXTENSIONS))

    @property
    def max_redirects(self) -> int:
        """So many addresses one script may redirect one message to."""
        return self._limits.sieve.redirects

    # -- reading ------------------------------------------------------------------------------

    def list_of(self, user_id: UserId) -> list[ScriptEntry]:
        """Return a user's scripts by name; one round trip.

        Raises:
            UserNotFound: there is no such user.
        """
        found = self._changes.read(of_user(user_id)).scripts
        entries = [ScriptEntry(one.name, one.size_bytes, one.is_active, one.changed_at) for one in found]
        return sorted(entries, key=lambda entry: entry.name)

    def get(self, user_id: UserId, name: str) -> str:
        """Return the text of a script; one round trip.

        Raises:
            ScriptNotFound: the user has none of that name.
        """
        script = self._changes.read(of_user(user_id)).find_script(_normal(name))
        if script is None:
            raise ScriptNotFound(name)
        return script.text

    def check(self, text: bytes | str) -> str:
        """Return the text if it is a script that can be used; no round trip.

        Raises:
            ScriptTooLarge: it has too many bytes.
            ScriptInvalid: it is none; says where and why.
        """
        most = self._limits.sieve.script_bytes
        size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
        if size > most:
            raise ScriptTooLarge(f"at most {most} bytes")
        invalid = self._offload.run(lambda: _why_invalid(text, self._limits.sieve))
        if invalid is not None:
            raise invalid
        return text if isinstance(text, str) else text.decode("utf-8").removeprefix("\ufeff")

    def check_room(self, user_id: UserId, name: str, size_bytes: int) -> None:
        """Make sure that a script of that size may be stored (RFC 5804 §2.5); one round trip.

        Raises:
            ValueInvalid: no script can have the name.
            ScriptTooLarge, TooManyScripts: it may not.
        """
        wanted = clean_script_name(name)
        if size_bytes > self._limits.sieve.script_bytes:
            raise ScriptTooLarge(f"at most {self._limits.sieve.script_bytes} bytes")
        self._check_count(self._changes.read(of_user(user_id)), wanted)

    # -- changing -----------------------------------------------------------------------------

    def put(self, actor: Actor, user_id: UserId, name: str, text: bytes | str) -> None:
        """Store a script, in place of the one of that name if there is one, which stays active if it was.

        Raises:
            ValueInvalid: no script can have the name.
            ScriptInvalid, ScriptTooLarge, TooManyScripts: as they say.
            UserNotFound: there is no such user.
        """
        wanted = clean_script_name(name)
        script = StoredScript(wanted, self.check(text), now())

        def change(before: FilterSet) -> tuple[FilterChange, None]:
            self._check_count(before, wanted)
            if is_own_choice(actor):
                free = [one.text for one in before.scripts if not one.asks]
                old_targets, new_targets = self._offload.run(lambda: (_redirects(free), _redirects([script.text])))
                self._targets.go_on(user_id, old_targets, new_targets)
            old = before.find_script(wanted)
            asks = is_own_choice(actor) and (old is None or old.asks or old.text != script.text)
            new = replace(script, is_active=old is not None and old.is_active, asks=asks)
            return FilterChange(scripts=[one for one in before.scripts if one.name != wanted] + [new]), None

        self._change(actor, user_id, "stored", {"script": wanted, "bytes": script.size_bytes}, change)
        self._ask(actor, user_id)

    def activate(self, actor: Actor, user_id: UserId, name: str) -> None:
        """Let a script, and no other, have its say; an empty name: let none (RFC 5804 §2.8).

        Raises:
            ScriptNotFound: the user has none of that name.
        """
        wanted = _normal(name)

        def change(before: FilterSet) -> tuple[FilterChange, None]:
            if wanted and before.find_script(wanted) is None:
                raise ScriptNotFound(name)
            return FilterChange(scripts=[replace(one, is_active=one.name == wanted) for one in before.scripts]), None

        self._change(actor, user_id, "activated" if wanted else "deactivated", {"script": wanted}, change)
        self._ask(actor, user_id)

    def delete(self, actor: Actor, user_id: UserId, name: str) -> None:
        """Remove a script (RFC 5804 §2.10).

        Raises:
            ScriptNotFound: the user has none of that name.
            ScriptIsActive: it must be deactivated first.
        """
        wanted = _normal(name)

        def change(before: FilterSet) -> tuple[FilterChange, None]:
            script = before.find_script(wanted)
            if script is None:
                raise ScriptNotFound(name)
            if script.is_active:
                raise ScriptIsActive(name)
            return FilterChange(scripts=[one for one in before.scripts if one.name != wanted]), None

        self._change(actor, user_id, "deleted", {"script": wanted}, change)

    def rename(self, actor: Actor, user_id: UserId, old: str, new: str) -> None:
        """Give a script another name; active stays active (RFC 5804 §2.11.1).

        Raises:
            ScriptNotFound: the user has none of the old name.
            ScriptExists: there is one of the new name.
            ValueInvalid: no script can have the new name.
        """
        source, target = _normal(old), clean_script_name(new)

        def change(before: FilterSet) -> tuple[FilterChange, None]:
            if before.find_script(source) is None:
                raise ScriptNotFound(old)
            if before.find_script(target) is not None:
                raise ScriptExists(new)
            renamed = [replace(one, name=target) if one.name == source else one for one in before.scripts]
            return FilterChange(scripts=renamed), None

        self._change(actor, user_id, "renamed", {"script": source, "to": target}, change)

    # -- parts --------------------------------------------------------------------------------

    def _change(
        self,
        actor: Actor,
        user_id: UserId,
        what: str,
        wanted: dict[str, str | int],
        change: Callable[[FilterSet], tuple[FilterChange, None]],
    ) -> None:
        with self._audit.of_user(actor, f"script.{what}", user_id, wanted):
            self._changes.change(of_user(user_id), change)

    def _ask(self, actor: Actor, user_id: UserId) -> None:
        """Have the targets confirmed that the active script names in so many words."""
        active = self._changes.read(of_user(user_id)).active_script if is_own_choice(actor) else None
        if active is not None and active.asks:
            self._targets.ask(actor, user_id, self._offload.run(lambda: _redirects([active.text])))

    def _check_count(self, before: FilterSet, name: str) -> None:
        if before.find_script(name) is None and len(before.scripts) >= self._limits.scripts:
            raise TooManyScripts(f"at most {self._limits.scripts} scripts")


def _redirects(texts: Sequence[str]) -> list[str]:
    return [target for text in texts for target in redirects_of(text)]


def _why_invalid(text: bytes | str, limits: SieveLimits) -> ScriptInvalid | None:
    """Return why a script cannot be used; returned, for what is raised in a pool is logged as a fault of ours."""
    try:
        compile_script(text, limits)
    except ScriptInvalid as error:
        return error
    return None


def clean_script_name(name: str) -> str:
    """Return a script's name in NFC (RFC 5804 §1.6, RFC 5198).

    Raises:
        ValueInvalid: empty, too long, or with control characters.
    """
    cleaned = _normal(name)
    if not cleaned or len(cleaned.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise ValueInvalid(f"a script's name has 1 to {MAX_NAME_BYTES} bytes")
    if any(unicodedata.category(character) in _UNFIT for character in cleaned):
        raise ValueInvalid("a script's name has no control characters")
    return cleaned


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
