"""No store, log, metric or queue shows a secret (attacks W23 and W24).

Every changing method of every service is called once on databases of its own. Whatever is sealed meanwhile, and
whatever travels as `Secret`, is a canary; afterwards everything that is stored anywhere is read and searched.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
import re2
from bson import ObjectId, encode
from prometheus_client import generate_latest
from pymongo.database import Database
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from infra.devstack.endpoints import Endpoints
from mailcore.log import JsonFormatter
from mailcore.model.actor import SYSTEM
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.trust.rotation import SEALED
from mailcore.services.trust.sealing import Sealing
from mailcore.services.wiring import connect
from tests.builders import SEALING_KEYS, make_services, make_settings
from tests.services.test_audit_coverage import ACTOR, CALLS, make_scene, own_shard
from workers.context import JobContext
from workers.enqueue import enqueue
from workers.jobs.sealing import rotate
from workers.registry import JOBS

SHORTEST = 8
SEALED_PREFIX = bytes((1, 1, 0, 0, 0))
"""Version, codec, and the first bytes of any sensible key number."""


@dataclass
class Canaries:
    """Every secret that was there, as bytes."""

    values: set[bytes] = field(default_factory=set)
    _any: tuple[int, Any] = (0, None)

    def add(self, value: bytes) -> None:
        if len(value) >= SHORTEST:
            self.values.add(value)

    def found_in(self, haystack: bytes) -> list[bytes]:
        """The canaries in plain, hexadecimal, base64 or base32 that somewhere shows."""
        if not self._pattern().search(haystack):  # one pass for all of them
            return []
        return [value for value in self.values if any(form in haystack for form in forms(value))]

    def _pattern(self) -> Any:
        if self._any[0] != len(self.values):
            options = re2.Options()
            options.encoding, options.max_mem = re2.Options.Encoding.LATIN1, 1 << 30
            every = b"|".join(re2.escape(form) for value in self.values for form in forms(value))
            self._any = len(self.values), re2.compile(every, options)
        return self._any[1]


def forms(value: bytes) -> list[bytes]:
    base32, base64_ = base64.b32encode(value), base64.b64encode(value)
    return [value, value.hex().encode(), base64_.rstrip(b"="), base32.rstrip(b"=")]


@dataclass
class Run:
    """What a run over every method left behind."""

    services: MailServices
    canaries: Canaries
    log_lines: str
    redis_url: str
    postgres_url: str
    databases: list[Database[Any]]


@pytest.fixture(scope="module")
def run(
    stack: Endpoints,
    fresh_uri: Callable[[str, str], str],
    redis_url: str,
    postgres_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Run]:
    shard = own_shard(stack, fresh_uri, "secrets")
    directory_uri = fresh_uri(stack.mongo.directory, "secrets_directory")
    canaries, lines = Canaries(), Lines()
    with pytest.MonkeyPatch.context() as patch:
        record_secrets(patch, canaries)
        logging.getLogger().addHandler(lines)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.DEBUG)  # not setattr: loggers remember what they are to leave out
        services = make_services(
            directory_uri, {"a": shard}, redis_url, EIDER_ACME_DIRECTORY="https://127.0.0.1:9/nobody"
        )
        for name in sorted(CALLS):
            CALLS[name](make_scene(services, tmp_path_factory.mktemp("scene")))
        services.auth_log.flush()
        services.trace.flush()
        with Redis.from_url(redis_url) as redis:
            queued = [enqueue(redis, job) for job in JOBS]
        logging.getLogger().removeHandler(lines)
        logging.getLogger().setLevel(level)
    home = services.placement.shard("a")
    databases = [services.users._directory.database, home.hot, home.cold]
    yield Run(services, canaries, "\n".join(lines.lines), redis_url, postgres_url, databases)
    with Redis.from_url(redis_url) as redis:
        for job_id in queued:  # no worker of another test is to find them
            Job.fetch(job_id, connection=redis, serializer=JSONSerializer).delete()
    services.close()


class Lines(logging.Handler):
    """Keeps what the log would show."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("mailcore", "workers")):
            self.lines.append(self.format(record))


def record_secrets(patch: pytest.MonkeyPatch, canaries: Canaries) -> None:
    seal, make = Sealing.seal, Secret.__init__

    def sealing(self: Sealing, purpose: str, plaintext: bytes) -> bytes:
        canaries.add(plaintext)
        return seal(self, purpose, plaintext)

    def making(self: Secret, value: str | bytes) -> None:
        make(self, value)
        canaries.add(self.reveal())

    patch.setattr(Sealing, "seal", sealing)
    patch.setattr(Secret, "__init__", making)


def documents(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    for database in run.databases:
        for collection in database.list_collection_names():
            for document in database[collection].find():
                yield collection, document


def redis_dump(url: str) -> bytes:
    """Every key and value."""
    readers = {b"string": "get", b"hash": "hgetall", b"set": "smembers"}
    parts = []
    with Redis.from_url(url) as redis:
        for key in redis.scan_iter():
            kind: bytes = redis.type(key)  # type: ignore[assignment]
            if kind == b"list":
                value = redis.lrange(key, 0, -1)
            elif kind == b"zset":
                value = redis.zrange(key, 0, -1, withscores=True)
            elif kind == b"stream":
                value = redis.xrange(key)
            else:
                value = getattr(redis, readers[kind])(key)
            parts.append(repr((key, value)).encode())
    return b"\n".join(parts)


def postgres_dump(url: str) -> bytes:
    parts = []
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'public'")
        for schema, table in tables.fetchall():
            name = psycopg.sql.Identifier(schema, table)
            rows = connection.execute(psycopg.sql.SQL("SELECT t::text FROM {} t").format(name)).fetchall()
            parts += [str(row[0]).encode() for row in rows]
    return b"\n".join(parts)


def test_the_run_had_secrets_of_every_kind_and_left_documents_everywhere(run: Run) -> None:
    """What is not there cannot be found: the tests below would prove nothing."""
    assert any(b"PRIVATE KEY" in value for value in run.canaries.values)
    assert b"another password" in run.canaries.values
    assert len({collection for collection, _ in documents(run)}) > 12
    assert redis_dump(run.redis_url)
    assert run.log_lines.count("\n") > 20


def test_no_document_shows_a_secret(run: Run) -> None:
    for collection, document in documents(run):
        assert run.canaries.found_in(encode(document)) == [], (collection, document["_id"])


def test_neither_redis_nor_postgres_nor_log_nor_metrics_show_a_secret(run: Run) -> None:
    for where in (
        redis_dump(run.redis_url),
        postgres_dump(run.postgres_url),
        run.log_lines.encode(),
        generate_latest(),
    ):
        assert run.canaries.found_in(where) == []


def test_a_secret_in_any_store_or_log_is_found(run: Run) -> None:
    """Control: one canary put in each place, as it is or encoded."""
    canary = min(run.canaries.values)
    for database in run.databases:
        for value in (canary, canary.hex(), base64.b64encode(canary).decode()):
            collection = f"control_{ObjectId()}"
            database[collection].insert_one({"_id": 1, "deep": [{"value": value}]})
            with pytest.raises(AssertionError):
                test_no_document_shows_a_secret(run)
            database.drop_collection(collection)
    with Redis.from_url(run.redis_url) as redis:
        redis.hset("control", "field", base64.b64encode(canary))
        assert run.canaries.found_in(redis_dump(run.redis_url)) == [canary]
        redis.delete("control")
    with psycopg.connect(run.postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE control (value text)")
        connection.execute("INSERT INTO control VALUES (%s)", (canary.hex(),))
        assert run.canaries.found_in(postgres_dump(run.postgres_url)) == [canary]
        connection.execute("DROP TABLE control")
    record = logging.makeLogRecord({"msg": "login", "password": canary.hex()})
    assert run.canaries.found_in(JsonFormatter().format(record).encode()) == [canary]


def test_secrets_travel_as_stars(run: Run) -> None:
    """However a `Secret` gets into a log line, it shows nothing."""
    canary = Secret("a canary of a password")
    record = logging.makeLogRecord({"msg": "x %s", "args": (canary,), "field": canary, "deep": {"list": [canary]}})
    assert "canary" not in JsonFormatter().format(record)


# -- rotation -----------------------------------------------------------------------------------


def sealed_paths(value: Any, path: str = "") -> Iterator[str]:
    """Where in a document something sealed is; numbers in lists are left out."""
    if isinstance(value, bytes) and value.startswith(SEALED_PREFIX) and len(value) > 34:
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from sealed_paths(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from sealed_paths(inner, path)


def found_paths(run: Run) -> set[tuple[str, str]]:
    return {(collection, path) for collection, document in documents(run) for path in sealed_paths(document)}


def test_every_sealed_field_is_in_the_registry(run: Run) -> None:
    """A service that seals something new, and does not say where, fails here; so does a row that nothing fills."""
    assert found_paths(run) == {(one.collection, one.path) for one in SEALED}


def test_a_sealed_field_that_nobody_registered_is_noticed(run: Run) -> None:
    """Control of the test above."""
    collection = f"control_{ObjectId()}"
    database = run.databases[1]
    database[collection].insert_one({"_id": 1, "deep": {"key": run.services.sealing.seal("new.kind:1", b"x" * 32)}})
    assert (collection, "deep.key") in found_paths(run)
    database.drop_collection(collection)


def test_rotation_seals_everything_anew_and_the_old_key_can_go(run: Run) -> None:
    uri = run.services.settings.mongo_uri.reveal_text()
    new_key = "2:" + base64.b64encode(bytes(reversed(range(32)))).decode()
    both = connect(make_settings(uri, EIDER_SEALING_KEYS=f"{SEALING_KEYS},{new_key}"))
    before = {one.field.name: one.older for one in both.rotation.status()}
    assert all(before.values())
    context = JobContext(both, Redis.from_url(run.redis_url))
    for _ in range(2):
        rotate(context)
        states = both.rotation.status()
        assert [(one.older, one.broken) for one in states] == [(0, 0)] * len(SEALED)
        assert {one.field.name: one.current for one in states} == before
    events = list(run.databases[0]["events"].find({"kind": "sealing.rotated", "actor.identity": SYSTEM.identity}))
    assert len(events) == 1, "with nothing to do, nothing is written"
    both.close()
    alone = connect(make_settings(uri, EIDER_SEALING_KEYS=new_key))
    assert alone.certificates.certificate("mail.example.org") is not None
    assert all(one.current for one in alone.rotation.status())
    alone.close()
    old = connect(make_settings(uri))
    assert all(one.broken for one in old.rotation.status()), "control: the old key opens nothing any more"
    old.close()


def test_a_value_changed_during_rotation_stays_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation replaces only what it read."""
    uri = run.services.settings.mongo_uri.reveal_text()
    third = "3:" + base64.b64encode(b"3" * 32).decode()
    keys = ",".join((SEALING_KEYS, "2:" + base64.b64encode(bytes(reversed(range(32)))).decode(), third))
    services = connect(make_settings(uri, EIDER_SEALING_KEYS=keys))
    tenants = run.databases[0]["tenants"]
    owner = tenants.find_one({})
    assert owner is not None
    changed = services.sealing.seal(f"tenant.content_key:{owner['_id']}", b"changed" * 5)
    open_ = Sealing.open

    def then_change(self: Sealing, purpose: str, sealed: bytes) -> bytes:
        plain = open_(self, purpose, sealed)
        if purpose.endswith(str(owner["_id"])):
            tenants.update_one({"_id": owner["_id"]}, {"$set": {"content_key": changed}})
        return plain

    monkeypatch.setattr(Sealing, "open", then_change)
    services.rotation.rotate(replace(ACTOR, request_id="r"))
    again = tenants.find_one({"_id": owner["_id"]})
    assert again is not None
    assert again["content_key"] == changed
    services.close()
