"""`eider stack bench`: the peer file is complete, the accounts work, and nothing is left after the stop."""

from __future__ import annotations

import imaplib
import json
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("d000", "r00", "sync0")
COMMAND = [sys.executable, "-m", "mailcore.cli", "stack", "bench"]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A running peer, started from standard input as `run.py --list-users | eider stack bench --users -` does."""
    folder = tmp_path_factory.mktemp("bench")
    out = folder / "peer.json"
    options = ["--users", "-", "--out", str(out), "--cache-gb", "0.25"]
    started = subprocess.run(
        COMMAND + options, input="\n".join(NAMES), text=True, capture_output=True, timeout=100, check=False
    )
    assert started.returncode == 0, started.stderr
    document = json.loads(out.read_text())
    yield document
    subprocess.run(document["stop"], check=True, timeout=60)
    assert not (folder / "peer.json.data").exists()
    for pid in document["pids"].values():
        assert not Path(f"/proc/{pid}").exists()


def test_peer_file_has_every_key_of_the_harness(peer: dict[str, Any]) -> None:
    assert set(peer) >= {"host", "ports", "pids", "users", "start", "stop", "storage_cmd", "describe", "hash"}
    assert set(peer["ports"]) == {"imap", "pop3", "lmtp", "api"}
    assert set(peer["users"]) == set(NAMES)
    assert peer["users"]["d000"] | {"id": ""} == {
        "login": "d000@bench.test",
        "password": "bench-Passw0rd",
        "address": "d000@bench.test",
        "id": "",
    }


def test_process_roots_are_servers_and_databases_none_below_another(peer: dict[str, Any]) -> None:
    pids = peer["pids"]
    assert set(pids) == {"imap", "pop3", "lmtp", "api", "mongod", "redis"}
    assert len(set(pids.values())) == len(pids)
    for pid in pids.values():
        assert parent_of(pid) not in pids.values()
        os.kill(pid, 0)


def test_every_account_receives_and_reads_mail(peer: dict[str, Any]) -> None:
    message = b"From: a@b.test\r\nSubject: bench\r\n\r\nhello\r\n"
    for user in peer["users"].values():
        with smtplib.LMTP(peer["host"], peer["ports"]["lmtp"], local_hostname="bench.test") as lmtp:
            assert lmtp.sendmail("a@b.test", [user["address"]], message) == {}
        with imaplib.IMAP4(peer["host"], peer["ports"]["imap"]) as imap:
            assert imap.login(user["login"], user["password"])[0] == "OK"
            assert imap.select("INBOX") == ("OK", [b"1"])
            (_, body), _ = imap.fetch("1", "(BODY.PEEK[])")[1]
            assert body.endswith(message)


def test_storage_command_prints_the_bytes_on_disk(peer: dict[str, Any]) -> None:
    shown = subprocess.run(peer["storage_cmd"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert int(shown) > 4096


def test_without_a_list_of_users_it_says_so_in_one_line(tmp_path: Path) -> None:
    options = ["--users", str(tmp_path / "none"), "--out", str(tmp_path / "peer.json")]
    outcome = subprocess.run(COMMAND + options, capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("eider stack: cannot read the account names in ")
    assert outcome.stderr.count("\n") == 1
    assert not (tmp_path / "peer.json").exists()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
