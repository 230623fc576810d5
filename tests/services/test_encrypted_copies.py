"""COPY, MOVE and imports into mailboxes that keep mail encrypted: nothing comes in there in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pysequoia
import pytest

from mailcore import fault
from mailcore.errors import EncryptionFailed
from mailcore.model.changes import Cause
from mailcore.model.encryption import Encryption
from mailcore.model.flags import DRAFT, FLAGGED, SEEN, FlagSet
from mailcore.model.retention import RetentionRule
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.content.encryption import Encryptions
from mailcore.services.keeping.import_sources import SourceMailbox
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.mailboxes.transfers import Transfers
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.view import MailboxView
from tests.builders import OPERATOR, MadeUser, make_user
from tests.services.test_encryption import PLAIN, SECRET

KEY = pysequoia.Tsk.generate("Zoe <zoe@example.org>")
ALL = UidSet(((1, 0xFFFFFFFF),))
DAY = 86_400
NO_FLAGS = FlagSet()


class Crash(Exception):
    """The process dies here."""


@pytest.fixture
def user(services: MailServices) -> Iterator[MadeUser]:
    """A user with a key, and a mailbox that keeps what comes in encrypted."""
    made = make_user(services)
    services.mailboxes.create(made.user_id, OPERATOR, "Vault")
    services.mailboxes.set_options(made.user_id, OPERATOR, "Vault", encrypts=True)
    public = str(KEY.extract_certificate())
    services.encryptions.set(OPERATOR, made.user_id, {"pgp_key": public})
    yield made
    fault.install({})


def append(services: MailServices, user: MadeUser, *raws: bytes, flags: FlagSet = NO_FLAGS) -> None:
    new = [NewMessage(raw, flags, 1_700_000_000 + number * DAY) for number, raw in enumerate(raws)]
    services.messages.append(user.user_id, OPERATOR, "INBOX", new)


def encrypted(services: MailServices, user: MadeUser) -> bytes:
    return services.encryptions.encrypt(services.users.get(user.user_id).encryption, PLAIN)


def view_of(services: MailServices, user: MadeUser, name: str) -> MailboxView:
    return services.mailboxes.open(user.user_id, name)


def bodies(services: MailServices, user: MadeUser, name: str) -> list[bytes]:
    view = view_of(services, user, name)
    oids = [view.message_oid(row) for row in range(view.exists)]
    return [b"".join(found.read()) for found in services.content.open_many(user.user_id, oids)]


def open_(raw: bytes) -> bytes:
    begin = raw.index(b"-----BEGIN PGP MESSAGE")
    return bytes(pysequoia.decrypt(decryptor=KEY.decryptor(), bytes=raw[begin:]).bytes)


def transfer(services: MailServices, user: MadeUser, verb: str, uids: UidSet = ALL) -> tuple[UidSet, UidSet]:
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    done = getattr(services.messages, verb)(user.user_id, OPERATOR, inbox, uids, "Vault")
    return done.source, done.target


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_it_comes_in_encrypted_with_all_that_belongs_to_it(services: MailServices, user: MadeUser, verb: str) -> None:
    append(services, user, PLAIN, flags=FlagSet(SEEN | FLAGGED, ("$Work",)))
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.put_note(user.user_id, OPERATOR, inbox, 1, Note(b'{"a":1}'))
    before = view_of(services, user, "INBOX")
    assert transfer(services, user, verb) == (UidSet(((1, 1),)), UidSet(((1, 1),)))
    vault = view_of(services, user, "Vault")
    (raw,) = bodies(services, user, "Vault")
    assert SECRET not in raw
    assert SECRET in open_(raw)
    assert raw.startswith(PLAIN[: PLAIN.index(b"Content-Type")].replace(b"MIME-Version: 1.0\r\n", b""))
    assert set(vault.flag_names(int(vault.flags[0]))) == {"\\Seen", "\\Flagged", "$Work"}
    assert (vault.internal_dates[0], vault.threads[0]) == (1_700_000_000, before.threads[0])
    assert vault.sizes[0] == vault.size_bytes == len(raw) > before.sizes[0]
    assert vault.message_oid(0) != before.message_oid(0)
    assert services.mailboxes.notes(user.user_id, vault.mailbox_id, [1])[1].meta_data == b'{"a":1}'
    assert bodies(services, user, "INBOX") == ([PLAIN] if verb == "copy" else [])


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_drafts_and_what_is_encrypted_stay_the_same_message(services: MailServices, user: MadeUser, verb: str) -> None:
    append(services, user, encrypted(services, user), PLAIN)
    append(services, user, PLAIN, flags=FlagSet(DRAFT))
    append(services, user, *[PLAIN.replace(b"<1@", b"<%d@" % number) for number in range(2, 61)])
    before = view_of(services, user, "INBOX").message_oids
    source, target = transfer(services, user, verb)
    assert (len(source), target) == (62, UidSet(((1, 62),)))
    same = (view_of(services, user, "Vault").message_oids == before).all(axis=1)
    assert np.flatnonzero(same).tolist() == [0, 2]
    assert [SECRET in raw for raw in bodies(services, user, "Vault")] == [False, False, True, *[False] * 59]
    left = view_of(services, user, "INBOX").exists
    assert left == (62 if verb == "copy" else 0)


def test_all_of_a_users_mailboxes_may_want_it(services: MailServices, user: MadeUser) -> None:
    append(services, user, PLAIN)
    services.encryptions.set(OPERATOR, user.user_id, {"of_stored": True})
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.copy(user.user_id, OPERATOR, inbox, ALL, "Drafts")
    services.messages.move(user.user_id, OPERATOR, inbox, ALL, "Archive")
    assert bodies(services, user, "Drafts") == [PLAIN]
    assert SECRET not in b"".join(bodies(services, user, "Archive"))


def test_what_was_in_the_clear_is_under_every_hold_and_offered_to_nobody(
    services: MailServices, user: MadeUser
) -> None:
    append(services, user, encrypted(services, user), PLAIN)
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, RetentionRule(purge_after=timedelta(0)))
    transfer(services, user, "move")
    (block,) = services.restoring.blocks(user.user_id, datetime(2000, 1, 1, tzinfo=UTC))
    assert (block.cause, block.rows.uids.tolist()) == (Cause.DISCARD, [2])
    assert len(services.archive.of_user(user.user_id).numbers) == 0
    services.retention.set_user_hold(OPERATOR, user.user_id, held=True)
    assert services.retention.collect(user.user_id, sweep=True).messages == 0
    assert b"".join(services.content.open(user.user_id, block.message_oid(0)).read()) == PLAIN
    services.retention.set_user_hold(OPERATOR, user.user_id, held=False)
    assert services.retention.collect(user.user_id, sweep=True).messages == 1
    assert len(bodies(services, user, "Vault")) == 2


@pytest.mark.parametrize("by", ["the same again", "the fold"])
def test_who_dies_in_the_middle_leaves_nothing_twice(services: MailServices, user: MadeUser, by: str) -> None:
    append(services, user, PLAIN, encrypted(services, user))

    def die() -> None:
        raise Crash

    fault.install({"move.after_copy": die})
    with pytest.raises(Crash):
        transfer(services, user, "move")
    fault.install({})
    assert (view_of(services, user, "INBOX").exists, view_of(services, user, "Vault").exists) == (2, 2)
    if by == "the fold":
        services.messages.fold(user.user_id, services.mailboxes.find(user.user_id, "Vault").id)
    else:
        assert transfer(services, user, "move") == (UidSet(((1, 2),)), UidSet(((1, 2),)))
    assert (view_of(services, user, "INBOX").exists, view_of(services, user, "Vault").exists) == (0, 2)
    (block,) = services.restoring.blocks(user.user_id)
    assert (block.cause, block.rows.uids.tolist()) == (Cause.DISCARD, [1])


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a_key_that_fails_leaves_everything_where_it_is(services: MailServices, user: MadeUser, verb: str) -> None:
    """Attack M14: neither in the clear nor gone."""
    append(services, user, PLAIN)
    broken = Encryption(pgp_key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n")
    services.placement.directory.user_changes.set_encryption(user.user_id, broken)
    services.placement.forget(user.user_id)
    with pytest.raises(EncryptionFailed):
        transfer(services, user, verb)
    assert (bodies(services, user, "INBOX"), bodies(services, user, "Vault")) == ([PLAIN], [])


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_mail_copied_in_the_clear_would_be_seen(
    services: MailServices, user: MadeUser, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""
    monkeypatch.setattr(Encryptions, "applies", staticmethod(lambda *_: False))
    with pytest.raises(AssertionError):
        test_it_comes_in_encrypted_with_all_that_belongs_to_it(services, user, verb)


def test_originals_that_no_purge_names_would_be_seen(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a move tells the purge nothing, for it believes that the message lives on."""
    real = Transfers._expunge_taken

    def careless(self: Transfers, *arguments: object) -> object:
        taken = arguments[3]
        taken.same[:] = True  # type: ignore[attr-defined]
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Transfers, "_expunge_taken", careless)
    with pytest.raises(ValueError, match="not enough values"):
        test_what_was_in_the_clear_is_under_every_hold_and_offered_to_nobody(services, user)


def test_a_delegate_who_copies_it_home_has_it_encrypted_there(services: MailServices, user: MadeUser) -> None:
    other = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    services.mailboxes.create(other.user_id, OPERATOR, "Team")
    services.messages.append(other.user_id, OPERATOR, "Team", [NewMessage(PLAIN), NewMessage(PLAIN, FlagSet(DRAFT))])
    team = services.mailboxes.find(other.user_id, "Team").id
    services.messages.copy(other.user_id, OPERATOR, team, ALL, "Vault", user.user_id)
    assert [SECRET in raw for raw in bodies(services, user, "Vault")] == [False, True]
    assert len(bodies(services, other, "Team")) == 2


def test_an_import_is_encrypted_and_known_again(services: MailServices, user: MadeUser, tmp_path: Path) -> None:
    file = tmp_path / "one.eml"
    file.write_bytes(PLAIN)
    source = SourceMailbox((), (file,), "eml", file.stat().st_size)
    found = [services.imports.run(OPERATOR, user.user_id, [source], "Vault") for _ in range(2)]
    assert [(one.imported, one.present, one.failures) for one in found] == [(1, 0, ()), (0, 1, ())]
    (raw,) = bodies(services, user, "Vault")
    assert SECRET not in raw
    assert SECRET in open_(raw)


def test_an_import_that_cannot_be_encrypted_says_so(services: MailServices, user: MadeUser, tmp_path: Path) -> None:
    file = tmp_path / "one.eml"
    file.write_bytes(PLAIN)
    broken = Encryption(pgp_key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n")
    services.placement.directory.user_changes.set_encryption(user.user_id, broken)
    services.placement.forget(user.user_id)
    source = SourceMailbox((), (file,), "eml", file.stat().st_size)
    done = services.imports.run(OPERATOR, user.user_id, [source], "Vault")
    assert (done.imported, bodies(services, user, "Vault")) == (0, [])
    assert "cannot be encrypted" in done.failures[0].reason
