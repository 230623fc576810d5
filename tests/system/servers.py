"""Real server processes for tests: `python -m mailcore NAME ...` on the session's databases.

    with start(("lmtp",), environment, tmp_path) as server:
        server.port("lmtp"), server.pid, server.events("lmtp.message")

Ports are chosen by the system and read from the log. On the way out the process must end by
SIGTERM with status 0, and its log must hold no traceback unless the test expects one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.builders import SEALING_KEYS
from tests.fork_server import ForkedProcess, start_module
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 30.0
STOP_S = 40.0


@dataclass
class RunningServer:
    """One process and its log."""

    process: subprocess.Popen[bytes] | ForkedProcess
    log_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> list[dict[str, Any]]:
        """Every log line so far; what is no JSON becomes an event of its own."""
        lines = []
        for line in self.log_path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"event": "not.json", "text": line})
        return lines

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = START_S) -> list[dict[str, Any]]:
        """Wait until so many events of that name are in the log."""
        ends_at = time.monotonic() + seconds
        while len(found := self.events(name)) < count:
            assert self.process.poll() is None, f"ended early:\n{self.log_path.read_text()}"
            assert time.monotonic() < ends_at, f"no {name}:\n{self.log_path.read_text()}"
            time.sleep(0.02)
        return found

    def port(self, server: str) -> int:
        return int(next(event["port"] for event in self.events("server.listening") if event["server"] == server))

    def tracebacks(self) -> list[dict[str, Any]]:
        return [line for line in self.log() if "traceback" in line or "Traceback" in line.get("text", "")]

    def rss_kb(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def begin_peak(self) -> None:
        """Let the peak begin anew, at what the process holds now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_kb(self) -> int:
        """The most it has held since `begin_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, sample: str) -> float:
        """The value of one sample of /metrics, named with its labels; 0 if there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port('health')}/metrics", timeout=20) as answer:
            found = [line for line in answer.read().decode().splitlines() if line.startswith(f"{sample} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def wait_open(self, server: str, count: float) -> None:
        """Wait until that many connections to `server` are open."""
        now_open = partial(self.metric, f'eider_connections_open{{server="{server}"}}')
        wait_until(lambda: now_open() == count, START_S, lambda: f"{now_open()} connections to {server}, not {count}")

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


def environment_of(directory_uri: str, redis_url: str | None, names: Sequence[str], **more: str) -> dict[str, str]:
    """What a server reads its settings from; ports are free ones of loopback."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "MONGO_URI": directory_uri,
        "EIDER_SEALING_KEYS": SEALING_KEYS,
        "EIDER_HOSTNAME": "mx.test",
        "EIDER_HEALTH_LISTEN": "127.0.0.1:0",
    }
    if redis_url:
        environment["REDIS_URL"] = redis_url
    for name in names:
        environment[f"EIDER_{name.upper()}_LISTEN"] = "127.0.0.1:0"
        environment[f"EIDER_{name.upper()}_LOCAL"] = "1"
    return environment | more


def _start(
    arguments: Sequence[str], environment: Mapping[str, str], log_path: Path, *, forked: bool
) -> subprocess.Popen[bytes] | ForkedProcess:
    if forked:
        return start_module(arguments, environment, log_path)
    with log_path.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, env=dict(environment), stdout=log, stderr=log
        )


@contextmanager
def start(
    names: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    launcher: Sequence[str] = ("-m", "mailcore"),
    tracebacks_expected: bool = False,
    ready: str = "server.started",
    forked: bool = True,
) -> Iterator[RunningServer]:
    """Run one process that serves `names` and wait for the event `ready`.

    `launcher` may name another module that does the same, with fault points. Without `forked` an interpreter
    begins anew: what it loads and holds is its own.
    """
    log_path = folder / f"{'-'.join(names)}-{time.monotonic_ns()}.log"
    server = RunningServer(_start((*launcher[1:], *names), environment, log_path, forked=forked), log_path)
    process = server.process
    try:
        server.wait_for(ready)
        yield server
        if process.poll() is None:
            assert server.terminate() == 0, log_path.read_text()
        assert tracebacks_expected or not server.tracebacks(), server.tracebacks()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
