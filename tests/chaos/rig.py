"""A whole mail system of one test: a stack it may hurt, server processes, tenants and users on both shards."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import imapclient

from infra.devstack.stack import Stack
from mailcore.model.actor import SYSTEM
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load, Login
from tests.fork_server import ForkedProcess, start_module
from tests.ports import port_that_stays

PASSWORD = "chaos-Passw0rd"
READY_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Server:
    """One server process and where it listens."""

    name: str
    port: int
    environment: dict[str, str]
    log_path: Path
    module: list[str]
    process: ForkedProcess | None = None

    def disarm(self) -> None:
        """Start without fault points from now on."""
        self.module = ["mailcore", self.name.partition("-")[0]]

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.process = start_module(self.module, self.environment, self.log_path)
        until = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.name} did not start: {self.log_path.read_text()[-2000:]}")

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def terminate(self, timeout_s: float = 30.0) -> int:
        """Ask it to drain; return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@dataclass(slots=True)
class Rig:
    """Everything a chaos test needs; `with` starts and ends it."""

    stack: Stack
    folder: Path
    lmtp_processes: int = 2
    imap_processes: int = 2
    users_per_shard: int = 3
    faults: Mapping[str, str] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    logins: list[Login] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    services: MailServices = field(init=False)
    ledger: Ledger = field(init=False)
    load: Load = field(init=False)

    def __enter__(self) -> Self:
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.environment = {
            "MONGO_URI": self.stack.directory_uri,
            "REDIS_URL": self.stack.redis_url,
            "EIDER_SEALING_KEYS": f"1:{key}",
            "EIDER_HOSTNAME": "mx.eider.example",
        }
        self.services = connect(MailSettings.from_environment(self.environment))
        self._populate()
        for kind, count in (("lmtp", self.lmtp_processes), ("imap", self.imap_processes)):
            for number in range(count):
                self._add(kind, number)
        for server in self.servers.values():
            server.start()
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.load = Load("127.0.0.1", self.ports("lmtp"), self.ports("imap"), self.ledger)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self.servers.values():
            if server.process is not None and server.process.poll() is None:
                server.kill()
        self.services.close()
        self.ledger.close()

    def ports(self, kind: str) -> list[int]:
        """Return the ports of all processes of a kind."""
        return [server.port for server in self.servers.values() if server.name.startswith(kind)]

    def on(self, shard: str) -> list[Login]:
        """Return the users of a shard."""
        return [login for login in self.logins if login.shard == shard]

    @contextlib.contextmanager
    def reader(self, login: Login) -> Iterator[imapclient.IMAPClient]:
        """A session of a user, signed in anew."""
        with imapclient.IMAPClient("127.0.0.1", self.ports("imap")[0], ssl=False, timeout=30) as client:
            client.login(login.address, login.password)
            yield client

    def tracebacks(self) -> list[str]:
        """Return the log lines of every server that tell of an unexpected error."""
        return [
            line
            for server in self.servers.values()
            for line in server.log_path.read_text(errors="replace").splitlines()
            if "Traceback" in line
        ]

    def _populate(self) -> None:
        for name, uris in self.stack.shards.items():
            self.services.shards.add(SYSTEM, name, "eu", uris.hot, uris.cold)
        for shard in self.stack.shards:
            tenant_id = self.services.tenants.create(SYSTEM, f"tenant-{shard}", "eu", home_shard=shard)
            domain = f"{shard}.example"
            self.services.domains.create(SYSTEM, tenant_id, domain)
            for number in range(self.users_per_shard):
                address = f"user{number}@{domain}"
                self.services.users.create(SYSTEM, address, Secret(PASSWORD), f"User {number}", tenant_id)
                self.logins.append(Login(address, PASSWORD, shard))

    def _add(self, kind: str, number: int) -> None:
        port = port_that_stays()
        name = f"{kind}-{number}"
        own = {f"EIDER_{kind.upper()}_LISTEN": f"127.0.0.1:{port}", f"EIDER_{kind.upper()}_LOCAL": "1"}
        environment = {**os.environ, **self.environment, **own}
        launcher = ["tests.chaos.launcher", self.faults[kind]] if kind in self.faults else ["mailcore"]
        self.servers[name] = Server(name, port, environment, self.folder / f"{name}.log", [*launcher, kind])


@contextlib.contextmanager
def under_load(rig: Rig, *, readers: int = 2, warm: int = 20) -> Iterator[Load]:
    """Deliver to every user and read as some of them; begin after `warm` deliveries, join at the end."""
    by_shard = [rig.on(shard)[:readers] for shard in rig.stack.shards]
    rig.load.start(rig.logins, [login for logins in by_shard for login in logins])
    try:
        rig.load.wait_acked(warm)
        yield rig.load
    finally:
        rig.load.stop()
