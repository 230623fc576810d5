"""Debian's mbsync keeps a Maildir and a user's mailboxes alike, both ways, and then finds nothing to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mailcore.services import MailServices
from tests.builders import MadeUser
from tests.hostile import HOSTILE
from tests.system.servers import RunningServer
from tests.system.stored import stored
from tests.system.strict_imap import StrictImap
from tests.system.test_lmtp import Raw, stuffed

pytestmark = pytest.mark.skipif(
    shutil.which("mbsync") is None, reason="mbsync is not installed: as root run `apt-get install isync`"
)
NAMES = ["response-injection", "8-bit-headers", "parts-100000", "quoted-printable-broken", "base64-broken"]
CONFIGURATION = """
IMAPAccount server
Host 127.0.0.1
Port {port}
User {user}
Pass "{password}"
SSLType None
AuthMechs LOGIN

IMAPStore far
Account server

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""


class Mbsync:
    """One user's configuration and Maildir."""

    def __init__(self, server: RunningServer, user: MadeUser, folder: Path) -> None:
        self.folder = folder / "mail"
        self.folder.mkdir()
        self.configuration = folder / "mbsyncrc"
        self.configuration.write_text(
            CONFIGURATION.format(
                port=server.port("imap"), user=user.address, password=user.password, folder=self.folder
            )
        )

    def run(self) -> None:
        """Sync once."""
        command = ["mbsync", "--config", str(self.configuration), "--all"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def files(self) -> dict[Path, bytes]:
        """Every message here."""
        return {path: path.read_bytes() for path in self.folder.rglob("[cn][ue][rw]/*")}

    def messages(self, mailbox: str = "INBOX") -> dict[bytes, Path]:
        """Content, with LF line ends and without the line mbsync adds, to file."""
        found = {}
        for path in (self.folder / mailbox).glob("[cn][ue][rw]/*"):
            found[re.sub(rb"X-TUID: .{12}\n", b"", path.read_bytes())] = path
        return found


def with_line_feeds(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n")


@pytest.mark.timeout(120)
def test_maildir_and_mailboxes_are_kept_alike(
    mail_server: RunningServer, services: MailServices, user: MadeUser, tmp_path: Path
) -> None:
    raws = [message.build() for message in HOSTILE if message.name in NAMES]
    client = Raw(mail_server)
    for raw in raws:
        client.begin(user)
        client.send(b"DATA\r\n" + stuffed(raw))
        client.expect("354", "250 2.0.0")
    client.close()
    mbsync = Mbsync(mail_server, user, tmp_path)
    with StrictImap.signed_in(mail_server.port("imap"), user) as imap:
        imap.ok(b"CREATE R&APw-gen/&ZeVnLA-")
        assert imap.append(b"Subject: far away\r\n\r\n", b"R&APw-gen/&ZeVnLA-").kind == b"OK"
        imap.ok(b"SELECT INBOX")
        imap.ok(b"STORE 1 +FLAGS (\\Flagged)")
        sizes = [one.value[b"RFC822.SIZE"] for one in imap.ok(b"FETCH 1:* RFC822.SIZE")]

        mbsync.run()
        here = mbsync.messages()
        assert sorted(content.partition(b" +0000\n")[2] for content in here) == sorted(map(with_line_feeds, raws))
        assert sorted(len(content.replace(b"\n", b"\r\n")) for content in here) == sorted(sizes)
        assert [path for path in here.values() if path.name.endswith(",F")]
        assert list(mbsync.messages("R&APw-gen/&ZeVnLA-")) == [b"Subject: far away\n\n"]
        nothing_to_do(mbsync, services, user)

        flagged, deleted = sorted(here.values())[:2]
        flagged.rename(flagged.with_name(flagged.name.partition(":")[0] + ":2,FRS"))
        deleted.unlink()
        (mbsync.folder / "INBOX" / "new" / "1.mine").write_bytes(b"Subject: made here\n\nbody\n")
        mbsync.run()
        imap.ok(b"NOOP")
        found = imap.ok(b"FETCH 1:* (FLAGS BODY.PEEK[])")
        assert len(found) == len(raws)
        assert b"Subject: made here\r\n" in found[-1].value[b"BODY[]"]
        assert any({b"\\Answered", b"\\Seen", b"\\Flagged"} <= set(one.value[b"FLAGS"]) for one in found)
        nothing_to_do(mbsync, services, user)

        imap.ok(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
        imap.ok(b"EXPUNGE")
        imap.ok(b"STORE 1 +FLAGS.SILENT (\\Draft)")
        assert imap.append(b"Subject: made there\r\n\r\n").kind == b"OK"
        mbsync.run()
        here = mbsync.messages()
        assert b"Subject: made there\n\n" in here
        assert [path for path in here.values() if "D" in path.name.rpartition(",")[2]]
        assert len(here) == len(raws)
        nothing_to_do(mbsync, services, user)


def nothing_to_do(mbsync: Mbsync, services: MailServices, user: MadeUser) -> None:
    """One more run changes not one file here and not one document there."""
    there, here = stored(services, user), mbsync.files()
    mbsync.run()
    assert (stored(services, user), mbsync.files()) == (there, here)
