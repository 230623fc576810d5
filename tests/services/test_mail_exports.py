"""All mail of a user as one file: whole and byte for byte, however often its making or its fetching is cut off."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from mailcore import fault
from mailcore.errors import FileNotFound, RateExceeded, StoreDamaged, StoreUnavailable
from mailcore.model.ids import UserId
from mailcore.model.mail_export import KEPT_FOR, ExportState, MailExport
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.keeping import mail_archive, mail_exports
from mailcore.services.keeping.mail_archive import MailArchive, Stretch
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.process.clock import now
from mailcore.store.user.export_pieces import ExportPieces
from tests.builders import OPERATOR, MadeUser, make_user
from tests.store.test_delivery import deliver, message

LARGE = message(os.urandom(150_000))
FOLDERS = ("Größe/Übersicht", "Work", "work", "a:b", "x" * 150)


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    """Somebody with mail of all sizes in several mailboxes, one message twice in one of them."""
    made = make_user(services)
    for number in range(6):
        deliver(services, message(os.urandom(500 + 100 * number), f"number {number}"), made)
    deliver(services, LARGE, made)
    inbox = services.mailboxes.find(made.user_id, "INBOX").id
    for name in FOLDERS:
        services.mailboxes.create(made.user_id, OPERATOR, name)
        services.messages.copy(made.user_id, OPERATOR, inbox, UidSet(((2, 3),)), name)
        services.messages.copy(made.user_id, OPERATOR, inbox, UidSet(((2, 2),)), name)
    return made


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that a small mailbox has many."""
    monkeypatch.setattr(mail_archive, "PIECE_BYTES", 10_000)
    yield
    fault.install({})


def stored(services: MailServices, user_id: UserId) -> list[bytes]:
    """Every message of every mailbox, once for each row."""
    found: list[bytes] = []
    for entry in services.mailboxes.tree(user_id).entries:
        view = services.mailboxes.refresh(user_id, entry.id)
        oids = [bytes(view.message_oid(row)) for row in range(view.exists)]
        found += [b"".join(services.content.open(user_id, oid).read()) for oid in oids]
    return found


def made(services: MailServices, user_id: UserId) -> MailExport:
    services.mail_exports.ask(OPERATOR, user_id)
    services.mail_exports.make_due()
    return services.mail_exports.get(user_id)


def fetched(services: MailServices, user_id: UserId, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(services.mail_exports.fetch(OPERATOR, user_id, start, end))


def files(data: bytes) -> dict[str, bytes]:
    """What a program that knows tar finds, in order; a name that is there twice would be lost on a disk."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        assert len(found) == len(archive.getmembers())
        assert len({name.casefold() for name in found}) == len(found)
        return {name: file.read() for name, file in found.items() if file is not None}


def test_every_message_is_there_byte_for_byte(services: MailServices, user: MadeUser) -> None:
    export = made(services, user.user_id)
    data = fetched(services, user.user_id)
    assert len(data) == export.size_bytes
    found = files(data)
    about = json.loads(found.pop("account.json"))
    assert {record["type"] for record in about} == {"user"}
    assert about[0]["address"] == user.address
    assert list(found.values()) == stored(services, user.user_id)
    assert (export.state, export.messages, export.damaged, export.percent) == (ExportState.READY, len(found), 0, 100)
    assert {"Größe/Übersicht/1.eml", "Work/1.eml", "work (2)/1.eml", "a_b/1.eml"} <= found.keys()


def test_any_range_is_that_part_of_the_file(services: MailServices, user: MadeUser) -> None:
    """So that a download that broke off can go on (RFC 9110 §14)."""
    size = made(services, user.user_id).size_bytes
    whole = fetched(services, user.user_id)
    numbers = random.Random(7)
    for _ in range(40):
        start = numbers.randrange(size)
        end = numbers.randrange(start + 1, size + 1)
        assert fetched(services, user.user_id, start, end) == whole[start:end]
    assert fetched(services, user.user_id, size - 1) == whole[-1:]


class Died(BaseException):
    """The process was killed here."""


def killed_after(count: int) -> None:
    left = iter(range(count))

    def die() -> None:
        if next(left, None) is None:
            raise Died

    fault.install({"mail_export.after_piece": die})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker holds is due again the next moment, as after its lease."""
    monkeypatch.setattr(mail_exports, "LEASE_S", 0)


def test_a_worker_that_is_killed_again_and_again_finishes_the_same_file(
    services: MailServices, user: MadeUser, at_once: None
) -> None:
    expected = list(services.mail_archive.whole(user.user_id))
    services.mail_exports.ask(OPERATOR, user.user_id)
    deaths = 0
    while services.mail_exports.get(user.user_id).state is not ExportState.READY:
        killed_after(1 + deaths % 3)  # the large message is two pieces, and only behind it is a place noted
        try:
            services.mail_exports.make_due()
        except Died:
            deaths += 1
        assert deaths < 200
    assert deaths > 3
    assert fetched(services, user.user_id) == b"".join(expected)


def test_what_is_written_is_not_written_again(
    services: MailServices, user: MadeUser, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(8)
    with pytest.raises(Died):
        made(services, user.user_id)
    fault.install({})
    before = services.mail_exports.get(user.user_id)
    assert 0 < before.percent < 100
    offsets: list[int] = []
    real = ExportPieces.put

    def noting(self: ExportPieces, *arguments: object) -> bool:
        offsets.append(arguments[1])  # type: ignore[arg-type]
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ExportPieces, "put", noting)
    services.mail_exports.make_due()
    assert min(offsets) == before.size_bytes > 0


def cut_short(services: MailServices, user: MadeUser) -> list[bytes]:
    """The messages in a file whose making was cut off once."""
    killed_after(5)
    with pytest.raises(Died):
        made(services, user.user_id)
    fault.install({})
    services.mail_exports.make_due()
    return list(files(fetched(services, user.user_id)).values())[1:]


def test_control_a_place_that_is_forgotten_is_seen(
    services: MailServices, user: MadeUser, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cut_short(services, user) == stored(services, user.user_id)
    services.mail_exports.delete(OPERATOR, user.user_id)
    real = MailArchive.read

    def one_too_far(self: MailArchive, user_id: UserId, mailboxes: object, after: object) -> Iterator[Stretch]:
        stretches = real(self, user_id, mailboxes, after)  # type: ignore[arg-type]
        if after != mail_archive.BEGIN:
            next(stretches)
        return stretches

    monkeypatch.setattr(MailArchive, "read", one_too_far)
    assert cut_short(services, user) != stored(services, user.user_id)


def test_a_worker_that_was_believed_dead_changes_nothing_any_more(
    services: MailServices, user: MadeUser, at_once: None
) -> None:
    """It stands still after a piece; another goes on; then it wakes up."""
    expected = b"".join(services.mail_archive.whole(user.user_id))
    done: list[bytes] = []

    def another_works() -> None:
        fault.install({})
        services.mail_exports.make_due()
        done.append(fetched(services, user.user_id))

    services.mail_exports.ask(OPERATOR, user.user_id)
    fault.install({"mail_export.after_piece": another_works})
    services.mail_exports.make_due()
    if services.mail_exports.get(user.user_id).state is not ExportState.READY:
        services.mail_exports.make_due()
    assert fetched(services, user.user_id) == expected
    assert all(data == expected for data in done)


def woken_too_late(services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker stands still between two pieces beyond its lease; another, who cuts elsewhere, writes all of it."""
    real = ExportPieces.put

    def put_late(self: ExportPieces, export: MailExport, offset: int, *more: Any) -> bool:
        if offset > export.size_bytes and mail_archive.PIECE_BYTES == 10_000:  # a piece is stored and not noted
            monkeypatch.setattr(mail_archive, "PIECE_BYTES", 1 << 20)
            services.mail_exports.make_due()
            assert services.mail_exports.get(user.user_id).state is ExportState.READY
        return real(self, export, offset, *more)

    monkeypatch.setattr(ExportPieces, "put", put_late)
    services.mail_exports.ask(OPERATOR, user.user_id)
    services.mail_exports.make_due()


def test_what_a_worker_stored_too_late_is_taken_back(
    services: MailServices, user: MadeUser, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = b"".join(services.mail_archive.whole(user.user_id))
    woken_too_late(services, user, monkeypatch)
    assert fetched(services, user.user_id) == expected


def test_control_what_is_stored_too_late_and_left_spoils_the_file(
    services: MailServices, user: MadeUser, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExportPieces, "take_back", lambda *_: None)
    woken_too_late(services, user, monkeypatch)
    with pytest.raises(StoreDamaged):
        fetched(services, user.user_id)


def test_an_ask_that_fails_leaves_the_file_before(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = made(services, user.user_id)
    whole = fetched(services, user.user_id)

    def away(*_: object) -> bool:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(type(services.placement.directory.mail_exports), "begin", away)
        with pytest.raises(StoreUnavailable):
            services.mail_exports.ask(OPERATOR, user.user_id)
    assert services.mail_exports.get(user.user_id).id == export.id
    assert fetched(services, user.user_id) == whole


def test_so_many_may_be_asked_for_within_a_day(services: MailServices, user: MadeUser) -> None:
    """Asking again for what is being made is free; deleting it makes no room for another."""
    for _ in range(services.settings.limits.exports_per_day):
        services.mail_exports.ask(OPERATOR, user.user_id)
        services.mail_exports.ask(OPERATOR, user.user_id)
        services.mail_exports.delete(OPERATOR, user.user_id)
    with pytest.raises(RateExceeded):
        services.mail_exports.ask(OPERATOR, user.user_id)
    assert services.mail_exports.find(user.user_id) is None


def test_a_cold_set_that_is_away_makes_it_wait(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> bool:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(mail_exports, "AGAIN", timedelta(0))
    monkeypatch.setattr(mail_exports, "MOST_TRIES", 3)
    with monkeypatch.context() as patch:
        patch.setattr(ExportPieces, "put", away)
        services.mail_exports.ask(OPERATOR, user.user_id)
        services.mail_exports.make_due()
        assert services.mail_exports.get(user.user_id).state is ExportState.FAILED, "after three tries, not for ever"
    assert made(services, user.user_id).state is ExportState.READY


def test_mail_that_comes_or_goes_meanwhile_is_left_out(services: MailServices, user: MadeUser, at_once: None) -> None:
    before = stored(services, user.user_id)
    killed_after(0)
    with pytest.raises(Died):
        made(services, user.user_id)
    fault.install({})
    services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: late\r\n\r\n")])
    gone = services.mailboxes.find(user.user_id, "Work").id
    services.messages.expunge(user.user_id, OPERATOR, gone, UidSet(((2, 2),)), only_deleted=False)
    services.mail_exports.make_due()
    found = files(fetched(services, user.user_id))
    assert len(found) - 1 == len(before) - 1
    assert "Work/2.eml" not in found
    assert all(b"Subject: late" not in data for data in found.values())


def test_a_damaged_message_is_counted_and_stops_nothing(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mail_archive.Content.read

    def damaged(self: mail_archive.Content, *arguments: int) -> Iterator[bytes]:
        if self.size_bytes > len(LARGE):
            yield next(real(self, *arguments))
            raise StoreDamaged("chunk")
        yield from real(self, *arguments)

    monkeypatch.setattr(mail_archive.Content, "read", damaged)
    export = made(services, user.user_id)
    monkeypatch.undo()
    [size] = [len(data) for data in stored(services, user.user_id) if len(data) > len(LARGE)]
    assert export.damaged == 1
    assert files(fetched(services, user.user_id))["INBOX/7.eml"].endswith(bytes(1000))
    assert size in {len(data) for data in files(fetched(services, user.user_id)).values()}


def test_asking_while_it_is_made_is_asking_once(services: MailServices, user: MadeUser) -> None:
    first = services.mail_exports.ask(OPERATOR, user.user_id)
    assert services.mail_exports.ask(OPERATOR, user.user_id).id == first.id
    with pytest.raises(FileNotFound):
        services.mail_exports.fetch(OPERATOR, user.user_id)


def test_another_request_removes_the_file_before(services: MailServices, user: MadeUser) -> None:
    made(services, user.user_id)
    count = own_pieces(services, user)
    made(services, user.user_id)
    assert own_pieces(services, user) == count > 5


def own_pieces(services: MailServices, user: MadeUser) -> int:
    cold = services.placement.home(user.user_id).shard.cold
    owner = user.user_id.binary
    return cold["export_pieces"].count_documents({"_id": {"$gte": owner + bytes(20), "$lte": owner + b"\xff" * 20}})


def test_it_is_gone_after_its_days(services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    export = made(services, user.user_id)
    assert timedelta(days=6) < export.expires_at - now() <= KEPT_FOR
    services.placement.directory.database["mail_exports"].update_one(
        {"_id": user.user_id.binary}, {"$set": {"expires_at": now(), "next_at": now()}}
    )
    with pytest.raises(FileNotFound):
        services.mail_exports.fetch(OPERATOR, user.user_id)
    services.mail_exports.make_due()
    assert own_pieces(services, user) == 0
    assert services.placement.directory.mail_exports.find(user.user_id) is None


def test_it_can_be_removed_before(services: MailServices, user: MadeUser) -> None:
    made(services, user.user_id)
    services.mail_exports.delete(OPERATOR, user.user_id)
    assert own_pieces(services, user) == 0
    with pytest.raises(FileNotFound):
        services.mail_exports.get(user.user_id)


def test_a_deleted_users_file_goes_with_the_mail(services: MailServices, user: MadeUser) -> None:
    made(services, user.user_id)
    shard = services.placement.home(user.user_id).shard
    assert shard.export_pieces.delete_all(user.user_id) > 5
    services.mail_exports.ask(OPERATOR, user.user_id)
    services.deleted_users.delete(OPERATOR, user.user_id)
    services.mail_exports.make_due()
    assert services.placement.directory.mail_exports.find(user.user_id) is None
