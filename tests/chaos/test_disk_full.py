"""Fault F6, promises P1 and P12: no room on the hot set, so mail is refused for now; what was acknowledged is kept."""

from __future__ import annotations

import os
import random
import smtplib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.devstack.stack import Stack
from tests.chaos.invariants import read_inbox
from tests.chaos.load import Login
from tests.chaos.rig import Rig
from tests.waiting import wait_until

LEFT_BYTES = 256 << 10
LITTLE_ROOM = 0.03
"""Of the disk: less than the servers' reserve, but enough for MongoDB to live on."""
TEXT_BYTES = 1_500_000
REFUSALS = 3
"""So many in a row are enough."""
MOST = 200


def message(number: int) -> bytes:
    """Text that hardly compresses, so that it takes room on the hot set."""
    text = random.Random(number).randbytes(TEXT_BYTES // 2).hex()
    lines = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    return f"From: a@b.example\r\nSubject: {number}\r\n\r\n{lines}\r\n".encode()


def deliver(rig: Rig, login: Login, raw: bytes) -> int:
    """Try once and return the code of the answer to the content, or of what came before."""
    try:
        with smtplib.LMTP("127.0.0.1", rig.ports("lmtp")[0], timeout=60) as client:
            client.sendmail("a@b.example", login.address, raw)
    except smtplib.SMTPRecipientsRefused as refused:
        return int(next(iter(refused.recipients.values()))[0])
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code
    return 250


def fill(filler: Path, left_bytes: int) -> None:
    """Write a file that leaves so much of its disk free."""
    disk = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        file.write(b"\0" * max(0, disk.f_bavail * disk.f_frsize - left_bytes))


def answers_until(rig: Rig, wanted: int) -> list[bytes]:
    """Deliver small messages until the answer is `wanted`; return those acknowledged before."""
    acked: list[bytes] = []
    until = time.monotonic() + 60
    while (code := deliver(rig, rig.logins[0], small := b"Subject: small %d\r\n\r\nx\r\n" % len(acked))) != wanted:
        assert time.monotonic() < until, f"the answer is {code}"
        if code == 250:
            acked.append(small)
        time.sleep(0.1)
    return acked


def fill_and_heal(rig: Rig, filler: Path) -> tuple[list[bytes], list[int]]:
    """Deliver until there is no room, make room, deliver once more; return what was acknowledged, and the refusals."""
    login = rig.logins[0]
    acked, refused = [message(0)], list[int]()
    assert deliver(rig, login, acked[0]) == 250
    fill(filler, LEFT_BYTES)
    for number in range(1, MOST):
        code = deliver(rig, login, message(number))
        if code == 250:
            acked.append(message(number))
        else:
            refused.append(code)
        if len(refused) == REFUSALS:
            break
    filler.unlink()
    rig.stack.restart("main")
    wait_until(lambda: deliver(rig, login, message(MOST)) == 250, 60, lambda: "it does not recover")
    return [*acked, message(MOST)], refused


def check_full_disk(new_stack: Callable[..., Stack], tmp_path: Path, disk: Path, faults: dict[str, str]) -> None:
    """Nothing is refused for good; each acknowledged message is there once."""
    stack = new_stack(databases=("main", "redis"), dbpaths={"main": disk / "db"})
    with Rig(stack, tmp_path, lmtp_processes=1, imap_processes=1, users_per_shard=1, faults=faults) as rig:
        acked, refused = fill_and_heal(rig, disk / "filler")
        found = list(read_inbox("127.0.0.1", rig.ports("imap")[0], rig.logins[0]).values())
        lost = [raw for raw in acked if sum(one.endswith(raw) for one in found) != 1]
        assert not lost, f"{len(lost)} of {len(acked)} acknowledged messages are lost or doubled"
        assert len(refused) == REFUSALS, "the disk was not full: the test proves nothing"
        assert all(400 <= code < 500 for code in refused), refused


@pytest.mark.root
@pytest.mark.timeout(240)
def test_little_room_is_refused_before_mongodb_has_none(
    new_stack: Callable[..., Stack], tmp_path: Path, small_disk: Path
) -> None:
    """452 4.3.1 while MongoDB lives on, and mail again as soon as there is room, without anybody's help."""
    stack = new_stack(databases=("main", "redis"), dbpaths={"main": small_disk / "db"})
    with Rig(stack, tmp_path, lmtp_processes=1, imap_processes=1, users_per_shard=1) as rig:
        disk = os.statvfs(small_disk)
        fill(small_disk / "filler", int(disk.f_blocks * disk.f_frsize * LITTLE_ROOM))
        acked = answers_until(rig, 452)
        assert len(read_inbox("127.0.0.1", rig.ports("imap")[0], rig.logins[0])) == len(acked), "reading goes on"
        (small_disk / "filler").unlink()
        answers_until(rig, 250)
        found = read_inbox("127.0.0.1", rig.ports("imap")[0], rig.logins[0])
        assert len(found) == len(acked) + 1


@pytest.mark.root
@pytest.mark.timeout(240)
def test_full_hot_set_refuses_for_now_and_loses_nothing(
    new_stack: Callable[..., Stack], tmp_path: Path, small_disk: Path
) -> None:
    """MongoDB ends itself when its disk is full; with room again and started again all is there."""
    check_full_disk(new_stack, tmp_path, small_disk, {})


@pytest.mark.root
@pytest.mark.soak
@pytest.mark.timeout(240)
def test_message_acknowledged_without_room_would_be_missed(
    new_stack: Callable[..., Stack], tmp_path: Path, small_disk: Path
) -> None:
    """Negative control: a server that answers 250 to what it could not store."""
    with pytest.raises(AssertionError, match="acknowledged messages are lost"):
        check_full_disk(new_stack, tmp_path, small_disk, {"lmtp": "always-yes"})
