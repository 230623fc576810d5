"""What a user, or an admin for the user, has set for its mail; no secrets here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from urllib.parse import urlsplit

from mailcore.errors import ValueInvalid
from mailcore.model.forward_target import clean_target

MAX_LANGUAGE_CHARACTERS: Final = 20
MAX_TAG_CHARACTERS: Final = 128
MAX_TAGS: Final = 100
MAX_TARGETS: Final = 20
MAX_WHITELIST: Final = 100
MAX_UNDO_S: Final = 30
MAX_DATA_CHARACTERS: Final = 1 << 20
MAX_SECONDS: Final = 100 * 366 * 24 * 3600
RELAY_SCHEMES: Final = frozenset({"smtp", "smtps"})


@dataclass(frozen=True, slots=True)
class UserSettings:
    """One user's settings; what is not set has the default.

    Attributes:
        language: a BCP 47 tag, "" for none.
        tags: groups that domain access lists and searches go by; case counts not.
        targets: addresses and URLs that every incoming message is forwarded to.
        targets_ask: the user chose the targets, so those outside get nothing until they are confirmed.
        keeps_forwarded: a copy of what is forwarded to `targets` stays here.
        mta_relay: smtp(s) URL of a smarthost of the user's own, without credentials in clear; "" for none.
        relay_is_own: the user chose it, so mail that is sent on by itself takes another way.
        spam_level: 0 to 100: 0 takes everything for spam, 100 nothing.
        from_whitelist: addresses, or patterns with one "*" at an end, that the user may send as besides its own.
        uploads_sent: its clients file sent messages themselves, so none is filed for it.
        undo_s: so many seconds nothing leaves that it sent, so that it may be taken back; 0 for none.
        requires_2fa: front ends have it set a second factor up.
        expires_after_s: how long messages stay in mailboxes that say nothing else; 0 is for ever.
        meta_data: JSON text that the user's applications keep here.
        internal_data: JSON text that the user does not see.
    """

    language: str = ""
    tags: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    targets_ask: bool = False
    keeps_forwarded: bool = True
    mta_relay: str = ""
    relay_is_own: bool = False
    spam_level: int = 50
    from_whitelist: tuple[str, ...] = ()
    uploads_sent: bool = False
    undo_s: int = 0
    requires_2fa: bool = False
    expires_after_s: int = 0
    meta_data: str = ""
    internal_data: str = ""

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> UserSettings:
        """Return the settings of a user's document."""
        if not stored:
            return DEFAULTS
        known: dict[str, Any] = {name: value for name, value in stored.items() if name in SETTINGS}
        return cls(**(known | {name: tuple(value) for name, value in known.items() if isinstance(value, list)}))

    def changed(self, changes: Mapping[str, Any]) -> UserSettings:
        """Return these settings with some replaced, all checked and in the form in which they are kept.

        Raises:
            ValueInvalid: the text says which and what is right.
        """
        unknown = changes.keys() - SETTINGS
        if unknown:
            raise ValueInvalid(f"there is no setting {min(unknown)}")
        return replace(self, **{name: _CHECKS[name](value) for name, value in changes.items()})


def _language(value: str) -> str:
    return _text("a language", value, MAX_LANGUAGE_CHARACTERS)


def clean_tags(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return tags, each once whatever its case.

    Raises:
        ValueInvalid: too many, too long, or not one line.
    """
    if len(values) > MAX_TAGS:
        raise ValueInvalid(f"at most {MAX_TAGS} tags")
    kept: dict[str, str] = {}
    for value in values:
        tag = _text("a tag", value.strip(), MAX_TAG_CHARACTERS)
        if tag:
            kept.setdefault(tag.casefold(), tag)
    return tuple(kept.values())


def _targets(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > MAX_TARGETS:
        raise ValueInvalid(f"at most {MAX_TARGETS} addresses to forward to")
    kept: dict[str, str] = {}
    for value in values:
        key, target = clean_target(value)
        kept.setdefault(key, target)
    return tuple(kept.values())


def _relay(value: str) -> str:
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueInvalid("a relay is written smtp://host:port or smtps://host:port") from error
    if parts.scheme not in RELAY_SCHEMES or not parts.hostname or port == 0 or parts.password is not None:
        raise ValueInvalid("a relay is written smtp://host:port or smtps://host:port, without a password")
    return value


def _spam_level(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise ValueInvalid("a spam level is a number from 0 to 100")
    return value


def _undo(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_UNDO_S:
        raise ValueInvalid(f"the time to take a message back is 0 to {MAX_UNDO_S} seconds")
    return value


def _whitelist(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > MAX_WHITELIST:
        raise ValueInvalid(f"at most {MAX_WHITELIST} addresses to send as")
    for value in values:
        stars = value.count("*")
        if not value or stars > 1 or (stars and not (value.startswith("*") or value.endswith("*"))):
            raise ValueInvalid(f"{value[:100]!r}: an address, or one with a single * at its beginning or end")
    return tuple(dict.fromkeys(_text("an address", value.strip(), MAX_TAG_CHARACTERS) for value in values))


def _seconds(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SECONDS:
        raise ValueInvalid("a time is a number of seconds, up to a hundred years")
    return value


def _flag(value: bool) -> bool:
    if not isinstance(value, bool):
        raise ValueInvalid("true or false")
    return value


def clean_data(value: str) -> str:
    """Return JSON text of an application.

    Raises:
        ValueInvalid: too long.
    """
    if len(value) > MAX_DATA_CHARACTERS:
        raise ValueInvalid(f"data of an application has at most {MAX_DATA_CHARACTERS} characters of JSON")
    return value


def _text(what: str, value: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or not (value.isprintable() or not value):
        raise ValueInvalid(f"{what} is one line of up to {most} characters")
    return value


SETTINGS: Final = frozenset(each.name for each in fields(UserSettings))
DEFAULTS: Final = UserSettings()
_CHECKS: Final[Mapping[str, Any]] = {
    "language": _language,
    "tags": clean_tags,
    "targets": _targets,
    "targets_ask": _flag,
    "keeps_forwarded": _flag,
    "mta_relay": _relay,
    "relay_is_own": _flag,
    "spam_level": _spam_level,
    "from_whitelist": _whitelist,
    "uploads_sent": _flag,
    "undo_s": _undo,
    "requires_2fa": _flag,
    "expires_after_s": _seconds,
    "meta_data": clean_data,
    "internal_data": clean_data,
}
