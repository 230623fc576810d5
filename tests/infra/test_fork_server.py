"""Servers that tests fork are as those that `python -m` starts, and leave with the tests."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fork_server import ROOT, start_module

ENDLESS: Final = ["http.server", "0", "--bind", "127.0.0.1"]
KILLED: Final = """
import sys
from pathlib import Path
from tests.fork_server import start_module
print(start_module(sys.argv[2:], {}, Path(sys.argv[1])).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("arguments", [["mailcore", "no-such-server"], ["mailcore", "imap"], ["this"]])
def test_a_fork_says_and_returns_what_an_interpreter_would(arguments: list[str], tmp_path: Path) -> None:
    """Without settings a server ends with what is missing."""
    log = tmp_path / "log"
    fork = start_module(arguments, {"PYTHONUNBUFFERED": "1"}, log)
    anew = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env={"PYTHONUNBUFFERED": "1"}, capture_output=True, check=False
    )
    assert fork.wait(60) == anew.returncode
    assert log.read_bytes() == anew.stdout + anew.stderr
    assert (anew.returncode != 0) is (arguments[0] == "mailcore")


def test_a_killed_fork_is_told_of_by_its_signal(tmp_path: Path) -> None:
    fork = start_module(ENDLESS, {}, tmp_path / "log")
    assert fork.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        fork.wait(0)
    fork.kill()
    assert fork.wait(60) == -signal.SIGKILL


def test_forks_die_with_tests_that_are_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "log"), *ENDLESS]
    tests = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert tests.stdout is not None
    fork = os.pidfd_open(int(tests.stdout.readline()))
    assert not select.select([fork], [], [], 0)[0]
    tests.kill()
    tests.wait(60)
    assert select.select([fork], [], [], 60)[0], "it goes on without those who asked for it"
    os.close(fork)
    tests.communicate()
