"""Bad OpenPGP keys, read in greenlets as servers do: an error each, never the end of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

PROGRAM: Final = """
from gevent import monkey
monkey.patch_all()
import gevent
from mailcore.errors import EncryptionFailed
from mailcore.services.content import encryption

def read(number):
    gevent.sleep(0.01 * (number % 3))
    try:
        encryption._certificate("garbage")
    except EncryptionFailed as error:
        print("unwound" if "Stack backtrace" in str(error.__cause__) else "told")

def deep(depth, work):
    return list(map(lambda _: deep(depth - 1, work), [1])) if depth else work()

started = []
for number in range(20):  # each begins at another place of the stack that they all share
    deep(5 * number % 60, lambda: started.append(gevent.spawn(read, number)))
    gevent.sleep(0)
gevent.joinall(started)
"""
IN_A_THREAD: Final = """
import pysequoia
from mailcore.errors import EncryptionFailed
from mailcore.services.content import encryption

encryption._sequoia = lambda: pysequoia
try:
    encryption._certificate("garbage")
except EncryptionFailed as error:
    print("unwound" if "Stack backtrace" in str(error.__cause__) else "told")
"""
"""Where the stack can be unwound; in a greenlet it ends some builds of Python, not all."""


def run(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RUST_BACKTRACE": "1"}
    environment.pop("RUST_LIB_BACKTRACE", None)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_bad_key_is_an_error_and_no_more() -> None:
    done = run(PROGRAM)
    assert (done.returncode, done.stdout.split()) == (0, ["told"] * 20), done.stderr[-500:]


def test_control_the_library_left_alone_unwinds_the_stack() -> None:
    done = run(IN_A_THREAD)
    assert (done.returncode, done.stdout.split()) == (0, ["unwound"]), done.stderr[-500:]
