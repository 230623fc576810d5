"""Mail in files: what is found, under which names, with which flags and dates, byte for byte."""

from __future__ import annotations

import errno
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from mailcore.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mailcore.services.keeping.import_folders import SourceUnreadable, find_mailboxes
from mailcore.services.keeping.import_sources import SourceMailbox, SourceMessage, crlf, is_keyword

LIMIT = 1 << 20
MESSAGE = b"From: a@example.com\r\nSubject: one\r\n\r\nbody\r\n"


def read(mailbox: SourceMailbox, limit: int = LIMIT) -> list[SourceMessage]:
    return [message for message, _ in mailbox.messages(limit)]


def by_path(path: Path) -> dict[tuple[str, ...], SourceMailbox]:
    return {mailbox.path: mailbox for mailbox in find_mailboxes(path)}


def put(path: Path, content: bytes = MESSAGE, mtime: int = 1_500_000_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


# -- Maildir ------------------------------------------------------------------------------------


def test_maildir_flags_keywords_and_dates(tmp_path: Path) -> None:
    put(tmp_path / "new/1.a.host")
    put(tmp_path / "cur/2.b.host:2,DFPRSTab", mtime=1_600_000_000)
    put(tmp_path / "cur/3.c.host:2,z")
    put(tmp_path / "cur/4.d.host;2,S")
    (tmp_path / "tmp").mkdir()
    put(tmp_path / "tmp/9.unfinished")
    (tmp_path / "dovecot-keywords").write_text("0 $Label1\n1 Projekt-X\n2 bad name\nx y\n")
    (mailbox,) = find_mailboxes(tmp_path)
    found = {Path(message.name).name.split(".")[0]: message for message in read(mailbox)}
    assert sorted(found) == ["1", "2", "3", "4"]
    assert found["1"].flags.system == 0
    assert found["1"].internal_date == 1_500_000_000
    assert found["2"].flags.system == DRAFT | FLAGGED | ANSWERED | SEEN | DELETED
    assert found["2"].flags.keywords == ("$Forwarded", "$Label1", "Projekt-X")
    assert found["2"].internal_date == 1_600_000_000
    assert found["3"].flags.keywords == ()
    assert found["4"].flags.system == SEEN
    assert all(message.raw == MESSAGE for message in found.values())


def test_maildir_subfolders_of_both_layouts_in_any_script(tmp_path: Path) -> None:
    put(tmp_path / "cur/1:2,")
    put(tmp_path / ".Work.Old/cur/1:2,")
    put(tmp_path / ".Entw&APw-rfe/new/1")
    put(tmp_path / ".R&-D/new/1")
    put(tmp_path / ".日本/new/1")
    put(tmp_path / ".&AAA/new/1")
    put(tmp_path / "Nested/Inner/cur/1:2,")
    (tmp_path / "Nested/cur").mkdir()
    (tmp_path / ".Empty/cur").mkdir(parents=True)
    (tmp_path / "not-mail").mkdir()
    (tmp_path / ".loop").symlink_to(tmp_path)
    paths = by_path(tmp_path)
    assert set(paths) == {
        (), ("Work", "Old"), ("Entwürfe",), ("R&D",), ("日本",), ("&AAA",), ("Nested",), ("Nested", "Inner"), ("Empty",)
    }  # fmt: skip
    assert all(len(read(mailbox)) == 1 for path, mailbox in paths.items() if path not in {("Empty",), ("Nested",)})


# -- mbox ---------------------------------------------------------------------------------------

MBOX = b"""From alice@example.com Mon Jan  2 03:04:05 2017
From: alice@example.com
Subject: first
Status: RO
X-Status: AF
X-Keywords: $Label1, work (bad)

Hello,
>From here it is quoted.
>>From here twice.
From the middle of a paragraph.

From now on nothing begins: no header follows.

From - Tue Jul 14 02:40:00 2020 +0200
X-Mozilla-Status: 0005
Subject: second
Received: by x; Wed, 1 Jan 2020 00:00:00 +0000

two

From x
Date: Thu, 2 Jan 2020 00:00:00 +0000
Subject: third

three
"""


def test_mbox_is_split_at_separators_only(tmp_path: Path) -> None:
    (mailbox,) = find_mailboxes(put(tmp_path / "mail", MBOX))
    first, second, third = read(mailbox)
    assert first.raw.startswith(b"From: alice@example.com\r\n")
    assert b"\r\nFrom here it is quoted.\r\n>From here twice.\r\nFrom the middle" in first.raw
    assert first.raw.endswith(b"no header follows.\r\n")
    assert (first.flags.system, first.flags.keywords) == (SEEN | ANSWERED | FLAGGED, ("$Label1", "work"))
    assert first.internal_date == 1483326245
    assert second.raw.endswith(b"\r\n\r\ntwo\r\n")
    assert (second.flags.system, second.internal_date) == (SEEN | FLAGGED, 1594687200)
    assert third.raw == b"Date: Thu, 2 Jan 2020 00:00:00 +0000\r\nSubject: third\r\n\r\nthree\r\n"
    assert (third.flags.system, third.internal_date) == (0, 1577923200)
    assert [message.name.rpartition(" ")[2] for message in (first, second, third)] == ["1", "2", "3"]


def test_mbox_with_crlf_and_without_last_newline(tmp_path: Path) -> None:
    content = MBOX.replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    (mailbox,) = find_mailboxes(put(tmp_path / "mail", content))
    messages = read(mailbox)
    assert [message.raw.count(b"\n") for message in messages[:2]] == [12, 5]
    assert messages[2].raw.endswith(b"\r\n\r\nthree")


def test_a_message_too_large_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    large = b"From x Mon Jan  2 03:04:05 2017\nSubject: large\n\n" + b"x" * 5000 + b"\n\n"
    (mailbox,) = find_mailboxes(put(tmp_path / "mail", large + MBOX))
    messages = read(mailbox, limit=2000)
    assert [message.failure is None for message in messages] == [False, True, True, True]
    assert messages[0].name.endswith("mail message 1")
    assert "larger" in (messages[0].failure or "")


def test_progress_of_an_mbox_ends_at_its_size(tmp_path: Path) -> None:
    (mailbox,) = find_mailboxes(put(tmp_path / "mail", MBOX))
    assert sum(read_bytes for _, read_bytes in mailbox.messages(LIMIT)) == len(MBOX) == mailbox.size_bytes


# -- folders and single files -------------------------------------------------------------------


def test_folder_of_eml_files(tmp_path: Path) -> None:
    put(tmp_path / "b.eml", MESSAGE)
    put(tmp_path / "a.EML", b"Received: by x; Wed, 1 Jan 2020 00:00:00 +0000\r\nDate: x\r\n\r\n")
    put(tmp_path / "Projekte/c.eml", b"Date: Thu, 2 Jan 2020 00:00:00 +0000\n\nlf\n")
    put(tmp_path / "Archive.mbox", MBOX)
    put(tmp_path / "readme.txt", b"no mail")
    paths = by_path(tmp_path)
    assert set(paths) == {(), ("Projekte",), ("Archive",)}
    a, b = read(paths[()])
    assert (a.internal_date, b.internal_date, b.raw) == (1577836800, 1_500_000_000, MESSAGE)
    (c,) = read(paths["Projekte",])
    assert (c.raw, c.internal_date) == (b"Date: Thu, 2 Jan 2020 00:00:00 +0000\r\n\r\nlf\r\n", 1577923200)
    assert len(read(paths["Archive",])) == 3
    (single,) = find_mailboxes(tmp_path / "b.eml")
    assert [message.raw for message in read(single)] == [MESSAGE]


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    put(tmp_path / "empty.eml", b"\r\n")
    put(tmp_path / "large.eml", b"x" * 100)
    put(tmp_path / "good.eml")
    os.mkfifo(tmp_path / "pipe")
    (mailbox,) = find_mailboxes(tmp_path)
    (tmp_path / "gone.eml").write_bytes(b"x")
    mailbox = find_mailboxes(tmp_path)[0]
    (tmp_path / "gone.eml").unlink()
    failures = {Path(message.name).name: message.failure for message in read(mailbox, limit=99)}
    assert failures["good.eml"] is None
    assert failures["empty.eml"] == "empty"
    assert "larger than 99" in (failures["large.eml"] or "")
    assert failures["gone.eml"] == "No such file or directory"


def others(path: Path) -> dict[str, tuple[str, bool]]:
    """What is said of what is not brought over, by its name."""
    found = [other for mailbox in find_mailboxes(path) for other in mailbox.others]
    return {str(Path(other.name).relative_to(path)): (other.reason, other.is_fault) for other in found}


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    """Nothing is left behind in silence: neither in folders nor in Maildirs, nor beside them."""
    put(tmp_path / "good.eml")
    put(tmp_path / "letter.txt")
    put(tmp_path / "Maildir/cur/1:2,S")
    put(tmp_path / "Maildir/dovecot.index")
    put(tmp_path / "Maildir/dovecot-keywords")
    put(tmp_path / "Maildir/archive/Old/cur/2:2,S")
    put(tmp_path / "Maildir/cur/sub/3:2,S")
    os.mkfifo(tmp_path / "Maildir/cur/4:2,S")
    assert others(tmp_path) == {
        "letter.txt": ("no mail that we know to read", False),
        "Maildir/dovecot.index": ("no mail that we know to read", False),
        "Maildir/cur/sub": ("a folder among messages", False),
        "Maildir/cur/4:2,S": ("not a regular file", False),
    }
    assert len(read(by_path(tmp_path)["Maildir", "archive", "Old"])) == 1


def test_links_lead_to_no_file_of_ours(tmp_path: Path) -> None:
    """Who gives mail to be imported reads nothing by it: a file of settings also begins with a name and a colon."""
    secret = put(tmp_path / "etc/eider.yaml", b"sealing_key: 00ff\n")
    root = tmp_path / "given"
    put(root / "cur/1:2,S")
    (root / "cur/2:2,S").symlink_to(secret)
    (root / ".Etc").mkdir()
    (root / ".Etc/cur").symlink_to(secret.parent)
    (root / "dovecot-keywords").symlink_to("/dev/zero")
    put(root / "plain/good.eml")
    (root / "plain/bad.eml").symlink_to(secret)
    assert b"sealing_key" not in b"".join(message.raw for mailbox in find_mailboxes(root) for message in read(mailbox))
    assert {reason for reason, _ in others(root).values()} == {"a link, which is not followed"}


def test_an_eml_that_is_a_pipe_is_waited_for_by_nobody(tmp_path: Path) -> None:
    put(tmp_path / "good.eml")
    os.mkfifo(tmp_path / "pipe.eml")
    (mailbox,) = find_mailboxes(tmp_path)
    assert [Path(message.name).name for message in read(mailbox)] == ["good.eml"]
    late = put(tmp_path / "late.eml")
    mailbox = find_mailboxes(tmp_path)[0]
    late.unlink()
    os.mkfifo(late)
    assert [message.failure for message in read(mailbox)] == [None, "not a regular file"]


def test_what_cannot_be_looked_at_is_a_fault_and_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An mbox, or a whole folder, that the operator may not read; the rest is read."""
    put(tmp_path / "good.eml")
    put(tmp_path / "locked", MBOX)
    put(tmp_path / "closed/a.eml")

    def refuse(of: str, name: str) -> None:
        allowed = getattr(Path, of)

        def checked(self: Path, *arguments: Any, **named: Any) -> Any:
            if self.name == name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return allowed(self, *arguments, **named)

        monkeypatch.setattr(Path, of, checked)

    refuse("open", "locked")  # who runs the tests may be root, whom no mode keeps out
    refuse("iterdir", "closed")
    assert others(tmp_path) == dict.fromkeys(("locked", "closed"), ("Permission denied", True))
    with pytest.raises(SourceUnreadable, match="closed: Permission denied"):
        find_mailboxes(tmp_path / "closed")


def test_folders_below_folders_end(tmp_path: Path) -> None:
    put(tmp_path / "good.eml")
    deep = tmp_path.joinpath(*["d"] * 120)
    put(deep / "a.eml")
    assert [reason for reason, _ in others(tmp_path).values()] == [("below 32 folders")]


def test_what_is_no_mail_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    put(tmp_path / "binary.eml", Path(sys.executable).read_bytes()[:100_000])
    put(tmp_path / "photo.eml", b"\xff\xd8\xff\xe0\0\x10JFIF\0\r\n\r\n")
    put(tmp_path / "words.eml", b"Dear all,\n\nno header\n")
    put(tmp_path / "nul.eml", b"Subject: a\0b\n\nx\n")
    put(tmp_path / "good.eml")
    put(tmp_path / "late.eml", b"\r\n" + MESSAGE)
    put(tmp_path / "unix.eml", b"From a@example.org Thu Jan  2 00:00:00 2020\n" + MESSAGE)
    failures = {Path(message.name).name: message.failure for message in read(find_mailboxes(tmp_path)[0])}
    assert {name for name, failure in failures.items() if failure} == {
        "binary.eml", "photo.eml", "words.eml", "nul.eml",
    }  # fmt: skip
    assert failures["words.eml"] == "no mail: it does not begin with a header field"


def test_what_holds_no_mail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="does not exist"):
        find_mailboxes(tmp_path / "nothing")
    with pytest.raises(SourceUnreadable, match="holds no mail"):
        find_mailboxes(tmp_path)


def test_lines_become_crlf_only_where_they_were_lf() -> None:
    assert crlf(b"a\nb\r\nc\n") == b"a\r\nb\r\nc\r\n"
    assert crlf(b"a\r\nb\nc\r\n") == b"a\r\nb\nc\r\n"
    assert crlf(b"no line") == b"no line"
    assert crlf(b"\nbody\n") == b"\r\nbody\r\n"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("$Label1", True),
        ("k" * 255, True),
        ("k" * 256, False),
        ("a]", False),
        ("\\Seen", False),
        ("", False),
        ("ü", False),
        ("a b", False),
    ],
)
def test_keywords_are_atoms(name: str, is_one: bool) -> None:
    assert is_keyword(name) is is_one


def test_an_mbox_of_any_size_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """Counted in bytes held at once: of 40 MB never more than a few of its messages."""
    file = tmp_path / "mail"
    with file.open("wb") as stream:
        for number in range(400):
            stream.write(b"From x\nSubject: %d\n\n" % number + b"x" * 99 + b"\n" * 2 + b"y" * 100_000 + b"\n\n")
    tracemalloc.start()
    try:
        count = sum(1 for mailbox in find_mailboxes(file) for _ in mailbox.messages(LIMIT))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 400
    assert peak < 3_000_000


def test_an_mbox_line_without_end_is_read_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "mail"
    with file.open("wb") as stream:
        stream.write(b"From x\nSubject: endless\n\n")
        stream.truncate(50_000_000)
        stream.seek(50_000_000)
        stream.write(b"\n\nFrom x\nSubject: next\n\nbody\n")
    tracemalloc.start()
    try:
        (mailbox,) = find_mailboxes(file)
        first, second = read(mailbox)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first.failure is not None
    assert second.raw == b"Subject: next\r\n\r\nbody\r\n"
    assert peak < 10_000_000
