"""Other people's programs as clients: which packages bring them, and how to run one.

Root gets them by `make test` and may not go without; others skip and are told what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def needs(program: str, package: str) -> list[pytest.MarkDecorator]:
    """Marks for tests that run a program of a Debian package."""
    reason = f"{program} is not installed: as root run `apt-get install {package}`"
    return [pytest.mark.root, pytest.mark.skipif(shutil.which(program) is None, reason=reason)]


def run(
    command: Sequence[str | Path], home: Path, *, expected: Sequence[int] = (0,), timeout_s: float = 60, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a program in a home of its own until it ends with a status that is expected."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **more}
    done = subprocess.run(
        command,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode in expected, done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    return done
