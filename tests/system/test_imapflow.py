"""imapflow, a client for Node.js, keeps a copy of an INBOX by QRESYNC; compared with the INBOX message by message."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from mailcore.model import flags
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser
from tests.system.clients import packages
from tests.system.mail import found, message, messages, put
from tests.system.servers import RunningServer

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (packages.FOLDER / "node_modules" / "imapflow").is_dir(),
        reason="imapflow is not installed: run `make test` where npm reaches its registry",
    ),
]


class Copy:
    """What one client knows of the INBOX between its sessions."""

    def __init__(self, server: RunningServer, user: MadeUser) -> None:
        self._server = server
        self._user = user
        self.known: dict[str, Any] | None = None

    @property
    def events(self) -> dict[str, int]:
        """How much the last session was told: changed flags, removed and fetched messages."""
        assert self.known is not None
        return dict(self.known["events"])

    def start(self, **wishes: object) -> subprocess.Popen[bytes]:
        """Begin a session."""
        order = {
            "port": self._server.port("imap"),
            "user": self._user.address,
            "password": self._user.password,
            "known": self.known,
            **wishes,
        }
        process = subprocess.Popen(
            [packages.node(), packages.FOLDER / "sync.mjs"],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Take over what the session has learnt."""
        said, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
        self.known = json.loads(said)

    def sync(self, **wishes: object) -> None:
        """Have one whole session."""
        self.end(self.start(**wishes))

    def messages(self) -> Mapping[int, tuple[list[str], str]]:
        """UID to flags and digest."""
        assert self.known is not None
        return {int(uid): (one["flags"], one["digest"]) for uid, one in self.known["messages"].items()}


def stored(services: MailServices, user: MadeUser) -> dict[int, tuple[list[str], str]]:
    """The same of the INBOX."""
    view = services.mailboxes.open(user.user_id, "INBOX")
    raws = found(services, user)
    return {
        int(uid): (sorted(view.flag_names(int(view.flags[row]))), hashlib.sha256(raws[row]).hexdigest())
        for row, uid in enumerate(view.uids)
    }


@pytest.mark.timeout(180)
def test_imapflow_keeps_its_copy_by_qresync(mail_server: RunningServer, services: MailServices, user: MadeUser) -> None:
    """RFC 7162 §3.2.5: changes and removals come with SELECT; nothing is fetched that was known."""
    put(services, user, messages(0, 120))
    copy = Copy(mail_server, user)
    copy.sync()
    assert copy.messages() == stored(services, user)
    assert copy.events == {"flags": 0, "expunge": 0, "fetched": 120}
    assert copy.known is not None
    assert copy.known["messages"]["5"]["subject"] == "message 4"
    assert copy.known["messages"]["5"]["type"] == "multipart/mixed"

    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.expunge(user.user_id, OPERATOR, inbox, UidSet.of([1, 7, 8, 9, 120]), only_deleted=False)
    changed = UidSet.of(range(40, 50))
    services.messages.store(
        user.user_id, OPERATOR, inbox, changed, FlagOperation.ADD, FlagSet(flags.FLAGGED, ("$Work",))
    )
    put(services, user, messages(200, 3))
    copy.sync()
    assert copy.messages() == stored(services, user)
    assert copy.events == {"flags": 10 + 3, "expunge": 5, "fetched": 3}, "SELECT tells of what is new, too"

    copy.sync()
    assert copy.events == {"flags": 0, "expunge": 0, "fetched": 0}, "nothing was new"

    copy.sync(
        write={
            "flags": [[20, ["\\Seen"]], [21, ["\\Answered", "later"]]],
            "deleted": [30, 31],
            "appended": [base64.b64encode(raw).decode() for raw in messages(300, 2)],
        }
    )
    assert copy.messages() == stored(services, user)
    assert len(copy.messages()) == 118

    session = copy.start(wait=True)
    assert session.stderr is not None
    assert session.stderr.readline() == b"waiting\n"
    put(services, user, [message(400)])
    copy.end(session)
    assert copy.messages() == stored(services, user)
    assert copy.events["fetched"] == 1
