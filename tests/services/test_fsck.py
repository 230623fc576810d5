"""fsck: every sort of damage is found, nothing sound is called damaged, and a repair loses nothing that survives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mailcore.errors import UserNotFound
from mailcore.model.flags import SEEN, FlagOperation, FlagSet
from mailcore.model.ids import UserId
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.keeping import fsck as module
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.keys import mailbox_key, owner_range
from mailcore.store.mailbox.heads import Heads
from tests.builders import OPERATOR, MadeUser, make_user

COUNT = 150


def message(number: int) -> bytes:
    return b"Message-ID: <%d@x>\r\nSubject: %d\r\n\r\nbody %d\r\n" % (number, number, number)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNDER_WAY", timedelta(hours=-1))
    monkeypatch.setattr(module, "LOOK_PAUSE_S", 0.01)


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    """A user whose INBOX has folded segments, a log, changed flags and a gap."""
    made = make_user(services)
    for number in range(0, COUNT, 2):
        services.messages.append(
            made.user_id, OPERATOR, "INBOX", [NewMessage(message(number)), NewMessage(message(number + 1))]
        )
    view = services.mailboxes.open(made.user_id, "INBOX")
    services.messages.store(
        made.user_id, OPERATOR, view.mailbox_id, UidSet(((1, 20),)), FlagOperation.ADD, FlagSet(SEEN, ("work",))
    )
    services.messages.expunge(made.user_id, OPERATOR, view.mailbox_id, UidSet(((5, 9),)), only_deleted=False)
    return made


def contents(services: MailServices, user_id: UserId) -> list[bytes]:
    found = []
    for entry in services.mailboxes.tree(user_id):
        view = services.mailboxes.open(user_id, entry.name)
        oids = [oid.tobytes() for oid in view.message_oids]
        found += [b"".join(content.read()) for content in services.content.open_many(user_id, oids)]
    return sorted(found)


ALIVE = sorted(message(number) for number in range(COUNT) if not 4 <= number <= 8)


def hot(services: MailServices, user: MadeUser) -> Any:
    return services.placement.home(user.user_id).shard.hot


def head_key(services: MailServices, user: MadeUser) -> bytes:
    return mailbox_key(user.user_id, services.mailboxes.find(user.user_id, "INBOX").id)


def test_what_is_sound_is_called_sound_while_others_write(services: MailServices, user: MadeUser) -> None:
    report = services.fsck.run(OPERATOR, user.user_id, deep=True)
    assert (report.found, report.left, report.mailboxes, report.messages) == ((), (), 6, len(ALIVE))
    repaired = services.fsck.run(OPERATOR, user.user_id, repair=True)
    assert (repaired.found, repaired.recovered) == ((), 0)
    assert contents(services, user.user_id) == ALIVE


def lose_head(services: MailServices, user: MadeUser) -> None:
    hot(services, user)["mailboxes"].delete_one({"_id": head_key(services, user)})


def lose_segments(services: MailServices, user: MadeUser) -> None:
    key_range = owner_range(head_key(services, user), 32)
    assert hot(services, user)["segments"].delete_many({"_id": key_range}).deleted_count > 0


def miscount(services: MailServices, user: MadeUser) -> None:
    hot(services, user)["mailboxes"].update_one(
        {"_id": head_key(services, user)}, {"$inc": {"exists": 3, "unseen": -1}}
    )


def lose_tree(services: MailServices, user: MadeUser) -> None:
    hot(services, user)["mailbox_trees"].delete_one({"_id": user.user_id.binary})
    services.mailboxes.forget_tree(user.user_id)


def lose_log_entry(services: MailServices, user: MadeUser) -> None:
    hot(services, user)["mailboxes"].update_one({"_id": head_key(services, user)}, {"$pop": {"log": 1}})


DAMAGE = [
    pytest.param(lose_head, "head.missing", id="head"),
    pytest.param(lose_segments, "segment.unreadable", id="segments"),
    pytest.param(miscount, "head.exists", id="counters"),
    pytest.param(lose_tree, "tree.missing", id="tree"),
    pytest.param(lose_log_entry, "head.", id="log-entry"),
]


@pytest.mark.parametrize(("damage", "kind"), DAMAGE)
def test_damage_is_found_and_repaired_without_losing_a_message(
    services: MailServices, user: MadeUser, damage: Callable[[MailServices, MadeUser], None], kind: str
) -> None:
    damage(services, user)
    looked = services.fsck.run(OPERATOR, user.user_id)
    assert any(finding.kind.startswith(kind) for finding in looked.found), looked.found
    assert looked.left == looked.found
    report = services.fsck.run(OPERATOR, user.user_id, repair=True)
    assert report.left == ()
    found = contents(services, user.user_id)
    assert set(ALIVE) <= set(found)
    assert services.fsck.run(OPERATOR, user.user_id, deep=True).found == ()


@pytest.mark.parametrize("damage", [lose_head, lose_segments, miscount])
def test_a_mailbox_that_others_keep_changing_is_left_for_the_next_time(
    services: MailServices,
    user: MadeUser,
    damage: Callable[[MailServices, MadeUser], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report says so; what it holds is not taken for lost meanwhile."""
    damage(services, user)
    with monkeypatch.context() as patch:
        patch.setattr(Heads, "replace", lambda *_: False)
        busy = services.fsck.run(OPERATOR, user.user_id, repair=True)
    assert busy.left
    assert busy.recovered == 0
    assert services.fsck.run(OPERATOR, user.user_id, repair=True).left == ()
    assert set(ALIVE) <= set(contents(services, user.user_id))


def test_a_message_that_is_gone_loses_its_row(services: MailServices, user: MadeUser) -> None:
    view = services.mailboxes.open(user.user_id, "INBOX")
    hot(services, user)["messages"].delete_one({"_id": user.user_id.binary + bytes(view.message_oid(0))})
    (finding,) = services.fsck.run(OPERATOR, user.user_id).found
    assert (finding.mailbox, finding.kind) == ("INBOX", "message.missing")
    report = services.fsck.run(OPERATOR, user.user_id, repair=True)
    assert report.left == ()
    assert len(contents(services, user.user_id)) == len(ALIVE) - 1


def test_a_message_that_is_not_what_was_accepted_is_found_by_a_deep_look(
    services: MailServices, user: MadeUser
) -> None:
    view = services.mailboxes.open(user.user_id, "INBOX")
    key = user.user_id.binary + bytes(view.message_oid(3))
    hot(services, user)["messages"].update_one({"_id": key}, {"$set": {"sha256": bytes(32)}})
    assert services.fsck.run(OPERATOR, user.user_id).found == ()
    (finding,) = services.fsck.run(OPERATOR, user.user_id, deep=True).found
    assert (finding.kind, finding.detail) == ("message.damaged", key[12:].hex())


def test_a_user_whose_creation_was_cut_off_is_finished(services: MailServices, user: MadeUser) -> None:
    services.users._directory.database["addresses"].delete_one({"user": user.user_id})
    (finding,) = services.fsck.run(OPERATOR, user.user_id).found
    assert finding.kind == "user.no_address"
    assert services.fsck.run(OPERATOR, user.user_id, repair=True).left == ()
    assert services.addresses.get(user.address).user_id == user.user_id


def test_every_user_is_visited(services: MailServices, user: MadeUser) -> None:
    assert user.user_id in {found.id for found in services.fsck.every_user()}
    from bson import ObjectId

    with pytest.raises(UserNotFound):
        services.fsck.run(OPERATOR, UserId(ObjectId()))
