"""Connections to MongoDB with the settings that the promises rest on, and the check that they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from mailcore.model.secret import Secret
from mailcore.store import lines, monitoring

Document = dict[str, Any]

SOCKET_TIMEOUT_MS = 5000
WRITE_TIMEOUT_MS = 5000
MAX_SOCKET_TIMEOUT_S = 8.0
MAX_SELECTION_TIMEOUT_S = 15.0
MAX_WRITE_TIMEOUT_MS = 60_000

STRONG_OPTIONS: dict[str, Any] = {
    "w": "majority",
    "journal": True,
    "wTimeoutMS": WRITE_TIMEOUT_MS,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": True,
    "retryReads": True,
    "socketTimeoutMS": SOCKET_TIMEOUT_MS,
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 2000,
    "maxPoolSize": 64,
    "appname": "eider",
}
"""What a URI does not say itself; what it says weaker is refused by `assert_strong`."""

CODEC: CodecOptions[Document] = CodecOptions(document_class=dict, tz_aware=True)
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


class WeakSettings(RuntimeError):
    """A client or handle could acknowledge what a failover takes back; such a process must not start."""


class UriInvalid(ValueError):
    """Not a MongoDB URI, without a database name, or naming a password that the environment lacks."""


def open_client(uri: str) -> MongoClient[Document]:
    """Return a client that connects at first use; one per process and server set.

    Raises:
        UriInvalid: the URI does not parse.
        WeakSettings: the URI asks for weaker settings than the promises need.
    """
    try:
        said = {name.lower() for name in parse_uri(uri, validate=False, warn=False)["options"]}
        options = {name: value for name, value in STRONG_OPTIONS.items() if name.lower() not in said}
        if "w" not in options or "journal" not in options:
            options.pop("wTimeoutMS", None)
        options["_monitor_class"] = monitoring.PatientMonitor
        client: MongoClient[Document] = MongoClient(uri, connect=False, document_class=dict, tz_aware=True, **options)
    except (PyMongoError, ValueError) as error:
        raise UriInvalid(f"not a MongoDB URI: {error}") from error
    monitoring.calm(client)
    try:
        assert_strong(client)
    except WeakSettings:
        client.close()
        raise
    return client


def assert_strong(handle: MongoClient[Document] | Database[Document] | Collection[Document]) -> None:
    """Refuse a client, database or collection whose settings are weaker than the promises need.

    Raises:
        WeakSettings: naming the settings at fault.
    """
    faults = _concern_faults(handle.write_concern, handle.read_concern)
    if handle.read_preference != ReadPreference.PRIMARY:
        faults.append("readPreference must be primary")
    if isinstance(handle, MongoClient):
        options = handle.options
        socket_timeout = options.pool_options.socket_timeout
        if not options.retry_writes:
            faults.append("retryWrites must be true")
        if socket_timeout is None or not 0 < socket_timeout <= MAX_SOCKET_TIMEOUT_S:
            faults.append("socketTimeoutMS must be between 1 and 8000")
        if options.server_selection_timeout > MAX_SELECTION_TIMEOUT_S:
            faults.append("serverSelectionTimeoutMS must be at most 15000")
    if faults:
        raise WeakSettings("; ".join(faults))


def _concern_faults(write: WriteConcern, read: ReadConcern) -> list[str]:
    faults = []
    asked = write.document
    if asked.get("w") != "majority":
        faults.append("w must be majority")
    if asked.get("j") is not True:
        faults.append("journal must be true")
    if not 0 < asked.get("wtimeout", 0) <= MAX_WRITE_TIMEOUT_MS:
        faults.append("wTimeoutMS must be between 1 and 60000")
    if read.level not in {"majority", "linearizable"}:
        faults.append("readConcernLevel must be majority")
    return faults


class Clients:
    """All connections of one process: one client for each set of servers, whatever databases it holds."""

    def __init__(
        self,
        secrets: Mapping[str, Secret],
        open_one: Callable[[str], MongoClient[Document]] = open_client,
    ) -> None:
        self._secrets = secrets
        self._open = open_one
        self._clients: dict[str, MongoClient[Document]] = {}
        self._lock = Lock()

    def database(self, uri: str) -> Database[Document]:
        """Return the database a URI names; `${EIDER_SECRET_X}` in it is filled in from the settings.

        Raises:
            UriInvalid: malformed, without database name, or a named secret is missing.
            WeakSettings: the URI asks for weaker settings than the promises need.
        """
        server_uri, name = split_database(uri)
        with self._lock:
            client = self._clients.get(server_uri)
            if client is None:
                client = self._clients[server_uri] = self._open(self._filled(server_uri))
        database = client.get_database(name, codec_options=CODEC)
        assert_strong(database)
        return database

    def close(self) -> None:
        """Close every client."""
        with self._lock:
            for client in self._clients.values():
                lines.of_client(client).close()
                client.close()
                monitoring.let_go(client)
            self._clients.clear()

    def _filled(self, uri: str) -> str:
        def value(match: re.Match[str]) -> str:
            secret = self._secrets.get(match[1])
            if secret is None:
                raise UriInvalid(f"the shard's URI names {match[1]}, which is not set in the environment")
            return secret.reveal_text()

        return _VARIABLE.sub(value, uri)


def split_database(uri: str) -> tuple[str, str]:
    """Return the URI without database name, and that name.

    Raises:
        UriInvalid: it has none.
    """
    match = re.fullmatch(r"(mongodb(?:\+srv)?://[^/?]+)/([^/?]+)(\?.*)?", uri)
    if match is None:
        raise UriInvalid("a MongoDB URI with a database name is needed: mongodb://host:port/database")
    return f"{match[1]}/{match[3] or ''}", match[2]
