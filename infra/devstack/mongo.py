"""mongod processes and their replica sets."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from infra.devstack.binaries import MONGOD, program
from infra.devstack.faults import StackFault
from infra.devstack.process import Process, stop_all

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PRIMARY_TIMEOUT_S = 30.0
ALREADY_INITIALIZED = 23
PROBE_MS = 1000

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MongoSet:
    """One replica set: its members in order, each a process with a port."""

    name: str
    members: tuple[tuple[Process, int], ...]

    def uri(self, database: str = "") -> str:
        """Return the URI that names every member, and a database as the default one."""
        hosts = ",".join(f"127.0.0.1:{port}" for _, port in self.members)
        return f"mongodb://{hosts}/{database}?replicaSet={self.name}"

    def wait_ready(self) -> None:
        """Wait until it is a working replica set with a primary; initiate it if it is new.

        Raises:
            StackFault: a member does not start, or no primary is elected.
        """
        for process, port in self.members:
            _wait_ready(process, port)
        self._initiate()
        self.wait_primary(PRIMARY_TIMEOUT_S)

    def wait_primary(self, timeout_s: float) -> str:
        """Wait until one member takes writes; return its process's name.

        Raises:
            StackFault: none did in time.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            primary = self.primary()
            if primary is not None:
                return primary
            time.sleep(0.03)
        raise StackFault(f"replica set {self.name} elected no primary within {timeout_s:.0f} s: see the logs of mongod")

    def primary(self) -> str | None:
        """Return the name of the member that takes writes now."""
        for process, port in self.members:
            if process.pid is not None:
                hello = _admin(port, "hello")
                if hello is not None and hello.get("isWritablePrimary"):
                    return process.name
        return None

    def _initiate(self) -> None:
        settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
        config = {"_id": self.name, "members": self._members(), "settings": settings}
        with _direct(self.members[0][1]) as client:
            try:
                client.admin.command("replSetInitiate", config)
            except OperationFailure as failure:
                if failure.code != ALREADY_INITIALIZED:
                    raise StackFault(f"replica set {self.name} cannot be initiated: {failure}") from None

    def _members(self) -> list[Document]:
        return [
            {"_id": number, "host": f"127.0.0.1:{port}", "priority": 2 if number == 0 else 1}
            for number, (_, port) in enumerate(self.members)
        ]

    def write_new_ports(self) -> None:
        """Write the members' present ports into the configuration that each member keeps.

        Each is started alone for it: a member that finds itself under no configured address
        asks the old ones, where another program may listen now, before it answers anything.
        """
        for process, port in self.members:
            command = [word for word in process.command if word not in {"--replSet", self.name}]
            alone = Process(
                process.name, command, cwd=process.cwd, log_path=process.log_path, environment=process.environment
            )
            alone.start()
            try:
                _wait_ready(alone, port)
                with _direct(port) as client:
                    change = {"$set": {"members": self._members()}}
                    client.local["system.replset"].update_one({"_id": self.name}, change)
            finally:
                stop_all([alone], signal.SIGTERM, STOP_TIMEOUT_S)


def mongod(
    name: str, set_name: str, port: int, dbpath: Path, log_dir: Path, environment: Mapping[str, str], cache_gb: float
) -> Process:
    """Describe one mongod; it listens on loopback only."""
    dbpath.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [str(program(MONGOD)), "--replSet", set_name, "--port", str(port), "--bind_ip", "127.0.0.1"]
    command += ["--dbpath", str(dbpath), "--nounixsocket", "--oplogSize", "256"]
    # Three nodes on one small machine: the default cache takes half the memory, each.
    command += ["--wiredTigerCacheSizeGB", str(cache_gb)]
    # The default journal preallocates 300 MB for each node.
    command += ["--wiredTigerEngineConfigString", "log=(file_max=8MB,prealloc=false)"]
    # Whoever waits for the journal has it flushed at once; this is for nobody's writes, and wakes an idle node.
    command += ["--journalCommitInterval", "500"]
    for parameter in (
        "shutdownTimeoutMillisForSignaledShutdown=100",  # else SIGTERM takes 15 s
        "diagnosticDataCollectionEnabled=false",  # a second of CPU a minute for nobody
        # each ten seconds a write for secondaries that are read from; ours are not, and it keeps an idle node awake
        "writePeriodicNoops=false",
    ):
        command += ["--setParameter", parameter]
    return Process(name, command, cwd=dbpath, log_path=log_dir / f"{name}.log", environment=environment)


def drop_databases(uri: str, names: Sequence[str]) -> None:
    """Drop databases of one set."""
    with MongoClient[Document](uri, serverSelectionTimeoutMS=5000) as client:
        for name in names:
            client.drop_database(name)


def _direct(port: int) -> MongoClient[Document]:
    return MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=PROBE_MS, socketTimeoutMS=10_000
    )


def _admin(port: int, command: str) -> Document | None:
    try:
        with _direct(port) as client:
            return client.admin.command(command)
    except PyMongoError:
        return None


def _wait_ready(process: Process, port: int) -> None:
    """Wait until the process answers; another that took its port does not count."""

    def answers() -> bool:
        status = _admin(port, "serverStatus")
        return status is not None and status["pid"] == process.pid

    process.wait_ready(answers, START_TIMEOUT_S)
