"""Mail servers that have their imports behind them.

The tests start servers by the hundred, and each would spend two seconds of CPU on its imports. One process
imports everything once, opens nothing, and is forked for each server: the fork gets its own environment, log
and session, and then runs the module that `python -m` would have run.

    process = start_module(["mailcore", "imap"], environment, log_path)
    process.pid, process.poll(), process.wait(10), process.kill()

It is patched for gevent, as mail servers are. Tests that measure memory start an interpreter anew, for a fork
has also what other servers load.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import atexit  # noqa: E402
import functools  # noqa: E402
import importlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

ROOT = Path(__file__).parents[1]
LARGEST_MESSAGE = 1 << 17


class ForkedProcess:
    """One process, with as much of Popen as tests use."""

    def __init__(self, server: _ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """How it ended, as far as `poll` and `wait` saw."""
        return self._server.ended.get(self.pid)

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        self._server.listen(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once there is one.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if ends_at is None else ends_at - time.monotonic()
            if left is not None and left <= 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired([str(self.pid)], timeout)
            self._server.listen(left)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start_module(arguments: Sequence[str], environment: Mapping[str, str], log_path: Path) -> ForkedProcess:
    """Run a module as `python -m ARGUMENTS` does, in a session of its own; what it prints is appended to the log."""
    log_path.touch()
    return _fork_server().start(arguments, environment, log_path)


@functools.cache
def _fork_server() -> _ForkServer:
    """The one of this test process, started when it is first needed."""
    return _ForkServer()


class _ForkServer:
    """The side of the tests: asks for processes, and is told which have ended."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self._socket = ours
        self._asked = 0
        self._started: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        atexit.register(self._end)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log_path: Path) -> ForkedProcess:
        self._asked += 1
        number = self._asked
        asked = {"number": number, "arguments": list(arguments), "environment": dict(environment), "log": str(log_path)}
        self._socket.sendall(json.dumps(asked).encode())
        while number not in self._started:
            self.listen(None)
        pid = self._started.pop(number)
        return ForkedProcess(self, pid)

    def listen(self, timeout_s: float | None) -> None:
        """Note what has been told, waiting so long for the first of it; other greenlets may note it meanwhile."""
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return
        with suppress(BlockingIOError):
            while True:
                message = os.read(self._socket.fileno(), LARGEST_MESSAGE)
                assert message, "the process that is forked has ended"
                told = json.loads(message)
                if "number" in told:
                    self.ended.pop(told["pid"], None)  # numbers of processes come again
                    self._started[told["number"]] = told["pid"]
                else:
                    self.ended[told["pid"]] = told["status"]

    def _end(self) -> None:
        self._socket.close()
        self._process.wait(10)


# -- the process that is forked ---------------------------------------------------------------

_fork = monkey.get_original("os", "fork")
_poll = monkey.get_original("select", "poll")


def _serve(control: int) -> None:
    """Fork at each request; when the tests are gone, end what still runs.

    Returns in forks, once they are what was asked for. No signal, thread or event loop is used here: a fork
    would inherit it.
    """
    import gevent.hub

    assert gevent.hub._get_hub() is None, "an import has started an event loop"
    os.set_blocking(control, True)
    running: dict[int, int] = {}
    while True:
        poll = _poll()
        for descriptor in (control, *running):
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll():
            if descriptor != control:
                pid = running.pop(descriptor)
                os.close(descriptor)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                _tell(control, {"pid": pid, "status": status})
                continue
            message = os.read(control, LARGEST_MESSAGE)
            if not message:
                for pid in running.values():
                    os.kill(pid, signal.SIGKILL)
                sys.exit(0)
            asked = json.loads(message)
            pid = _fork()
            if pid == 0:
                for inherited in (control, *running):
                    os.close(inherited)
                _become(asked)
                return
            running[os.pidfd_open(pid)] = pid
            _tell(control, {"number": asked["number"], "pid": pid})


def _tell(control: int, what: dict[str, int]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the next read says so
        os.write(control, json.dumps(what).encode())


def _become(asked: dict[str, Any]) -> None:
    """Take over the environment, the log and the arguments."""
    os.setsid()
    os.environ.clear()
    os.environ.update(asked["environment"])
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0), write_through=True)
    sys.argv = asked["arguments"]


def _preload() -> None:
    """Import what mail servers import."""
    main = importlib.import_module("mailcore.main")
    for name in (*main.SERVERS, *main.WORKS):
        importlib.import_module(f"mailcore.{name}.server")


if __name__ == "__main__":
    _preload()
    _serve(int(sys.argv[1]))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
