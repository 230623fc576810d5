"""The development stack: up as anybody, data found again, every trouble one line that says what to do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pymongo
import pytest
import redis
from pymongo.errors import PyMongoError

from infra.devstack import binaries
from infra.devstack import postgres as pg
from infra.devstack.datafolder import LAYOUT_NAME, DataFolder, servers_below
from infra.devstack.endpoints import Endpoints
from infra.devstack.faults import StackFault
from infra.devstack.stack import Existing, Stack, with_database
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
SMALL = ("main", "redis")
NewStack = Callable[..., Stack]


def insert(uri: str, value: str) -> None:
    with pymongo.MongoClient(uri) as client:
        client.get_default_database().kept.insert_one({"_id": value})


def values(uri: str, timeout_ms: int = 20_000) -> set[str]:
    with pymongo.MongoClient(uri, serverSelectionTimeoutMS=timeout_ms, socketTimeoutMS=timeout_ms) as client:
        return {document["_id"] for document in client.get_default_database().kept.find()}


def test_every_store_takes_writes_and_has_its_own_database(new_stack: NewStack) -> None:
    stack = new_stack()
    uris = [stack.directory_uri, *(uri for s in stack.shards.values() for uri in (s.hot, s.cold))]
    for uri in uris:
        insert(uri, uri)
    assert [values(uri) for uri in uris] == [{uri} for uri in uris]
    with psycopg.connect(stack.postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with redis.Redis.from_url(stack.redis_url) as client:
        assert client.ping()
    assert set(stack.pids) == {"main", "a-cold", "b-hot", "b-cold", "postgres", "redis"}


def test_ports_and_data_are_found_again(tmp_path: Path) -> None:
    first = Stack(tmp_path / "data", databases=SMALL)
    with first:
        insert(first.directory_uri, "before")
        uri = first.directory_uri
    with Stack(tmp_path / "data", databases=SMALL) as second:
        assert second.directory_uri == uri
        assert values(uri) == {"before"}


def test_data_survives_a_launcher_and_servers_that_were_killed(tmp_path: Path) -> None:
    """Left behind: running servers, mongod.lock, postmaster.pid, a lock file."""
    data = tmp_path / "data"
    launcher = subprocess.Popen(
        [sys.executable, "-m", "mailcore.cli", "stack", "run", "--databases-only", "--data", str(data)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    for line in launcher.stdout:
        if "ready after" in line:
            break
    insert(Endpoints.read(data / "endpoints.json").mongo.directory, "before")
    launcher.kill()
    launcher.wait()
    left_behind = servers_below(data)
    assert len(left_behind) >= 6
    os.kill(Endpoints.read(data / "endpoints.json").pids.databases["postgres"], signal.SIGKILL)

    with Stack(data) as stack:
        assert values(stack.directory_uri) == {"before"}
        assert not set(left_behind) & set(stack.pids.values())
    assert servers_below(data) == []


def test_port_in_use_names_the_port_and_new_ports_keep_the_data(tmp_path: Path) -> None:
    with Stack(tmp_path / "data", databases=SMALL) as stack:
        insert(stack.directory_uri, "before")
        port = stack.folder.ports["main"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(StackFault, match=rf"^port {port} of main is taken .* PORTS=new`$"):
            Stack(tmp_path / "data", databases=SMALL).start()
        assert servers_below(tmp_path) == []
        with Stack(tmp_path / "data", databases=SMALL, new_ports=True) as moved:
            assert moved.folder.ports["main"] != port
            assert values(moved.directory_uri) == {"before"}


def test_second_run_on_the_same_folder_names_the_first(new_stack: NewStack) -> None:
    stack = new_stack(databases=["redis"])
    with pytest.raises(StackFault, match=f"in use by process {os.getpid()}: stop that one first"):
        Stack(stack.folder.path).start()
    assert stack.pids


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (LAYOUT_NAME, '{"format": 1, "no', "damaged.*half-written.*rm -rf"),
        (LAYOUT_NAME, '{"format": 99, "nodes": 1, "ports": {}}', "another version"),
        ("WiredTiger.wt", "", "no stack.json.*half-written or not ours"),
    ],
    ids=["cut off", "another version", "without layout"],
)
def test_half_written_folder_is_refused_untouched(tmp_path: Path, file: str, content: str, reason: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(StackFault, match=reason):
        Stack(tmp_path).start()
    assert (tmp_path / file).read_text() == content


def test_half_made_postgres_cluster_is_made_anew(tmp_path: Path) -> None:
    """initdb was cut off: its folder is still beside its place."""
    with Stack(tmp_path / "data", databases=["redis"]):
        pass
    (tmp_path / "data" / "postgres.new").mkdir()
    (tmp_path / "data" / "postgres.new" / "PG_VERSION").write_text("18\n")
    with Stack(tmp_path / "data", databases=["postgres"]) as stack, psycopg.connect(stack.postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_other_number_of_nodes_is_refused(tmp_path: Path) -> None:
    with Stack(tmp_path, nodes=1, databases=["redis"]):
        pass
    with pytest.raises(StackFault, match="made with NODES=1"):
        Stack(tmp_path, nodes=3).start()


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackFault, match=r"cannot write to the data folder .*DATA=FOLDER"):
        Stack(tmp_path / "file" / "data").start()


def test_other_platform_is_told_to_bring_its_own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(StackFault, match="Linux x86-64 only, this is linux aarch64: set MONGO_URI"):
        binaries.program(binaries.MONGOD)


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("libssl.so.9", "mongod needs the library libssl.so.9: install the package that has it"),
        ("libcurl.so.4", "mongod needs libcurl.so.4: install it with this system's package manager"),
    ],
)
def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, reason: str) -> None:
    """A program that fails as the loader does stands in for mongod; no package manager is in reach."""
    program = tmp_path / "mongod"
    program.write_text(
        "#!/bin/sh\n"
        f"echo 'mongod: error while loading shared libraries: {library}: cannot open shared object file' >&2\n"
        "exit 127\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(binaries, "program", lambda which: program)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackFault, match=reason):
        binaries.mongod_environment(tmp_path / "data")


def test_failed_start_leaves_nothing_running(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Stack(data, databases=SMALL):
        pass
    for file in (data / "mongo" / "main-0").glob("WiredTiger*"):
        if file.is_file():
            file.write_bytes(b"garbage")
    with pytest.raises(StackFault, match=r"^main ended at once: .*log: .*main.log"):
        Stack(data, databases=SMALL).start()
    assert servers_below(data) == []


def test_frozen_database_answers_nothing_and_goes_on(new_stack: NewStack) -> None:
    stack = new_stack(databases=("main", "a-cold"))
    insert(stack.shards["a"].cold, "before")
    stack.pause("a-cold")
    with pytest.raises(PyMongoError):
        values(stack.shards["a"].cold, timeout_ms=500)
    insert(stack.shards["a"].hot, "meanwhile")
    stack.resume("a-cold")
    assert values(stack.shards["a"].cold) == {"before"}


def test_killed_database_comes_back_with_its_data(new_stack: NewStack) -> None:
    stack = new_stack(databases=SMALL)
    insert(stack.directory_uri, "before")
    stack.kill("main")
    assert "main" not in stack.pids
    stack.restart("main")
    assert values(stack.directory_uri) == {"before"}


def test_three_nodes_elect_another_primary(new_stack: NewStack) -> None:
    stack = new_stack(nodes=3, databases=["main"])
    with pymongo.MongoClient(stack.directory_uri, w="majority") as client:
        kept = client.get_default_database().kept
        kept.insert_one({"_id": "before"})
        first = stack.primary()
        stack.kill(first)
        assert stack.primary() != first
        kept.insert_one({"_id": "after"})
        stack.restart(first)
    assert values(stack.directory_uri) == {"before", "after"}


def test_data_of_one_database_may_lie_elsewhere(new_stack: NewStack, tmp_path: Path) -> None:
    stack = new_stack(databases=("main", "a-cold"), dbpaths={"a-cold": tmp_path / "small"})
    insert(stack.shards["a"].cold, "here")
    assert (tmp_path / "small" / "WiredTiger").exists()


def test_existing_servers_are_used_instead(stack: Endpoints, new_stack: NewStack) -> None:
    own = new_stack(existing=Existing(stack.mongo.directory, stack.postgres, stack.redis))
    assert own.pids == {}
    assert own.directory_uri == with_database(stack.mongo.directory, "eider_directory")
    assert (own.postgres_url, own.redis_url) == (stack.postgres, stack.redis)


def test_endpoints_hold_secrets_and_only_the_owner_reads_them(new_stack: NewStack) -> None:
    stack = new_stack(databases=SMALL)
    assert stat.S_IMODE(stack.endpoints_path.stat().st_mode) == 0o600
    assert Endpoints.read(stack.endpoints_path) == stack.endpoints
    stack.stop()
    with pytest.raises(StackFault, match="no stack runs there"):
        Endpoints.read(stack.endpoints_path)


def eider(*arguments: str, as_other: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mailcore.cli", *arguments]
    return subprocess.run(
        pg.as_unprivileged(command) if as_other else command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Path]:
    """A data folder for `eider stack up`; what runs on it is stopped at the end."""
    data = tmp_path / "data"
    yield data
    eider("stack", "down", "--data", str(data))


def test_up_status_down(background: Path) -> None:
    up = eider("stack", "up", "--databases-only", "--data", str(background))
    assert (up.returncode, up.stderr) == (0, "")
    uri = Endpoints.read(background / "endpoints.json").mongo.directory
    assert uri in up.stdout
    again = eider("stack", "up", "--databases-only", "--data", str(background))
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "runs on" in again.stderr
    assert uri in eider("stack", "status", "--data", str(background)).stdout
    assert eider("stack", "down", "--data", str(background)).stdout == "stopped\n"
    assert servers_below(background) == []
    assert eider("stack", "status", "--data", str(background)).returncode == 3


def test_up_says_in_one_line_why_not(background: Path) -> None:
    background.mkdir()
    (background / "mail.txt").touch()
    up = eider("stack", "up", "--databases-only", "--data", str(background))
    assert up.returncode == 1
    assert up.stderr.startswith("eider stack: ")
    assert up.stderr.count("\n") == 1


def test_exec_gives_fresh_databases_and_the_status_of_the_command() -> None:
    script = "import os, sys; open(os.environ['EIDER_TEST_STACK']).read(); sys.exit(7)"
    assert eider("stack", "exec", "--", sys.executable, "-c", script).returncode == 7


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_root_may_start_it_as_an_ordinary_user(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    up = eider("stack", "up", "--databases-only", "--data", str(data), as_other=True)
    try:
        assert (up.returncode, up.stderr) == (0, "")
        pids = Endpoints.read(data / "endpoints.json").pids.databases
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids.values()} == {65534}
    finally:
        eider("stack", "down", "--data", str(data))
    wait_until(lambda: not servers_below(data), 10, lambda: servers_below(data))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to close a folder to another user")
def test_postgres_runs_where_a_folder_above_is_closed_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in root's home folder: programs and data lie where nobody may not look."""
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    package, inside = binaries.POSTGRES_BIN
    installed = binaries.program(binaries.POSTGRES_BIN)
    programs = closed / inside
    shutil.copytree(installed.parent, programs.parent)
    libraries = f"{package.replace('-', '_')}.libs"
    shutil.copytree(installed.parents[2] / libraries, closed / libraries)
    monkeypatch.setattr(pg, "program", lambda which: programs)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", str(programs)]
    assert subprocess.run(nobody, capture_output=True, check=False).returncode != 0
    with Stack(closed / "data", databases=["postgres"]) as stack, psycopg.connect(stack.postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert Path(f"/proc/{stack.pids['postgres']}").stat().st_uid == 65534
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_two_stacks_that_choose_at_once_never_share_a_port(tmp_path: Path) -> None:
    """Neither listens yet: what one has chosen is taken for the other."""
    folders = [DataFolder(tmp_path / name) for name in ("one", "two")]
    try:
        for folder in folders:
            folder.open(None)
        preferred = folders[0].port("imap")
        folders[0].forget_ports()
        ports = [folder.port("imap", preferred) for folder in folders]
        assert ports[0] == preferred
        assert ports[1] != preferred
    finally:
        for folder in folders:
            folder.close()
    later = DataFolder(tmp_path / "one")
    later.open(None)
    assert later.port("imap") == preferred
    later.close()
