"""The Postgres process and its data cluster."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg

from infra.devstack.binaries import POSTGRES_BIN, program
from infra.devstack.faults import StackFault
from infra.devstack.process import Process

USER = "eider"
DATABASE = "eider"
START_TIMEOUT_S = 30.0
STOP_SIGNAL = signal.SIGINT  # fast: SIGTERM would wait for the clients
ROOT_BECOMES = "nobody"


def url(port: int, database: str = DATABASE) -> str:
    """Return the libpq URL of a database."""
    return f"postgresql://{USER}@127.0.0.1:{port}/{database}"


def postgres(data_dir: Path, port: int, log_dir: Path, *, durable: bool) -> Process:
    """Describe the server, making its data cluster the first time.

    Raises:
        StackFault: the cluster cannot be made.
    """
    cluster = data_dir / "postgres"
    if not cluster.exists():
        _make_cluster(cluster)
    # Nobody else can be running on it, for the caller holds the folder: left by a crash.
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    command = [str(program(POSTGRES_BIN) / "postgres"), "-D", str(cluster)]
    command += ["-p", str(port), "-h", "127.0.0.1", "-k", ""]  # no socket file: its path may be too long
    for setting in (
        f"fsync={'on' if durable else 'off'}",
        f"synchronous_commit={'on' if durable else 'off'}",
        "shared_buffers=32MB",
        "dynamic_shared_memory_type=mmap",  # what a killed one leaves behind lies in its folder
        "max_connections=200",
        "log_min_messages=warning",
    ):
        command += ["-c", setting]
    return Process(
        "postgres", as_unprivileged(command), cwd=cluster, log_path=log_dir / "postgres.log", environment=_environment()
    )


def is_ready(port: int, data_dir: Path) -> bool:
    """Tell whether the server answers and has our data, not another that took its port."""
    try:
        with psycopg.connect(url(port, "postgres"), connect_timeout=2) as connection:
            return connection.execute("SHOW data_directory").fetchone() == (str(data_dir / "postgres"),)
    except psycopg.OperationalError:
        return False


def ensure_database(port: int, name: str = DATABASE) -> None:
    """Create a database unless it is there."""
    with psycopg.connect(url(port, "postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))


def drop_database(server_url: str, name: str) -> None:
    """Drop a database, connections to it or not."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        statement = psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        connection.execute(statement.format(psycopg.sql.Identifier(name)))


def as_unprivileged(command: Sequence[str]) -> list[str]:
    """Return the command such that Postgres, which refuses root, runs it.

    As root it becomes nobody but keeps the right to pass closed folders above (a checkout in
    root's home folder); no folder's permissions are changed.
    """
    if os.geteuid() != 0:
        return list(command)
    nobody = pwd.getpwnam(ROOT_BECOMES)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackFault("Postgres refuses root, and setpriv is missing: install util-linux, or run as another user")
    identity = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    keep = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    heed = ["--securebits=+no_setuid_fixup"]  # else access(2), by which initdb finds postgres, forgets what is kept
    return [setpriv, *identity, *keep, *heed, "--", *command]


def _make_cluster(cluster: Path) -> None:
    """Make the cluster beside its place, then move it there whole."""
    beside = cluster.with_name("postgres.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam(ROOT_BECOMES)
        os.chown(beside, nobody.pw_uid, nobody.pw_gid)
    initdb = [str(program(POSTGRES_BIN) / "initdb"), "-D", str(beside), "-U", USER, "--auth=trust"]
    initdb += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
    command = as_unprivileged(initdb)
    outcome = subprocess.run(command, cwd=beside, env=_environment(), capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        reason = (outcome.stderr.strip().splitlines() or [f"status {outcome.returncode}"])[-1]
        raise StackFault(f"initdb failed in {beside}: {reason}")
    beside.rename(cluster)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
