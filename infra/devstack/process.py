"""One child process with its log file: started, watched, stopped, frozen."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.devstack.faults import StackFault

POLL_S = 0.02


class Process:
    """A named child process, leader of a session of its own, whose output goes to a log file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        cwd: Path,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the process; start() makes it."""
        self.name = name
        self.command = list(command)
        self.cwd = cwd
        self.log_path = log_path
        self.environment = dict(os.environ if environment is None else environment)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it lives, else None."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def status(self) -> int | None:
        """How it ended: exit status, negative for a signal; None while it runs or never did."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start it; not yet ready when this returns."""
        if self.pid is not None:
            return
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the probe says yes.

        Raises:
            StackFault: it ended, or was not ready in time; the line quotes its log.
        """
        until = time.monotonic() + timeout_s
        while not is_ready():
            if self.pid is None:
                raise StackFault(f"{self.name} ended at once: {self.last_words()} (log: {self.log_path})")
            if time.monotonic() > until:
                raise StackFault(
                    f"{self.name} did not answer within {timeout_s:.0f} s: {self.last_words()} (log: {self.log_path})"
                )
            time.sleep(POLL_S)

    def last_words(self) -> str:
        """Return the most telling line at the end of the log."""
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()[-60:]
        except OSError:
            return "it wrote no log"
        plain = [_readable(line) for line in lines if line.strip()]
        telling = [line for line in plain if _is_telling(line)]
        return (telling or plain or ["it wrote no log"])[-1][:300]

    def signal(self, number: int) -> None:
        """Send a signal, if it lives."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when it still lives."""
        if self._child is None:
            return True
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it and its group as a power cut would, and wait until it is gone."""
        own = self.pid
        if own is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(own, signal.SIGKILL)
        self.wait(10)

    def pause(self) -> None:
        """Freeze it and its children (SIGSTOP): it holds its connections and answers nothing."""
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after pause()."""
        self._signal_family(signal.SIGCONT)

    def _signal_family(self, number: int) -> None:
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _family(self) -> list[int]:
        """Return the process and its descendants, parents first."""
        own = self.pid
        if own is None:
            return []
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        family = [own]
        for pid in family:
            family.extend(children.get(pid, ()))
        return family


def _readable(line: str) -> str:
    """Return a mongod JSON log line as its message and error; other lines as they are."""
    try:
        entry = json.loads(line)
        detail = entry.get("attr", {}).get("error", "")
        return f"{entry['s']}: {entry['msg']} {detail}".strip()
    except (ValueError, KeyError, AttributeError):
        return line.strip()


def _is_telling(line: str) -> bool:
    return line.startswith(("E: ", "F: ", "FATAL", "# Fatal")) or "error" in line.lower() or "FATAL" in line


def stop_all(processes: Sequence[Process], how: int, timeout_s: float) -> None:
    """Stop several processes together; what has not ended in time is killed."""
    for process in processes:
        process.resume()
        process.signal(how)
    until = time.monotonic() + timeout_s
    for process in processes:
        if not process.wait(max(0.0, until - time.monotonic())):
            process.kill()
