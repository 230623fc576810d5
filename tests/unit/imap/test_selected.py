"""Sequence numbers of one session against views that change under it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from bson import ObjectId

from mailcore.imap.selected import NoSuchNumber, SelectedMailbox
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.uid_set import SequenceSet, UidSet
from mailcore.store.mailbox.columns import Columns
from mailcore.store.mailbox.view import MailboxView

_USER, _MAILBOX = UserId(ObjectId()), MailboxId(ObjectId())


def view(
    uids: list[int], flags: list[int] | None = None, modseq: int = 1, keywords: tuple[str, ...] = ()
) -> MailboxView:
    """A view with these messages."""
    count = len(uids)
    numbers = np.arange(count)
    columns = Columns(
        uids=np.array(uids, np.uint32),
        flags=np.array(flags or [0] * count, np.uint64),
        modseqs=np.ones(count, np.uint64),
        sizes=numbers.astype(np.uint32),
        internal_dates=numbers.astype(np.int64),
        saved_dates=numbers.astype(np.int64),
        header_dates=numbers.astype(np.int64),
        threads=numbers.astype(np.uint64),
        message_oids=np.zeros((count, 12), np.uint8),
    )
    return MailboxView.of_columns(
        _USER,
        _MAILBOX,
        columns,
        uid_validity=1,
        uid_next=(uids[-1] if uids else 0) + 1,
        modseq=modseq,
        flag_sequence=modseq,
        keywords=keywords,
    )


def selected(uids: list[int], flags: list[int] | None = None) -> SelectedMailbox:
    """A session that was told these messages."""
    return SelectedMailbox(MailboxName("INBOX"), view(uids, flags), read_only=False)


def test_nothing_new_is_nothing_said() -> None:
    mailbox = selected([1, 2])
    assert mailbox.announce(expunge=True) == b""
    mailbox.adopt(view([1, 2], modseq=2))
    assert mailbox.announce(expunge=True) == b""


def test_an_older_view_is_not_adopted() -> None:
    mailbox = selected([1, 2])
    newer = view([1, 2, 3], modseq=5)
    mailbox.adopt(newer)
    mailbox.adopt(view([1, 2], modseq=4))
    assert mailbox.view is newer


def test_arrivals_removals_and_flags() -> None:
    mailbox = selected([1, 2, 3, 5])
    mailbox.adopt(view([1, 3, 5, 8, 9], [0, 1, 0, 0, 4], modseq=2))
    assert mailbox.announce(expunge=True) == (b"* 2 EXPUNGE\r\n* 5 EXISTS\r\n* 2 FETCH (UID 3 FLAGS (\\Seen))\r\n")
    assert mailbox.announce(expunge=True) == b""


def test_removed_messages_keep_their_place_until_they_may_be_told() -> None:
    mailbox = selected([1, 2, 3])
    mailbox.adopt(view([1, 3, 4], modseq=2))
    assert mailbox.announce(expunge=False) == b"* 4 EXISTS\r\n"
    positions = mailbox.by_number(SequenceSet(((1, 0),)))
    assert positions.tolist() == [0, 1, 2, 3]
    assert mailbox.rows(positions).tolist() == [0, -1, 1, 2]
    assert mailbox.positions_of_rows(np.array([0, 1, 2])).tolist() == [0, 2, 3]
    mailbox.adopt(view([3, 4], modseq=3))
    assert mailbox.announce(expunge=False) == b""
    assert mailbox.announce(expunge=True) == b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n"
    assert mailbox.exists == 2


def test_all_removed_then_new_ones() -> None:
    mailbox = selected([1, 2])
    mailbox.adopt(view([], modseq=2))
    assert mailbox.announce(expunge=True) == b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n"
    mailbox.adopt(view([7], modseq=3))
    assert mailbox.announce(expunge=True) == b"* 1 EXISTS\r\n"
    assert mailbox.uids_at(mailbox.by_number(SequenceSet(((1, 1),)))) == UidSet(((7, 7),))


def test_new_keywords_are_told_before_they_appear() -> None:
    mailbox = selected([1])
    mailbox.adopt(view([1], [256], modseq=2, keywords=("$Work",)))
    lines = mailbox.announce(expunge=False).split(b"\r\n")
    assert lines[0].endswith(b" $Work)")
    assert b"PERMANENTFLAGS" in lines[1]
    assert lines[2] == b"* 1 FETCH (UID 1 FLAGS ($Work))"


def test_internal_marks_are_not_told() -> None:
    mailbox = selected([1])
    mailbox.adopt(view([1], [32], modseq=2))
    assert mailbox.announce(expunge=True) == b""


def test_silent_change_hides_only_what_the_client_did() -> None:
    mailbox = selected([1, 2], [0, 0])
    positions = mailbox.by_number(SequenceSet(((1, 2),)))
    mailbox.adopt(view([1, 2], [1, 5], modseq=2))
    mailbox.expect_flags(positions, FlagOperation.ADD, FlagSet(1))
    assert mailbox.announce(expunge=False) == b"* 2 FETCH (UID 2 FLAGS (\\Seen \\Flagged))\r\n"


def test_numbers_beyond_the_last_are_refused() -> None:
    mailbox = selected([4, 6])
    for numbers in (((3, 3),), ((1, 3),), ((0, 9),)):
        with pytest.raises(NoSuchNumber):
            mailbox.by_number(SequenceSet(numbers))
    assert mailbox.by_number(SequenceSet(((2, 9),)), clip=True).tolist() == [1]
    with pytest.raises(NoSuchNumber):
        selected([]).by_number(SequenceSet(((0, 0),)))


def test_neighbours_are_one_range_of_uids() -> None:
    mailbox = selected([2, 4, 8, 16, 32])
    assert mailbox.uids_at(mailbox.by_number(SequenceSet(((1, 3), (5, 5))))) == UidSet(((2, 8), (32, 32)))
    assert mailbox.uids_at(mailbox.by_uid(SequenceSet(((3, 20), (40, 0))))) == UidSet(((4, 32),))
    assert mailbox.by_uid(SequenceSet(((5, 7),))).tolist() == []


@pytest.mark.parametrize("seed", range(40))
def test_a_client_that_follows_what_it_is_told_has_the_same_list(seed: int) -> None:
    chance = random.Random(seed)
    uids = list(range(1, chance.randrange(2, 60)))
    mailbox = selected(uids)
    client: list[int | None] = list(uids)
    next_uid = len(uids) + 1
    for modseq in range(2, 30):
        uids = [uid for uid in uids if chance.random() > 0.1]
        for _ in range(chance.randrange(4)):
            uids.append(next_uid)
            next_uid += 1
        mailbox.adopt(view(uids, [chance.randrange(4) for _ in uids], modseq))
        expunge = chance.random() < 0.5
        for line in mailbox.announce(expunge=expunge).split(b"\r\n")[:-1]:
            words = line.split()
            if words[2] == b"EXPUNGE":
                assert expunge
                del client[int(words[1]) - 1]
            elif words[2] == b"EXISTS":
                client += [None] * (int(words[1]) - len(client))
            else:
                assert client[int(words[1]) - 1] in {None, int(words[4])}
        assert len(client) == mailbox.exists
        everything = np.arange(mailbox.exists)
        for known, uid in zip(client, mailbox.uid_array(everything).tolist(), strict=True):
            assert known in {None, uid}
        client = list(mailbox.uid_array(everything).tolist())
        rows = mailbox.rows(everything)
        assert [uids[row] for row in rows[rows >= 0].tolist()] == uids
        sample = sorted(chance.sample(range(len(client)), min(len(client), 9)))
        by_uid = mailbox.by_uid(SequenceSet(tuple((client[at], client[at]) for at in sample)))
        assert by_uid.tolist() == sample
