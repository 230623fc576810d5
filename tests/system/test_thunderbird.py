"""Thunderbird lists and reads an INBOX by IMAP, hears of what is new, and collects it by POP3."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailcore.services import MailServices
from tests.builders import MadeUser
from tests.system.mail import KINDS, messages, put
from tests.system.programs import needs
from tests.system.servers import RunningServer, environment_of, start
from tests.system.thunderbird import Marionette, thunderbird
from tests.waiting import wait_until

pytestmark = needs("thunderbird", "thunderbird")
READ = (Path(__file__).parent / "thunderbird_read.js").read_text()
COUNT_ALL = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.allServers.find(each => each.type == "imap");
return [...server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox).messages].length;
"""
NO_SECURITY, NORMAL_PASSWORD = 0, 3
_OWN_FIELDS = re.compile(rb"(X-Mozilla-[A-Za-z0-9-]+|X-Account-Key|X-UIDL):[^\n]*\n|From - [^\n]*\n")


@pytest.fixture(scope="module")
def server(
    services: MailServices, directory_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    names = ["imap", "pop3"]
    with start(names, environment_of(directory_uri, redis_url, names), tmp_path_factory.mktemp("mail")) as server:
        yield server


def preferences(server: RunningServer, user: MadeUser) -> dict[str, object]:
    """Two accounts of one user: by IMAP, and by POP3 with mail left where it is."""
    found: dict[str, object] = {
        "mail.accountmanager.accounts": "account1,account2",
        "mail.accountmanager.defaultaccount": "account1",
    }
    for number, kind in enumerate(["imap", "pop3"], start=1):
        found |= {
            f"mail.account.account{number}.server": f"server{number}",
            f"mail.account.account{number}.identities": f"id{number}",
            f"mail.identity.id{number}.useremail": user.address,
            f"mail.server.server{number}.type": kind,
            f"mail.server.server{number}.name": kind,
            f"mail.server.server{number}.hostname": "127.0.0.1",
            f"mail.server.server{number}.port": server.port(kind),
            f"mail.server.server{number}.userName": user.address,
            f"mail.server.server{number}.socketType": NO_SECURITY,
            f"mail.server.server{number}.authMethod": NORMAL_PASSWORD,
            f"mail.server.server{number}.login_at_startup": False,
            f"mail.server.server{number}.check_new_mail": False,
            f"mail.server.server{number}.leave_on_server": True,
        }
    return found


def is_shown_as(shown: dict[str, Any], raw: bytes, number: int) -> None:
    """What is on the screen, and what lies in the profile but for Thunderbird's own fields."""
    assert shown["subject"] == f"message {number}"
    assert shown["author"] == f"Writer {number} <writer{number}@example.com>"
    stored = base64.b64decode(shown["raw"]).replace(b"\r\n", b"\n")
    assert _OWN_FIELDS.sub(b"", stored).rstrip(b"\n") == raw.replace(b"\r\n", b"\n").rstrip(b"\n")
    if number % KINDS < 3:
        assert shown["text"].strip() == raw.partition(b"\r\n\r\n")[2].decode().replace("\r\n", "\n").strip()
    elif number % KINDS > 3:
        assert shown["attachments"] == [3_000 if number % KINDS == 4 else 45_000]


def wait_for(client: Marionette, count: int) -> None:
    wait_until(lambda: client.run(COUNT_ALL) == count, seconds=40)


@pytest.mark.timeout(180)
def test_thunderbird_lists_and_reads(
    server: RunningServer, services: MailServices, user: MadeUser, tmp_path: Path
) -> None:
    raws = messages(0, 30)
    put(services, user, raws)
    with thunderbird(tmp_path, preferences(server, user)) as client:
        for kind in ("imap", "pop3"):
            shown = client.run(READ, kind, user.password, len(raws))
            assert len(shown) == len(raws)
            for number, raw in enumerate(raws):
                is_shown_as(shown[number], raw, number)
        put(services, user, messages(30, 1))
        wait_for(client, len(raws) + 1)
        ends_at = time.monotonic() + 40
        while (view := services.mailboxes.open(user.user_id, "INBOX")).unseen != len(raws):
            assert time.monotonic() < ends_at, "one was marked as read"
            time.sleep(0.1)
    assert view.exists == len(raws) + 1
