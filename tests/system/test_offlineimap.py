"""offlineimap3 keeps a Maildir and a user's mailboxes alike, both ways, compared message by message."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailcore.model import flags
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser
from tests.system.mail import found, in_maildir, messages, put, with_line_feeds
from tests.system.programs import needs, run
from tests.system.servers import RunningServer

pytestmark = needs("offlineimap", "offlineimap3")
CONFIGURATION = """
[general]
accounts = server
metadata = {home}/metadata
ui = basic
[Account server]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {home}/mail
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = no
starttls = no
auth_mechanisms = PLAIN
"""


class OfflineImap:
    """One user's configuration and Maildir."""

    def __init__(self, server: RunningServer, user: MadeUser, home: Path) -> None:
        self.home = home
        self.configuration = home / "offlineimaprc"
        self.configuration.write_text(
            CONFIGURATION.format(home=home, port=server.port("imap"), user=user.address, password=user.password)
        )

    def sync(self) -> None:
        """Sync every mailbox once."""
        run(["offlineimap", "-c", self.configuration, "-o"], self.home)

    def folder(self, mailbox: str = "INBOX") -> Path:
        return self.home / "mail" / mailbox

    def file_of(self, raw: bytes) -> Path:
        (path,) = [path for path in self.folder().glob("[cn][ue][rw]/*") if path.read_bytes() == raw]
        return path


def alike(offlineimap: OfflineImap, services: MailServices, user: MadeUser, mailbox: str = "INBOX") -> list[bytes]:
    """The messages of a mailbox, the same on both sides."""
    there = with_line_feeds(found(services, user, mailbox))
    assert in_maildir(offlineimap.folder(mailbox)) == there
    return there


@pytest.mark.timeout(180)
def test_maildir_and_mailboxes_are_kept_alike(
    mail_server: RunningServer, services: MailServices, user: MadeUser, tmp_path: Path
) -> None:
    raws = messages(0, 60)
    put(services, user, raws)
    put(services, user, messages(100, 5), "Archive", FlagSet(flags.SEEN))
    offlineimap = OfflineImap(mail_server, user, tmp_path)
    offlineimap.sync()
    assert alike(offlineimap, services, user) == with_line_feeds(raws)
    assert alike(offlineimap, services, user, "Archive") == with_line_feeds(messages(100, 5))
    assert all(path.name.endswith(",S") for path in offlineimap.folder("Archive").glob("cur/*"))

    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.expunge(user.user_id, OPERATOR, inbox, UidSet.of([3, 5]), only_deleted=False)
    services.messages.store(user.user_id, OPERATOR, inbox, UidSet.of([1]), FlagOperation.ADD, FlagSet(flags.FLAGGED))
    put(services, user, messages(60, 4))
    read, gone = (offlineimap.file_of(raw.replace(b"\r\n", b"\n")) for raw in raws[10:12])
    cur = offlineimap.folder() / "cur"
    read.rename(cur / (read.name.partition(":")[0] + ":2,RS"))
    gone.unlink()
    (cur / "1.mine:2,S").write_bytes(messages(90, 1)[0].replace(b"\r\n", b"\n"))
    offlineimap.sync()
    expected = [*raws[:2], raws[3], *raws[5:11], *raws[12:], *messages(60, 4)]
    here = alike(offlineimap, services, user)
    mine = [raw for raw in here if b"Subject: message 90\n" in raw]
    assert sorted([*with_line_feeds(expected), *mine]) == here
    assert len(mine) == 1
    view = services.mailboxes.open(user.user_id, "INBOX")
    assert view.flag_names(int(view.flags[view.row_of(11)])) == ("\\Seen", "\\Answered")
    assert offlineimap.file_of(raws[0].replace(b"\r\n", b"\n")).name.endswith(",F")
    before = {path: path.stat().st_mtime_ns for path in offlineimap.home.glob("mail/**/*") if path.is_file()}
    modseq = view.highest_modseq
    offlineimap.sync()
    assert {path: path.stat().st_mtime_ns for path in offlineimap.home.glob("mail/**/*") if path.is_file()} == before
    assert services.mailboxes.open(user.user_id, "INBOX").highest_modseq == modseq, "nothing was left to do"
