"""Debian's mbsync keeps a Maildir and a user's mailboxes alike, both ways, and then finds nothing to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailcore.model import flags
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser
from tests.hostile import HOSTILE
from tests.system.mail import KINDS, found, message, put
from tests.system.programs import needs, run
from tests.system.servers import RunningServer
from tests.system.stored import stored
from tests.system.strict_imap import StrictImap
from tests.system.test_lmtp import Raw, stuffed

pytestmark = needs("mbsync", "isync")
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
        run(["mbsync", "--config", self.configuration, "--all"], self.folder.parent)

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


@pytest.mark.timeout(240)
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
    now_there, now_here = stored(services, user), mbsync.files()
    assert {key for key, _ in there.items() ^ now_there.items()} == set()
    assert now_here == here


MANY = 2_000
FILE_FLAGS = {"F": flags.FLAGGED, "R": flags.ANSWERED, "S": flags.SEEN, "D": flags.DRAFT}
PLAIN = [number for number in range(2 * KINDS * MANY) if number % KINDS < 4]
"""Numbers of messages without attachments: this is about many."""


def files_by_subject(mbsync: Mbsync) -> dict[bytes, tuple[bytes, int]]:
    """Subject to content and flags of each file here."""
    here = {}
    for content, path in mbsync.messages().items():
        letters = path.name.rpartition(":2,")[2] if ":2," in path.name else ""
        here[subject_of(content)] = (content, sum(FILE_FLAGS[letter] for letter in letters))
    return here


def rows_by_subject(services: MailServices, user: MadeUser) -> dict[bytes, tuple[bytes, int]]:
    """The same of each message there, mbsync's line left out."""
    view = services.mailboxes.open(user.user_id, "INBOX")
    there = {}
    for row, raw in enumerate(found(services, user)):
        content = re.sub(rb"X-TUID: .{12}\n", b"", with_line_feeds(raw))
        there[subject_of(content)] = (content, int(view.flags[row]))
    assert len(there) == view.exists
    return there


def subject_of(content: bytes) -> bytes:
    match = re.search(rb"^Subject: (.*)$", content, re.MULTILINE)
    assert match
    return match[1]


@pytest.mark.timeout(240)
def test_thousands_of_messages_changed_on_both_sides(
    mail_server: RunningServer, services: MailServices, user: MadeUser, tmp_path: Path
) -> None:
    """2,000 messages; then 300 changes there and 300 here; both sides end as one would expect of each message."""
    raws = [message(number) for number in PLAIN[:MANY]]
    put(services, user, raws)
    mbsync = Mbsync(mail_server, user, tmp_path)
    mbsync.run()
    expected = {subject_of(with_line_feeds(raw)): (with_line_feeds(raw), 0) for raw in raws}
    assert files_by_subject(mbsync) == rows_by_subject(services, user) == expected
    subjects = list(expected)

    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    gone_there = range(0, 200, 2)
    services.messages.expunge(
        user.user_id, OPERATOR, inbox, UidSet.of([index + 1 for index in gone_there]), only_deleted=False
    )
    flagged_there = range(500, 600)
    uids = UidSet.of([index + 1 for index in flagged_there])
    services.messages.store(user.user_id, OPERATOR, inbox, uids, FlagOperation.ADD, FlagSet(flags.FLAGGED))
    new_there = [message(number) for number in PLAIN[MANY : MANY + 100]]
    put(services, user, new_there)

    paths = {subject_of(content): path for content, path in mbsync.messages().items()}
    gone_here, read_here = range(1, 200, 2), range(550, 650)
    for index in gone_here:
        paths[subjects[index]].unlink()
    for index in read_here:
        path = paths[subjects[index]]
        name = path.name.partition(":")[0] + ":2,RS"
        path.rename(path.parent.parent / "cur" / name)
    new_here = [message(number) for number in PLAIN[MANY + 100 : MANY + 200]]
    for number, raw in enumerate(new_here):
        (mbsync.folder / "INBOX" / "new" / f"{number}.mine").write_bytes(with_line_feeds(raw))

    for index in (*gone_there, *gone_here):
        del expected[subjects[index]]
    for index in flagged_there:
        expected[subjects[index]] = (expected[subjects[index]][0], flags.FLAGGED)
    for index in read_here:
        content, before = expected[subjects[index]]
        expected[subjects[index]] = (content, before | flags.ANSWERED | flags.SEEN)
    for raw in (*new_there, *new_here):
        expected[subject_of(with_line_feeds(raw))] = (with_line_feeds(raw), 0)

    mbsync.run()
    assert files_by_subject(mbsync) == expected
    assert rows_by_subject(services, user) == expected
    nothing_to_do(mbsync, services, user)
