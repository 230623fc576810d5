"""Imports: everything arrives with its flags and dates, and twice is once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mailcore import fault
from mailcore.errors import MailboxMoving, MailboxNameInvalid, OverQuota
from mailcore.model.flags import ANSWERED, FLAGGED, SEEN
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.keeping import imports as module
from mailcore.services.keeping.import_folders import find_mailboxes
from mailcore.services.keeping.imports import ImportResult
from mailcore.services.mailboxes.messages import Messages
from tests.builders import OPERATOR, make_user

TEXT = b"From: a@example.com\r\nMessage-ID: <%d@example.com>\r\nSubject: message %d\r\n\r\nbody %d\r\n"


def message(number: int) -> bytes:
    return TEXT % (number, number, number)


def maildir(path: Path, numbers: Sequence[int], flags: str = "S") -> Path:
    (path / "cur").mkdir(parents=True)
    for number in numbers:
        file = path / f"cur/{1000 + number}.host:2,{flags}"
        file.write_bytes(message(number))
        os.utime(file, (1_500_000_000 + number,) * 2)
    return path


def bring(services: MailServices, user_id: UserId, path: Path, target: str = "INBOX") -> ImportResult:
    return services.imports.run(OPERATOR, user_id, find_mailboxes(path), target)


def contents(services: MailServices, user_id: UserId, name: str) -> list[bytes]:
    view = services.mailboxes.open(user_id, name)
    oids = [oid.tobytes() for oid in view.message_oids]
    return [b"".join(content.read()) for content in services.content.open_many(user_id, oids)]


def test_everything_arrives_with_flags_dates_and_folders(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    root = maildir(tmp_path / "Maildir", range(5), "FRS")
    maildir(root / ".Sent", [10])
    maildir(root / ".Arbeit.Alt", [11], "a")
    (root / ".Arbeit.Alt/dovecot-keywords").write_text("0 $Label1\n")
    result = bring(services, user_id, root)
    assert (result.imported, result.present, result.failures) == (7, 0, ())
    assert set(result.mailboxes) == {"INBOX", "Sent Mail", "Arbeit/Alt"}
    inbox = services.mailboxes.open(user_id, "INBOX")
    assert contents(services, user_id, "INBOX") == [message(number) for number in range(5)]
    assert set(inbox.flags.tolist()) == {SEEN | ANSWERED | FLAGGED}
    assert inbox.internal_dates.tolist() == [1_500_000_000 + number for number in range(5)]
    assert inbox.unseen == 0
    work = services.mailboxes.open(user_id, "Arbeit/Alt")
    assert work.flag_names(int(work.flags[0])) == ("$Label1",)
    entry = services.mailboxes.find(user_id, "Arbeit/Alt")
    assert entry.subscribed


def test_twice_is_once(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    root = maildir(tmp_path / "Maildir", range(150))
    assert bring(services, user_id, root).imported == 150
    assert bring(services, user_id, root) == ImportResult(present=150, mailboxes=("INBOX",))
    maildir(tmp_path / "more", [3, 149, 200])
    again = bring(services, user_id, tmp_path / "more")
    assert (again.imported, again.present) == (1, 2)
    assert services.mailboxes.open(user_id, "INBOX").exists == 151


def test_without_the_ids_of_the_content_twice_would_be_twice(
    services: MailServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: ids by chance."""
    monkeypatch.setattr(module, "_candidates", lambda target, raw: (os.urandom(12),))
    user_id = make_user(services).user_id
    root = maildir(tmp_path / "Maildir", range(3))
    bring(services, user_id, root)
    bring(services, user_id, root)
    assert services.mailboxes.open(user_id, "INBOX").exists == 6


def test_copies_of_one_message_in_the_source_all_arrive_once(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    root = tmp_path / "Maildir"
    (root / "cur").mkdir(parents=True)
    for number in range(20):
        (root / f"cur/{number}:2,").write_bytes(message(1))
    assert bring(services, user_id, root).imported == 20
    again = bring(services, user_id, root)
    assert again.present == module.SAME_MESSAGE  # beyond that copies cannot be told apart
    few = maildir(tmp_path / "few", [7])
    (few / "cur/again:2,").write_bytes(message(7))
    (few / "cur/third:2,").write_bytes(message(7))
    assert bring(services, user_id, few).imported == 3
    assert bring(services, user_id, few).present == 3


class Killed(BaseException):
    """The process ends here."""


def test_an_import_cut_off_between_store_and_commit_goes_on(services: MailServices, tmp_path: Path) -> None:
    """What an attempt left without a row is garbage: it is stored again under the next id, and seen once."""
    user_id = make_user(services).user_id
    root = maildir(tmp_path / "Maildir", range(200))
    passed = 0

    def kill_at_second_batch() -> None:
        nonlocal passed
        passed += 1
        if passed == 2:
            raise Killed

    fault.install({"delivery.after_message": kill_at_second_batch})
    try:
        with pytest.raises(Killed):
            bring(services, user_id, root)
    finally:
        fault.install({})
    assert services.mailboxes.open(user_id, "INBOX").exists == 64
    result = bring(services, user_id, root)
    assert (result.imported, result.present) == (136, 64)
    assert contents(services, user_id, "INBOX") == [message(number) for number in range(200)]
    assert bring(services, user_id, root).present == 200


def test_an_expunged_message_is_brought_again(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    root = maildir(tmp_path / "Maildir", range(3))
    bring(services, user_id, root)
    view = services.mailboxes.open(user_id, "INBOX")
    services.messages.expunge(user_id, OPERATOR, view.mailbox_id, UidSet.of([int(view.uids[1])]), only_deleted=False)
    again = bring(services, user_id, root)
    assert (again.imported, again.present) == (1, 2)
    assert contents(services, user_id, "INBOX") == [message(0), message(2), message(1)]


def test_a_full_quota_stops_between_batches(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services, quota_bytes=64 * 90 + 10).user_id
    root = maildir(tmp_path / "Maildir", range(130))
    with pytest.raises(OverQuota):
        bring(services, user_id, root)
    assert services.mailboxes.open(user_id, "INBOX").exists == 64
    services.users.set_quota(OPERATOR, user_id, None)
    assert bring(services, user_id, root).imported == 66


def test_more_keywords_than_fit_are_dropped_and_counted(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    mbox = tmp_path / "mail"
    mbox.write_bytes(
        b"".join(b"From x\nSubject: %d\nX-Keywords: k%d\n\nbody\n\n" % (number, number) for number in range(60))
    )
    result = bring(services, user_id, mbox)
    assert (result.imported, result.keywords_dropped, result.failures) == (60, 60, ())


def test_a_user_who_is_being_moved_is_waited_for(
    services: MailServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = make_user(services).user_id
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    real = Messages.commit_rows
    calls = 0

    def moving(self: Messages, user: UserId, mailbox: MailboxId, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise MailboxMoving(mailbox)
        return real(self, user, mailbox, *arguments, **options)

    monkeypatch.setattr(Messages, "commit_rows", moving)
    assert bring(services, user_id, maildir(tmp_path / "Maildir", range(3))).imported == 3
    assert calls == 4
    assert contents(services, user_id, "INBOX") == [message(number) for number in range(3)]


def test_names_of_folders_become_names_of_mailboxes(services: MailServices, tmp_path: Path) -> None:
    """Whatever a folder is called, it is a mailbox of this user and nothing else."""
    user_id = make_user(services).user_id
    root = maildir(tmp_path / "Maildir", [0])
    for number, name in enumerate([".&ACU-", ".~root", ".#shared", ".a*b", "....", ".x&AC8-y", ".inbox", ".b\x01c"]):
        maildir(root / name, [number])
    result = bring(services, user_id, root, "Old/Mail")
    assert set(result.mailboxes) == {
        "Old/Mail", "Old/Mail/%", "Old/Mail/~root", "Old/Mail/#shared", "Old/Mail/a*b", "Old/Mail/x_y",
        "Old/Mail/inbox", "Old/Mail/b_c",
    }  # fmt: skip
    assert result.failures == ()
    with pytest.raises(MailboxNameInvalid):
        bring(services, user_id, root, "a//b")


def test_a_folder_that_no_mailbox_can_be_named_after_does_not_stop_the_rest(
    services: MailServices, tmp_path: Path
) -> None:
    user_id = make_user(services).user_id
    root = maildir(tmp_path / "Maildir", [0])
    maildir(root / "Shared/bob@example.com/INBOX", [1])
    maildir(root.joinpath(*["d"] * 32), [2])
    maildir(root / "Work", [3])
    result = bring(services, user_id, root, "Old")
    assert (result.imported, set(result.mailboxes)) == (3, {"Old", "Old/Work", "Old/Shared/bob@example.com/INBOX"})
    assert [failure.reason for failure in result.failures] == ["no mailbox can have this name (depth)"]
    beside = bring(services, user_id, root)
    assert (set(beside.mailboxes), len(beside.failures)) == ({"INBOX", "Work", "/".join(["d"] * 32)}, 1)


def test_an_endless_keyword_does_not_stop_the_rest(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    (tmp_path / "mbox").write_bytes(b"From x\nX-Keywords: " + b"k" * 5000 + b" fine\n" + message(1) + b"\n")
    result = bring(services, user_id, tmp_path)
    assert (result.imported, result.failures) == (1, ())
    assert services.mailboxes.open(user_id, "mbox").keywords == ("fine",)


def test_large_and_broken_files_do_not_stop_the_rest(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    (tmp_path / "a.eml").write_bytes(message(1))
    (tmp_path / "b.eml").write_bytes(b"")
    (tmp_path / "c.eml").write_bytes(b"\x00\xff" * 1000)
    (tmp_path / "d.eml").write_bytes(b"Subject: attachment\r\n\r\n" + os.urandom(3 << 20))
    with (tmp_path / "e.eml").open("wb") as sparse:
        sparse.truncate(services.settings.limits.message_bytes + 1)
    result = bring(services, user_id, tmp_path)
    assert result.imported == 2
    assert [Path(failure.name).name for failure in result.failures] == ["b.eml", "c.eml", "e.eml"]
    stored = contents(services, user_id, "INBOX")
    assert stored == [(tmp_path / name).read_bytes() for name in ("a.eml", "d.eml")]


def test_folders_without_mail_become_no_mailboxes(services: MailServices, tmp_path: Path) -> None:
    user_id = make_user(services).user_id
    (tmp_path / "Licences").mkdir()
    (tmp_path / "Licences/x.txt").write_text("no mail")
    (tmp_path / "Mail").mkdir()
    (tmp_path / "Mail/a.eml").write_bytes(message(1))
    (tmp_path / "Empty/cur").mkdir(parents=True)
    assert bring(services, user_id, tmp_path, "Old").mailboxes == ("Old/Empty", "Old/Mail")
