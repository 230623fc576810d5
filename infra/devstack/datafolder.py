"""The data folder: whose it is, who uses it now, and what it must keep from run to run.

`stack.json` keeps the number of nodes and the ports, for a replica set stores its members'
ports in its own data. It is written first and whole, so a folder without it is not ours.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import random
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from infra.devstack.faults import StackFault

FORMAT = 1
LAYOUT_NAME = "stack.json"
LOCK_NAME = "lock"
SEALING_KEYS_NAME = "sealing-keys"
SERVER_PROGRAMS = frozenset({"mongod", "redis-server", "postgres"})
PORT_RANGE = range(20000, 32000)  # below the ports that the kernel gives to outgoing connections
ORPHAN_TIMEOUT_S = 10.0
MAY_LIE_AROUND = frozenset({LOCK_NAME, "mongod-lib", "mongod-lib.lock", "log"})


class DataFolder:
    """One data folder, held by one process at a time from open() to close()."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is touched before open()."""
        self.path = path.resolve()
        self.nodes = 1
        self.ports: dict[str, int] = {}
        self.is_new = True
        self._lock: IO[str] | None = None
        self._claims: dict[int, socket.socket] = {}

    def open(self, nodes: int | None) -> None:
        """Lock the folder, read its layout, or begin a new one with that many nodes.

        Raises:
            StackFault: in use by another process, not ours, half-written, made for another
                number of nodes, or not writable.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK_NAME).open("a+")
        except OSError as error:
            raise StackFault(
                f"cannot write to the data folder {self.path} ({error.strerror}): give it to this user, or choose "
                "another with DATA=FOLDER"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = lock_holder(self.path)
            self.close()
            raise StackFault(
                f"the data folder {self.path} is in use by process {holder or '?'}: stop that one first, or choose "
                "another with DATA=FOLDER"
            ) from None
        try:
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()}\n")
            self._lock.flush()
            self._read_layout(nodes)
            end_orphans(self.path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others use the folder and its ports."""
        for claim in self._claims.values():
            claim.close()
        self._claims.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _read_layout(self, nodes: int | None) -> None:
        layout_path = self.path / LAYOUT_NAME
        repair = f"nothing in it can be trusted; remove it and start again: rm -rf {self.path}"
        try:
            layout = json.loads(layout_path.read_text())
            self.nodes = int(layout["nodes"])
            self.ports = {str(name): int(port) for name, port in layout["ports"].items()}
            written_as = layout["format"]
        except FileNotFoundError:
            others = sorted(entry.name for entry in self.path.iterdir() if entry.name not in MAY_LIE_AROUND)
            if others:
                raise StackFault(
                    f"{self.path} has files ({others[0]}) but no {LAYOUT_NAME}, so it is half-written or not ours: "
                    "remove it, or choose another with DATA=FOLDER"
                ) from None
            self.nodes = nodes or 1
            self._write_layout()
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StackFault(f"{layout_path} is damaged, so the data folder is half-written: {repair}") from None
        except OSError as error:
            raise StackFault(f"cannot read {layout_path}: {error.strerror}; was it made by another user?") from None
        if written_as != FORMAT:
            raise StackFault(f"{self.path} was made by another version of the stack (format {written_as}): {repair}")
        if nodes is not None and nodes != self.nodes:
            raise StackFault(
                f"{self.path} was made with NODES={self.nodes}: run with NODES={self.nodes}, or choose another folder "
                "with DATA=FOLDER"
            )
        self.is_new = False

    def port(self, name: str, preferred: int | None = None) -> int:
        """Return the port kept for a name, claimed for us; chosen among free ones the first time.

        Raises:
            StackFault: another stack has claimed it, or no port is free.
        """
        if name not in self.ports:
            self.ports[name] = self._choose_port(preferred)
            self._write_layout()
        elif not self._claim(self.ports[name]):
            raise port_taken(name, self.ports[name])
        return self.ports[name]

    def _choose_port(self, preferred: int | None) -> int:
        candidates = random.sample(PORT_RANGE, len(PORT_RANGE))
        for port in candidates if preferred is None else [preferred, *candidates]:
            if port not in self.ports.values() and self._claim(port):
                if is_free(port):
                    return port
                self._claims.pop(port).close()
        raise StackFault(f"no free port between {PORT_RANGE.start} and {PORT_RANGE.stop}: end some servers first")

    def _claim(self, port: int) -> bool:
        """Take a port for us among all stacks of the machine, for as long as the folder is open.

        Between the look whether a port is free and the server that listens on it lies a second;
        a name in the abstract socket namespace bridges it, and dies with this process.
        """
        if port in self._claims:
            return True
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0eider-port-{port}")
        except OSError:
            claim.close()
            return False
        self._claims[port] = claim
        return True

    def sealing_keys(self) -> str:
        """Return the keys that seal secrets in the directory, in the form of EIDER_SEALING_KEYS."""
        path = self.path / SEALING_KEYS_NAME
        if not path.exists():
            write_whole(path, f"1:{base64.b64encode(os.urandom(32)).decode()}\n", mode=0o600)
        return path.read_text().strip()

    def forget_ports(self) -> None:
        """Choose every port anew from now on."""
        self.ports.clear()
        self._write_layout()

    def _write_layout(self) -> None:
        write_json(self.path / LAYOUT_NAME, {"format": FORMAT, "nodes": self.nodes, "ports": self.ports})


def write_json(path: Path, value: Mapping[str, object], *, mode: int = 0o644) -> None:
    """Replace a file by a JSON document; readers see the old one or the new one whole."""
    write_whole(path, json.dumps(value, indent=2) + "\n", mode=mode)


def write_whole(path: Path, text: str, *, mode: int) -> None:
    """Replace a file by a text; readers see the old one or the new one whole."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def lock_holder(data_dir: Path) -> int | None:
    """Return the process that holds a data folder, or None when nobody does."""
    try:
        with (data_dir / LOCK_NAME).open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return int(lock.read().strip() or 0) or None
    except OSError:
        return None
    return None


def end_holder(data_dir: Path, timeout_s: float) -> bool:
    """End the process that holds a data folder and wait until it has gone; False when nobody held it.

    Raises:
        StackFault: it did not end in time.
    """
    holder = lock_holder(data_dir)
    if holder is None:
        return False
    os.kill(holder, signal.SIGTERM)
    until = time.monotonic() + timeout_s
    while lock_holder(data_dir) is not None:
        if time.monotonic() > until:
            raise StackFault(f"process {holder} did not stop within {timeout_s:.0f} s: kill -9 {holder}")
        time.sleep(0.05)
    return True


def is_free(port: int) -> bool:
    """Tell whether a server could listen on that port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def port_taken(name: str, port: int) -> StackFault:
    """Return the fault of a port that somebody else has."""
    return StackFault(
        f"port {port} of {name} is taken by another program: end that one, or choose new ports with "
        "`make run PORTS=new`"
    )


def servers_below(data_dir: Path) -> list[int]:
    """Return the database processes whose working folder lies in the data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            works_in = (entry / "cwd").readlink()
            runs = (entry / "exe").readlink().name
        except OSError:
            continue  # gone, or another user's
        if runs in SERVER_PROGRAMS and works_in.is_relative_to(data_dir):
            found.append(int(entry.name))
    return found


def end_orphans(data_dir: Path) -> None:
    """End databases that a killed launcher left behind; the caller holds the folder's lock."""
    orphans = servers_below(data_dir)
    if not orphans:
        return
    print(f"ending {len(orphans)} database processes that an earlier run left behind ...", flush=True)
    for how, patience_s in ((signal.SIGTERM, ORPHAN_TIMEOUT_S), (signal.SIGKILL, ORPHAN_TIMEOUT_S)):
        for pid in servers_below(data_dir):
            for what in (how, signal.SIGCONT):  # it may be stopped
                try:
                    os.kill(pid, what)
                except ProcessLookupError:
                    break
                except PermissionError:
                    raise StackFault(
                        f"process {pid} of another user works in {data_dir}: end it, or choose another folder with "
                        "DATA=FOLDER"
                    ) from None
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            if not servers_below(data_dir):
                return
            time.sleep(0.05)
    raise StackFault(f"processes {servers_below(data_dir)} still work in {data_dir}: end them by hand")
