"""`eider import`: bring mail over, name what could not be read, go on where it stopped."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import SEALING_KEYS, make_services, make_user
from tests.cli.conftest import Eider

MESSAGE = b"From: a@example.com\r\nSubject: one\r\n\r\nbody %d\r\n"


@pytest.fixture
def address(directory_uri: str, shard_uris: dict[str, object], redis_url: str) -> str:
    services = make_services(directory_uri, shard_uris, redis_url)
    made = make_user(services)
    services.close()
    return made.address


def write_emls(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}.eml").write_bytes(MESSAGE % number)


def test_import_counts_and_a_second_one_finds_everything_there(eider: Eider, address: str, tmp_path: Path) -> None:
    write_emls(tmp_path / "mail", 5)
    first = eider("import", str(tmp_path / "mail"), "--user", address.upper(), "--mailbox", "Old/2020")
    assert first.status == 0
    assert re.match(r"5 imported \(\d+ B\) into 1 mailboxes in [\d.]+ s, 0 there already, 0 not readable\n", first.out)
    assert first.err == ""  # no bar where there is no terminal
    second = eider("import", str(tmp_path / "mail"), "--user", address, "--mailbox", "Old/2020")
    assert second.out.startswith("0 imported (0 B)")
    assert "5 there already" in second.out


def test_unreadable_files_are_named_at_the_end_with_status_1(eider: Eider, address: str, tmp_path: Path) -> None:
    write_emls(tmp_path, 2)
    (tmp_path / "bad\x1b[31m.eml").write_bytes(b"")
    outcome = eider("import", str(tmp_path), "--user", address)
    assert outcome.status == 1
    assert outcome.out.startswith("2 imported")
    assert outcome.err.endswith("bad\ufffd[31m.eml: empty\n")


def test_what_is_passed_over_is_said_with_status_0(eider: Eider, address: str, tmp_path: Path) -> None:
    write_emls(tmp_path, 1)
    for folder in ("a", "b"):
        write_emls(tmp_path / folder, 1)
        (tmp_path / folder / "index\x1b.cache").write_bytes(b"x")
    outcome = eider("import", str(tmp_path), "--user", address)
    assert outcome.status == 0
    assert outcome.out.endswith("0 not readable, 2 passed over\n")
    assert outcome.err.endswith("a/index\ufffd.cache and 1 more of that name: no mail that we know to read\n")


def test_a_program_is_no_mail(eider: Eider, address: str, tmp_path: Path) -> None:
    write_emls(tmp_path, 2)
    shutil.copy(sys.executable, tmp_path / "program.eml")
    for path, imported in ((tmp_path / "program.eml", 0), (tmp_path, 2)):
        outcome = eider("import", str(path), "--user", address)
        assert outcome.status == 1
        assert re.match(rf"{imported} imported .*, 0 there already, 1 not readable\n", outcome.out)
        assert outcome.err.endswith("program.eml: no mail: it does not begin with a header field\n")


def test_what_cannot_be_imported_says_so_in_one_line(eider: Eider, address: str, tmp_path: Path) -> None:
    write_emls(tmp_path / "mail", 1)
    for arguments, said in (
        ((str(tmp_path / "nothing"), "--user", address), "does not exist"),
        ((str(tmp_path), "--user", "nobody@nowhere.test"), "reaches nobody"),
        ((str(tmp_path), "--user", "nonsense"), "@"),
        ((str(tmp_path / "mail"), "--user", address, "--mailbox", "a//b"), ""),
    ):
        outcome = eider("import", *arguments)
        assert outcome.status == 1
        assert said in outcome.err
        assert outcome.err.startswith("eider: ")
        assert outcome.err.count("\n") <= 1
    (tmp_path / "mail/000.eml").unlink()
    assert "holds no mail" in eider("import", str(tmp_path / "mail"), "--user", address).err


def test_a_full_quota_says_what_to_do(eider: Eider, address: str, tmp_path: Path) -> None:
    write_emls(tmp_path / "mail", 3)
    eider("user", "set-quota", address, "10")
    outcome = eider("import", str(tmp_path / "mail"), "--user", address)
    assert outcome.status == 1
    assert "quota" in outcome.err
    assert "run this again" in outcome.err
    eider("user", "set-quota", address, "none")
    assert eider("import", str(tmp_path / "mail"), "--user", address).out.startswith("3 imported")


def test_a_terminal_sees_a_bar(directory_uri: str, redis_url: str, address: str, tmp_path: Path) -> None:
    write_emls(tmp_path / "mail", 40)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mailcore.cli", "import", str(tmp_path / "mail"), "--user", address],
        env={**os.environ, "MONGO_URI": directory_uri, "REDIS_URL": redis_url, "EIDER_SEALING_KEYS": SEALING_KEYS},
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=Path(__file__).parents[2],
    )
    out, _ = process.communicate(timeout=60)
    os.close(theirs)
    assert out.startswith(b"40 imported")
    assert process.returncode == 0
    shown = os.read(ours, 65536)  # a few lines: they fit the terminal's buffer
    os.close(ours)
    assert re.search(rb"\r\[#+ *\] +\d+%  \d+ messages  [\d.]+ \w+/s", shown)
    assert shown.endswith(b"\r\x1b[K")  # and it leaves the line empty
