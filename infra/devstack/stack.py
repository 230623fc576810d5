"""The stack as one object: start it, stop it, and hurt its databases one by one."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.devstack import postgres as pg
from infra.devstack import redis_server as rs
from infra.devstack.binaries import mongod_environment
from infra.devstack.datafolder import DataFolder, is_free, port_taken
from infra.devstack.endpoints import FILE_NAME, Endpoints, MongoUris, Pids, ShardUris
from infra.devstack.faults import StackFault
from infra.devstack.mongo import MongoSet, mongod
from infra.devstack.process import Process, stop_all

MAIN = "main"  # directory and shard A hot
MONGO_SETS = (MAIN, "a-cold", "b-hot", "b-cold")
ALL = (*MONGO_SETS, "postgres", "redis")
PLACES = {
    "directory": MAIN,
    "a_hot": MAIN,
    "a_cold": "a-cold",
    "b_hot": "b-hot",
    "b_cold": "b-cold",
}
"""Database -> replica set; a set that is not started leaves its database to `main`."""

STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Existing:
    """Servers that somebody else runs; an empty URL means that the stack starts its own."""

    mongo: str = ""
    postgres: str = ""
    redis: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Existing:
        """Read MONGO_URI, DATABASE_URL and REDIS_URL."""
        names = ("MONGO_URI", "DATABASE_URL", "REDIS_URL")
        return cls(*(environment.get(name, "") for name in names))

    def replaces(self) -> frozenset[str]:
        """Return the databases that need not be started."""
        replaced = set(MONGO_SETS) if self.mongo else set()
        return frozenset(replaced | ({"postgres"} if self.postgres else set()) | ({"redis"} if self.redis else set()))


NOTHING = Existing()


class Stack:
    """MongoDB, Postgres and Redis in one data folder; one process holds it at a time.

    Args:
        data_dir: made when it is missing; ports and data are found again in it.
        nodes: members of the set `main`, 1 or 3; None takes what the folder was made with.
        databases: which of `ALL` to start; a cold or second set that is left out leaves its
            databases to `main`.
        dbpaths: another folder for a mongod's data, such as a small file system.
        durable: False speeds up what is thrown away afterwards (no fsync in Postgres).
        new_ports: choose ports anew, when another program has taken the old ones.
        cache_gb: WiredTiger cache of each mongod.
        existing: servers to use instead of starting our own.
    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        nodes: int | None = None,
        databases: Iterable[str] = ALL,
        dbpaths: Mapping[str, Path] | None = None,
        durable: bool = True,
        new_ports: bool = False,
        cache_gb: float = 0.25,
        existing: Existing = NOTHING,
    ) -> None:
        """Describe the stack; start() makes it run."""
        if nodes not in {None, 1, 3}:
            raise StackFault(f"NODES={nodes} is neither 1 nor 3")
        self.databases = frozenset(databases)
        if not self.databases <= frozenset(ALL):
            raise StackFault(f"no such database: {sorted(self.databases - frozenset(ALL))}; there are {ALL}")
        self.databases -= existing.replaces()
        self.folder = DataFolder(Path(data_dir))
        self.sets: dict[str, MongoSet] = {}
        self.processes: dict[str, Process] = {}
        self._nodes = nodes
        self._dbpaths = dict(dbpaths or {})
        self._durable = durable
        self._new_ports = new_ports
        self._cache_gb = cache_gb
        self._existing = existing

    # Life

    def start(self) -> Endpoints:
        """Start everything and wait until every set takes writes; write endpoints.json.

        Raises:
            StackFault: one line that says why not and what to do; nothing is left running.
        """
        self.folder.open(self._nodes)
        try:
            if self._new_ports:
                self.folder.forget_ports()
            _raise_open_files()
            self._describe()
            self._check_ports()
            if self._new_ports and not self.folder.is_new:
                for replica_set in self.sets.values():
                    replica_set.write_new_ports()
            for process in self.processes.values():
                process.start()
            self._wait_ready(self.processes)
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        endpoints = self.endpoints
        endpoints.write(self.endpoints_path)
        return endpoints

    def stop(self) -> None:
        """Stop everything cleanly; within two seconds as a rule."""
        self._end(signal.SIGTERM)

    def discard(self) -> None:
        """End everything at once and delete the data folder."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder.path, ignore_errors=True)
        for dbpath in self._dbpaths.values():
            shutil.rmtree(dbpath, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # Faults, by process name: `main` or `main-0` ... `main-2`, `a-cold`, `b-hot`, `b-cold`, `postgres`, `redis`

    def kill(self, name: str) -> None:
        """End a process as a power cut would (SIGKILL)."""
        self._process(name).kill()

    def pause(self, name: str) -> None:
        """Freeze a process (SIGSTOP)."""
        self._process(name).pause()

    def resume(self, name: str) -> None:
        """Let a frozen process go on."""
        self._process(name).resume()

    def restart(self, *names: str) -> None:
        """Start processes that were killed, or stop and start those that run; wait until they are ready."""
        for name in names:
            self._process(name).kill()
        for name in names:
            self._process(name).start()
        self._wait_ready(names)

    def primary(self, set_name: str = MAIN, timeout_s: float = 30.0) -> str:
        """Return the process name of the set's primary, waiting for an election if need be."""
        return self.sets[set_name].wait_primary(timeout_s)

    # Where it is

    @property
    def pids(self) -> dict[str, int]:
        """The living processes by name."""
        return {name: process.pid for name, process in self.processes.items() if process.pid is not None}

    @property
    def endpoints_path(self) -> Path:
        """Where endpoints.json is."""
        return self.folder.path / FILE_NAME

    @property
    def endpoints(self) -> Endpoints:
        """Where everything listens, with the databases of the development system."""
        return Endpoints(
            mongo=mongo_uris({database: self._mongo_uri(database) for database in PLACES}),
            postgres=pg.url(self.folder.ports["postgres"]) if "postgres" in self.databases else self._existing.postgres,
            redis=rs.url(self.folder.ports["redis"]) if "redis" in self.databases else self._existing.redis,
            pids=Pids(databases=self.pids),
            sealing_keys=self.folder.sealing_keys(),
        )

    @property
    def directory_uri(self) -> str:
        """The URI of the directory, with its database."""
        return self.endpoints.mongo.directory

    @property
    def shards(self) -> dict[str, ShardUris]:
        """The URIs of the shards `a` and `b`, with their databases."""
        return self.endpoints.mongo.shards

    @property
    def redis_url(self) -> str:
        """The URL of Redis."""
        return self.endpoints.redis

    @property
    def postgres_url(self) -> str:
        """The libpq URL of Postgres."""
        return self.endpoints.postgres

    def _mongo_uri(self, database: str) -> str:
        if self._existing.mongo:
            return with_database(self._existing.mongo, f"eider_{database}")
        replica_set = self.sets.get(PLACES[database]) or self.sets.get(MAIN)
        return replica_set.uri(f"eider_{database}") if replica_set else ""

    # Inside

    def _describe(self) -> None:
        path = self.folder.path
        logs = path / "log"
        self.processes.clear()
        self.sets.clear()
        wants_mongod = bool(self.databases & set(MONGO_SETS))
        environment = mongod_environment(path) if wants_mongod else {}
        for set_name in MONGO_SETS:
            if set_name not in self.databases:
                continue
            count = self.folder.nodes if set_name == MAIN else 1
            members = []
            for number in range(count):
                name = set_name if count == 1 else f"{set_name}-{number}"
                dbpath = self._dbpaths.get(name, path / "mongo" / f"{set_name}-{number}")
                process = mongod(name, set_name, self._port(name), dbpath, logs, environment, self._cache_gb)
                members.append((process, self._port(name)))
                self.processes[name] = process
            self.sets[set_name] = MongoSet(set_name, tuple(members))
        if "redis" in self.databases:
            self.processes["redis"] = rs.redis_server(path, self._port("redis"), logs, durable=self._durable)
        if "postgres" in self.databases:
            self.processes["postgres"] = pg.postgres(path, self._port("postgres"), logs, durable=self._durable)

    def _port(self, name: str) -> int:
        return self.folder.port(name)

    def _check_ports(self) -> None:
        for name in self.processes:
            if not is_free(self.folder.ports[name]):
                raise port_taken(name, self.folder.ports[name])

    def _wait_ready(self, names: Iterable[str]) -> None:
        waiting = set(names)
        if "redis" in waiting:
            port = self.folder.ports["redis"]
            redis_server = self.processes["redis"]
            redis_server.wait_ready(lambda: rs.is_ready(port, redis_server.pid), rs.START_TIMEOUT_S)
        if "postgres" in waiting:
            port = self.folder.ports["postgres"]
            self.processes["postgres"].wait_ready(lambda: pg.is_ready(port, self.folder.path), pg.START_TIMEOUT_S)
            pg.ensure_database(port)
        for replica_set in self.sets.values():
            if waiting & {process.name for process, _ in replica_set.members}:
                replica_set.wait_ready()

    def _end(self, how: signal.Signals) -> None:
        processes = list(self.processes.values())
        if how == signal.SIGTERM and "postgres" in self.processes:
            self.processes["postgres"].resume()
            self.processes["postgres"].signal(pg.STOP_SIGNAL)
        stop_all(processes, how, STOP_TIMEOUT_S)
        self.endpoints_path.unlink(missing_ok=True)
        self.folder.close()

    def _process(self, name: str) -> Process:
        try:
            return self.processes[name]
        except KeyError:
            raise StackFault(f"no process {name}; there are {sorted(self.processes)}") from None


def mongo_uris(by_database: Mapping[str, str]) -> MongoUris:
    """Return the URIs in the form of endpoints.json, from one URI a database of `PLACES`."""
    shards = {name: ShardUris(by_database[f"{name}_hot"], by_database[f"{name}_cold"]) for name in ("a", "b")}
    return MongoUris(by_database["directory"], shards)


def with_database(uri: str, database: str) -> str:
    """Return a MongoDB URI with another default database."""
    server, mark, options = uri.partition("?")
    scheme, _, rest = server.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{database}{mark}{options}"


def _raise_open_files() -> None:
    """Let the children open as many files as this user may: mongod wants many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def default_data_dir() -> Path:
    """Return the data folder of `make run`: $DATA, else `.data` in the working folder."""
    return Path(os.environ.get("DATA") or ".data").resolve()
