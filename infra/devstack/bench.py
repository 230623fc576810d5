"""`eider stack bench`: a fresh stack with accounts for the load harness, described by one JSON file.

The command returns once the servers take connections. A keeper process holds the stack until
`--stop`; the data folder is thrown away then. The file has the form of the harness's own
peers (`ours:FILE`): ports, process roots with the databases, accounts, and how to start, stop
and weigh it.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pymongo import MongoClient

from infra.devstack.datafolder import LAYOUT_NAME, end_holder, is_free, write_json
from infra.devstack.endpoints import FILE_NAME, Endpoints
from infra.devstack.faults import StackFault
from infra.devstack.process import Process, stop_all
from infra.devstack.servers import ROOT, Server, client_environment, server_environment
from infra.devstack.stack import MAIN, Stack
from mailcore.errors import MailError
from mailcore.model.actor import Actor, ActorKind, Door

SERVERS = ("imap", "pop3", "lmtp", "api")
DOMAIN = "bench.test"
PASSWORD = "bench-Passw0rd"  # noqa: S105  the harness's own, for throw-away accounts on loopback
CACHE_GB = 4.0  # what the harness gives the mongod of its peers
STOP_TIMEOUT_S = 30.0
DRAIN_S = 5.0
READY = "ready"
OPERATOR = Actor(ActorKind.OPERATOR, Door.CLI, "eider stack bench")
NO_MAIL = frozenset({"admin", "local", "config"})

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start and where to write it down."""

    users: Path
    out: Path
    data: Path
    processes: int
    cache_gb: float

    @property
    def stack_folder(self) -> Path:
        """The databases' data folder."""
        return self.data / "stack"

    @property
    def log(self) -> Path:
        """What the keeper says when something goes wrong."""
        return self.data / "keeper.log"

    def options(self) -> list[str]:
        """Return the plan as options of this command."""
        paths = ["--users", str(self.users), "--out", str(self.out), "--data", str(self.data)]
        return [*paths, "--processes", str(self.processes), "--cache-gb", str(self.cache_gb)]

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs this module on the same plan, from any folder."""
        return [sys.executable, "-m", "infra.devstack.bench", *self.options(), *words]


# The command


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `eider stack bench`."""
    parser.add_argument(
        "--users", required=True, metavar="FILE", help="account names, one a line; - reads them from stdin"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the peer file to write")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="thrown away at the end (beside --out)")
    parser.add_argument("--processes", type=int, default=1, help="server processes of each protocol (%(default)s)")
    parser.add_argument("--cache-gb", type=float, default=CACHE_GB, help="cache of the one mongod (%(default)s)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--stop", action="store_true", help="end the stack of that peer file")
    instead.add_argument("--storage", action="store_true", help="print the bytes on disk of the one that runs")
    instead.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)  # the keeper itself


def run(options: argparse.Namespace) -> int:
    """Start, stop or weigh.

    Raises:
        StackFault: one line that says why not.
    """
    out = options.out.resolve()
    data = (options.data or out.with_name(out.name + ".data")).resolve()
    users = out.with_name(out.name + ".users") if options.users == "-" else Path(options.users).resolve()
    if options.users == "-":
        users.write_text(sys.stdin.read())
    plan = Plan(users, out, data, options.processes, options.cache_gb)
    if options.storage:
        print(storage_bytes(plan))
    elif options.keep:
        keep(plan)
    else:
        if not options.stop:
            _read_names(plan.users)
        stop(plan)
        if not options.stop:
            start(plan)
    return 0


def start(plan: Plan) -> None:
    """Start the keeper in the background and wait until it has written the peer file.

    Raises:
        StackFault: it did not come up; the line says why.
    """
    plan.data.mkdir(parents=True, exist_ok=True)
    with plan.log.open("wb") as errors:
        keeper = subprocess.Popen(
            plan.command("--keep"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            start_new_session=True,
            text=True,
        )
    assert keeper.stdout is not None
    with keeper.stdout as said:
        if READY in (line.strip() for line in said):
            return
    keeper.wait()
    lines = plan.log.read_text(errors="replace").strip().splitlines()
    raise StackFault(f"the stack for the harness did not start: {lines[-1] if lines else 'it gave no reason'}")


def stop(plan: Plan) -> None:
    """End the keeper of that data folder, if there is one, and delete what it leaves.

    Raises:
        StackFault: it did not end in time.
    """
    end_holder(plan.stack_folder, STOP_TIMEOUT_S)
    if (plan.stack_folder / LAYOUT_NAME).exists():
        shutil.rmtree(plan.stack_folder, ignore_errors=True)
    plan.log.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        plan.data.rmdir()


def storage_bytes(plan: Plan) -> int:
    """Return the bytes that mail takes on disk after a checkpoint: data and index files.

    Journal and oplog are left out, as for the harness's other peers: they are bounded.

    Raises:
        StackFault: nothing runs there.
    """
    endpoints = Endpoints.read(plan.stack_folder / FILE_NAME)
    total = 0
    with MongoClient[Document](endpoints.mongo.directory) as client:
        client.admin.command("fsync")
        for name in client.list_database_names():
            if name not in NO_MAIL:
                for collection in client[name].list_collection_names():
                    sizes = client[name].command("collStats", collection)
                    total += int(sizes["storageSize"]) + int(sizes["totalIndexSize"])
    return total


# The keeper


def keep(plan: Plan) -> None:
    """Run databases, servers and accounts until SIGTERM."""
    signal.signal(signal.SIGTERM, _end)
    stack = Stack(plan.stack_folder, databases=(MAIN, "redis"), cache_gb=plan.cache_gb)
    servers: dict[str, Server] = {}
    try:
        endpoints = stack.start()
        accounts, token = make_accounts(endpoints, _read_names(plan.users))
        servers = describe_processes(stack, endpoints, plan.processes)
        for server in servers.values():
            server.process.start()
        for server in servers.values():
            server.wait_ready()
        write_json(plan.out, peer_document(plan, stack, servers, accounts, token), mode=0o600)
        print(READY, flush=True)
        while True:
            signal.pause()
    except (StackFault, MailError) as fault:
        print(fault or type(fault).__name__, file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop_all([server.process for server in servers.values()], signal.SIGTERM, DRAIN_S)
        stack.stop()  # what is left is deleted by whoever stops or starts next


def make_accounts(endpoints: Endpoints, names: Sequence[str]) -> tuple[dict[str, Document], str]:
    """Open shard `a`, one user without limits for each name; return what the harness wants to know and a token."""
    from mailcore.model.limits import USER_LIMITS
    from mailcore.model.roles import Role
    from mailcore.model.secret import Secret
    from mailcore.model.token import PLATFORM
    from mailcore.services.wiring import connect
    from mailcore.settings import MailSettings

    services = connect(MailSettings.from_environment(client_environment(endpoints)))
    shard = endpoints.mongo.shards["a"]
    accounts: dict[str, Document] = {}
    try:
        services.shards.add(OPERATOR, "a", "local", shard.hot, shard.cold)
        tenant_id = services.tenants.create(OPERATOR, "bench", "local")
        services.domains.create(OPERATOR, tenant_id, DOMAIN)
        for limit in USER_LIMITS:
            services.tenants.set_user_limit(OPERATOR, tenant_id, limit, 0)
        for name in names:
            address = f"{name}@{DOMAIN}"
            user_id = services.users.create(OPERATOR, address, Secret(PASSWORD), "", tenant_id)
            accounts[name] = {"login": address, "password": PASSWORD, "address": address, "id": str(user_id)}
        token = services.tokens.create(OPERATOR, PLATFORM, Role.ROOT, "bench")[1].reveal_text()
    finally:
        services.close()
    return accounts, token


def describe_processes(stack: Stack, endpoints: Endpoints, count: int) -> dict[str, Server]:
    """Return that many processes of each server; those of one protocol share its port."""
    servers = {}
    for protocol in SERVERS:
        port = stack.folder.port(protocol)
        if not is_free(port):
            raise StackFault(f"port {port} of {protocol} is taken by another program: start again")
        for number in range(count):
            name = protocol if count == 1 else f"{protocol}-{number}"
            health = stack.folder.port(f"{name}-health")
            process = Process(
                name,
                [sys.executable, "-m", "mailcore", protocol],
                cwd=ROOT,
                log_path=stack.folder.path / "log" / f"{name}.log",
                environment=server_environment(endpoints, {protocol: port}, health),
            )
            servers[name] = Server(process, {protocol: port, f"{name}-health": health})
    return servers


def peer_document(
    plan: Plan, stack: Stack, servers: dict[str, Server], accounts: dict[str, Document], token: str
) -> Document:
    """Return what the harness reads."""
    pids = {name: server.process.pid for name, server in servers.items()}
    pids |= {"mongod" if name == MAIN else name: pid for name, pid in stack.pids.items()}
    version = MongoClient[Document](stack.directory_uri).server_info()["version"]
    return {
        "name": "ours",
        "host": "127.0.0.1",
        "ports": {protocol: stack.folder.port(protocol) for protocol in SERVERS},
        "pids": pids,
        "users": accounts,
        "start": plan.command(),
        "stop": plan.command("--stop"),
        "storage_cmd": plan.command("--storage"),
        "api_headers": {"X-Access-Token": token},
        "hash": "argon2id m=19 MiB t=2 p=1",
        "describe": {
            "python": ".".join(map(str, sys.version_info[:3])),
            "mongod": f"{version}, one-member replica set, w: majority and journaled, cache {plan.cache_gb:g} GB,"
            " journal files of 8 MB flushed for whoever waits, else each 500 ms, diagnostic data collection off;"
            " directory, hot and cold set in this one process",
            "redis": "append-only file",
            "processes": ", ".join(f"{plan.processes} {protocol}" for protocol in SERVERS),
            "limits": "TLS off on loopback, no quota, everything else as shipped",
        },
    }


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _read_names(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError as error:
        raise StackFault(f"cannot read the account names in {path}: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command by itself: peer files name it so, for it works from any folder."""
    parser = argparse.ArgumentParser(prog="eider stack bench", description=__doc__)
    add_options(parser)
    try:
        return run(parser.parse_args(arguments))
    except StackFault as fault:
        print(f"eider stack: {fault}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
