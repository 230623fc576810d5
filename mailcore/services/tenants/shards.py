"""Shards: the sets of servers that hold mail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from mailcore.errors import ShardExists, ShardNotFound, StoreUnavailable, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.tenant import Shard
from mailcore.services.events.audit import Audit
from mailcore.store.client import UriInvalid, WeakSettings
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII | re.IGNORECASE)
_PASSWORD_BY_NAME = re.compile(r"\$\{EIDER_SECRET_[A-Z0-9_]+\}", re.ASCII)


def region_name(text: str) -> str:
    """Return a region in lower case.

    Raises:
        ValueInvalid: it is not a short identifier.
    """
    if _IDENTIFIER.fullmatch(text) is None:
        raise ValueInvalid(f"region {text!r}: use letters, digits and hyphens, such as eu or us-east")
    return text.lower()


class Shards:
    """Adds and lists shards."""

    def __init__(self, directory: Directory, placement: Placement, audit: Audit) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit

    def add(self, actor: Actor, name: str, region: str, hot_uri: str, cold_uri: str) -> Shard:
        """Create collections and indexes on both sets, then open the shard for new users.

        Raises:
            ShardExists: the name is taken.
            ValueInvalid: name, region or URI is malformed, a URI holds a password, a database is another shard's, or
                one of the sets does not answer.
            StoreUnavailable: the directory does not answer.
        """
        if _IDENTIFIER.fullmatch(name) is None:
            raise ValueInvalid(f"shard name {name!r}: use letters, digits and hyphens")
        _check_passwords(hot_uri, cold_uri)
        shard = Shard(name, region_name(region), hot_uri, cold_uri, is_open=True)
        try:
            stores = self._placement.open_stores(shard)
        except (UriInvalid, WeakSettings) as error:
            raise ValueInvalid(f"shard {name}: {error}") from error
        self._check_own(name, hot_uri, cold_uri)
        for word, uri, answers in (("hot", hot_uri, stores.hot_answers), ("cold", cold_uri, stores.cold_answers)):
            _check_answers(name, word, uri, answers)
        self._directory.ensure_indexes()
        stores.ensure_indexes()
        with self._audit.of_platform(actor, "shard.added", {"shard": name, "region": shard.region}):
            if not self._directory.shards.insert(shard):
                raise ShardExists(f"a shard named {name} exists")
        self._placement.forget_shards()
        return shard

    def ensure_directory_indexes(self) -> None:
        """Create collections and indexes that the directory lacks: a newer version may want more.

        Raises:
            StoreUnavailable: the directory does not answer.
        """
        self._directory.ensure_indexes()

    def ensure_indexes(self, shard: Shard) -> None:
        """Create collections and indexes that a shard lacks.

        Raises:
            StoreUnavailable: one of its sets does not answer within three seconds.
        """
        stores = self._placement.shard(shard.name)
        stores.hot_answers()
        stores.cold_answers()
        stores.ensure_indexes()

    def set_open(self, actor: Actor, name: str, *, is_open: bool) -> None:
        """Open or close a shard for new users.

        Raises:
            ShardNotFound: there is none of that name.
        """
        shard = self.get(name)
        with self._audit.of_platform(actor, "shard.opened" if is_open else "shard.closed", {"shard": name}):
            self._directory.shards.update(replace(shard, is_open=is_open))
        self._placement.forget_shards()

    def set_uris(self, actor: Actor, name: str, hot_uri: str, cold_uri: str) -> None:
        """Tell where a shard's sets are now; the data has moved with them already.

        Raises:
            ShardNotFound: there is none of that name.
            ValueInvalid: a URI holds a password, or a database is another shard's.
        """
        _check_passwords(hot_uri, cold_uri)
        shard = self.get(name)
        self._check_own(name, hot_uri, cold_uri)
        with self._audit.of_platform(actor, "shard.readdressed", {"shard": name}):
            self._directory.shards.update(replace(shard, hot_uri=hot_uri, cold_uri=cold_uri))
        self._placement.forget_shards()

    def get(self, name: str) -> Shard:
        """Return a shard.

        Raises:
            ShardNotFound: there is none of that name.
        """
        for shard in self._directory.shards.list_all():
            if shard.name == name:
                return shard
        raise ShardNotFound(f"there is no shard named {name}")

    def list_all(self) -> list[Shard]:
        """Return every shard by name."""
        return self._directory.shards.list_all()

    def _check_own(self, name: str, *uris: str) -> None:
        """See that no other shard has these databases: its mail would lie in two regions, its events be told twice."""
        wanted = {place for uri in uris for place in _places(uri)}
        for other in self._directory.shards.list_all():
            if other.name != name and wanted & {*_places(other.hot_uri), *_places(other.cold_uri)}:
                raise ValueInvalid(f"shard {name}: a database of shard {other.name} cannot be its own too")


def _places(uri: str) -> set[tuple[str, str]]:
    """Return each server a URI names, with its database."""
    parts = urlsplit(uri)
    return {(server.lower(), parts.path.strip("/")) for server in parts.netloc.rpartition("@")[2].split(",")}


def _check_answers(name: str, word: str, uri: str, answers: Callable[[], None]) -> None:
    try:
        answers()
    except StoreUnavailable as error:
        servers = urlsplit(uri).netloc.rpartition("@")[2]
        if error.details[:1] == ("OperationFailure",):
            raise ValueInvalid(f"shard {name}: {servers}, its {word} set, refuses: {error.details[-1]}") from error
        raise ValueInvalid(
            f"shard {name}: {servers}, its {word} set, does not answer: see that it runs and can be reached from here"
        ) from error


def _check_passwords(*uris: str) -> None:
    for uri in uris:
        password = urlsplit(uri.replace("${", "$%7B").replace("}", "%7D")).password
        if password is not None and not _PASSWORD_BY_NAME.fullmatch(password.replace("%7B", "{").replace("%7D", "}")):
            raise ValueInvalid("a shard's URI names its password as ${EIDER_SECRET_X}; the environment holds it")
