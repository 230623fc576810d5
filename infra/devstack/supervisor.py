"""The whole development system in the foreground: databases, servers, demo; Ctrl-C stops it."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable
from types import FrameType

from infra.devstack import demo, demo_portal
from infra.devstack.endpoints import DemoStaff, Endpoints, Pids
from infra.devstack.process import Process, stop_all
from infra.devstack.servers import Server, describe_servers
from infra.devstack.stack import Stack

WATCH_S = 0.2
RESTART_AFTER_S = 1.0
DRAIN_S = 1.0
DEMO_NAME = "demo.json"
MEMBER_NAME = "portal.json"
STAFF_NAME = "staff.json"
TOKEN_NAME = "api-token"  # noqa: S105  a file


class Supervisor:
    """Runs a stack with its servers until it is told to stop; a server that ends is started again.

    Args:
        stack: the databases, not yet started.
        with_servers: False runs the databases alone.
        with_demo: fill an empty system with tenants and mail; needs the servers.
    """

    def __init__(self, stack: Stack, *, with_servers: bool, with_demo: bool) -> None:
        """Name the parts; run() does everything."""
        self._stack = stack
        self._with_servers = with_servers
        self._with_demo = with_demo
        self._servers: dict[str, Server] = {}
        self._ended_at: dict[str, float] = {}

    def run(self, announce: Callable[[Endpoints], None]) -> None:
        """Start, announce, watch, and stop on SIGINT or SIGTERM.

        Raises:
            StackFault: something does not start; everything is stopped again.
        """
        previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            announce(self._start())
            self._watch()
        except KeyboardInterrupt:
            pass
        finally:
            for number in previous:
                signal.signal(number, signal.SIG_IGN)  # stopping is under way
            self._stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self) -> Endpoints:
        endpoints = self._stack.start()
        if self._with_servers:
            demo.prepare_directory(endpoints)
            demo_portal.prepare_postgres(endpoints)
            self._servers = describe_servers(self._stack.folder, endpoints)
            for server in self._servers.values():
                server.process.start()
            for server in self._servers.values():
                server.wait_ready()
            ports = {name: port for server in self._servers.values() for name, port in server.ports.items()}
            token = demo.api_token(endpoints, self._stack.folder.path / TOKEN_NAME)
            endpoints = dataclasses.replace(endpoints, ports=ports, api_token=token)
            if self._with_demo:
                users = demo.demo_users(endpoints, self._stack.folder.path / DEMO_NAME)
                members = demo_portal.demo_members(endpoints, self._stack.folder.path / MEMBER_NAME)
                staff = self._demo_staff(endpoints)
                endpoints = dataclasses.replace(endpoints, users=users, members=members, staff=staff)
        self._endpoints = endpoints
        return self._publish()

    def _demo_staff(self, endpoints: Endpoints) -> list[DemoStaff]:
        if "postgres" not in self._stack.databases:
            return []
        return demo_portal.demo_staff(endpoints, self._stack.folder.path / STAFF_NAME)

    def _publish(self) -> Endpoints:
        """Write endpoints.json with the processes that live now."""
        servers = {name: server.process.pid for name, server in self._servers.items()}
        pids = Pids({name: pid for name, pid in servers.items() if pid is not None}, self._stack.pids)
        self._endpoints = dataclasses.replace(self._endpoints, pids=pids)
        self._endpoints.write(self._stack.endpoints_path)
        return self._endpoints

    def _watch(self) -> None:
        """Say when a process ends; start servers again, databases not: a test may have ended them."""
        reported: set[str] = set()
        while True:
            time.sleep(WATCH_S)
            for name, process in self._stack.processes.items():
                if process.pid is None and name not in reported:
                    reported.add(name)
                    _say_ended(process, "its data is safe; stop and start the stack to have it back")
            if self._start_again():
                self._publish()

    def _start_again(self) -> bool:
        """Start servers that ended a second ago; tell whether any was."""
        any_started = False
        for name, server in self._servers.items():
            if server.process.pid is not None:
                continue
            ended_at = self._ended_at.get(name)
            if ended_at is None:
                self._ended_at[name] = time.monotonic()
                _say_ended(server.process, "starting it again")
            elif time.monotonic() - ended_at > RESTART_AFTER_S:
                del self._ended_at[name]
                server.process.start()
                any_started = True
        return any_started

    def _stop(self) -> None:
        stop_all([server.process for server in self._servers.values()], signal.SIGTERM, DRAIN_S)
        self._stack.stop()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say_ended(process: Process, remedy: str) -> None:
    status = process.status or 0
    how = f"signal {-status}" if status < 0 else f"status {status}"
    print(f"{process.name} ended ({how}), log {process.log_path}: {remedy}", flush=True)
