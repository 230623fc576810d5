r"""One copy in Sent: ours, or the client's own, whichever comes first and whatever happens at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.flags import SEEN, FlagSet
from mailcore.model.mailbox import SpecialUse
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import Messages, NewMessage
from mailcore.services.outbound.sent_copies import SentCopies
from tests.builders import OPERATOR, make_user
from tests.transcripts.submission.conftest import Client, messages_in


def message(client: Client, number: int = 1, more: str = "") -> bytes:
    return (
        f"From: {client.user.address}\r\nTo: bob@else.test\r\nSubject: {number}\r\nMessage-ID: <{number}@own>\r\n"
        f"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\n{more}\r\nHello\r\n"
    ).encode()


def upload(client: Client, raw: bytes, **more: Any) -> None:
    """What a client does by IMAP APPEND."""
    actor = Actor(ActorKind.USER, Door.IMAP, client.user.address, on_behalf_of=client.user.user_id)
    sent = NewMessage(raw, FlagSet(SEEN), **more)
    client.services.messages.append(client.user.user_id, actor, "Sent Mail", [sent])


def test_our_copy_is_seen_and_in_the_mailbox_that_is_sent_whatever_its_name(client: Client) -> None:
    services, user = client.services, client.user
    services.mailboxes.rename(user.user_id, OPERATOR, "Sent Mail", "Gesendet")
    client.send(message(client))
    view = services.mailboxes.open(user.user_id, "Gesendet")
    assert view.exists == 1
    assert int(view.flags[0]) & SEEN
    assert view.unseen == 0


@pytest.mark.parametrize("first", ["ours", "the client's"])
def test_of_two_the_clients_is_left(client: Client, first: str) -> None:
    """The client may have added to its own: that is what its user wrote."""
    own = message(client, more="X-Client: kept\r\n")
    if first == "ours":
        client.send(message(client))
        upload(client, own)
    else:
        upload(client, own)
        client.send(message(client))
    assert client.sent() == [own]


def test_others_stay(client: Client) -> None:
    """Also of the same thread, also without a Message-ID, also what was moved away."""
    client.send(message(client, 1))
    client.send(message(client, 2, more="References: <1@own>\r\n"))
    upload(client, b"Subject: no id\r\n\r\nx\r\n")
    client.send(b"Subject: none either\r\n\r\nx\r\n")
    upload(client, message(client, 2, more="References: <1@own>\r\nX-Client: kept\r\n"))
    subjects = [raw.partition(b"Subject: ")[2].split(b"\r\n")[0] for raw in client.sent()]
    assert subjects == [b"1", b"no id", b"none either", b"2"]


def test_an_upload_elsewhere_or_of_old_mail_removes_nothing(client: Client) -> None:
    client.send(message(client))
    actor = Actor(ActorKind.USER, Door.IMAP, client.user.address, on_behalf_of=client.user.user_id)
    client.services.messages.append(client.user.user_id, actor, "Archive", [NewMessage(message(client))])
    upload(client, message(client), internal_date=1_000_000_000)
    assert len(client.sent()) == 2


def test_a_second_upload_after_the_first_was_removed_is_kept(client: Client) -> None:
    """Only our own copies are ever removed."""
    upload(client, message(client))
    upload(client, message(client))
    assert len(client.sent()) == 2


def test_both_at_once_leave_one(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's commit falls between ours and our look, and the other way round."""
    own = message(client, more="X-Client: kept\r\n")
    give_way = SentCopies._give_way

    def client_is_faster(self: SentCopies, *arguments: Any) -> None:
        monkeypatch.setattr(SentCopies, "_give_way", give_way)
        upload(client, own)
        give_way(self, *arguments)

    monkeypatch.setattr(SentCopies, "_give_way", client_is_faster)
    client.send(message(client))
    assert client.sent() == [own]

    uploaded = client.services.messages.on_sent_upload

    def we_are_faster(*arguments: Any) -> None:
        monkeypatch.setattr(client.services.messages, "on_sent_upload", uploaded)
        client.send(message(client, 2))
        uploaded(*arguments)

    monkeypatch.setattr(client.services.messages, "on_sent_upload", we_are_faster)
    other = message(client, 2, more="X-Client: kept\r\n")
    upload(client, other)
    assert client.sent() == [own, other]


@pytest.mark.parametrize("never", ["_give_way", "uploaded"])
def test_who_does_not_look_again_leaves_two(client: Client, monkeypatch: pytest.MonkeyPatch, never: str) -> None:
    """Negative control of either look."""
    monkeypatch.setattr(SentCopies, never, lambda *_: None)
    monkeypatch.setattr(client.services.messages, "on_sent_upload", SentCopies.uploaded.__get__(_copies(client)))
    own = message(client, more="X-Client: kept\r\n")
    if never == "uploaded":
        client.send(message(client))
        upload(client, own)
    else:
        upload(client, own)
        client.send(message(client))
    assert len(client.sent()) == 2


def _copies(client: Client) -> SentCopies:
    return client.services.submission._sent_copies


def test_no_copy_for_whose_clients_file_their_own(services: MailServices, connect: Callable[..., Client]) -> None:
    user = make_user(services)
    services.users.set_settings(OPERATOR, user.user_id, {"uploads_sent": True})
    client = connect(user).sign_in()
    assert client.send(message(client)).startswith("250 ")
    assert client.sent() == []


def test_mail_goes_out_though_there_is_no_room_or_no_sent(
    services: MailServices, connect: Callable[..., Client]
) -> None:
    full = connect(make_user(services, quota_bytes=10)).sign_in()
    assert full.send(message(full)).startswith("250 ")
    assert (len(full.queued()), full.sent()) == (1, [])
    without = connect().sign_in()
    services.mailboxes.set_special_use(without.user.user_id, OPERATOR, "Sent Mail", None)
    assert without.send(message(without)).startswith("250 ")
    assert (len(without.queued()), without.sent()) == (1, [])
    services.mailboxes.set_special_use(without.user.user_id, OPERATOR, "Archive", SpecialUse.SENT)
    assert without.send(message(without, 2)).startswith("250 ")
    assert messages_in(services, without.user, "Archive") == [message(without, 2)]


def test_a_repeat_files_what_the_first_could_not(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who dies between the queue and Sent has not answered: the client comes again, and there is one of each."""
    commit_rows = Messages.commit_rows

    def dies(*_: Any, **__: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(Messages, "commit_rows", dies)
    with pytest.raises(SystemExit):
        client.send(message(client))
    monkeypatch.setattr(Messages, "commit_rows", commit_rows)
    again = Client(client.services, client.connection._session.policy, client.user).sign_in()  # type: ignore[arg-type]
    assert again.send(message(client)).startswith("250 ")
    assert len(again.queued()) == 1
    assert again.sent() == [message(client)]


def test_an_outcome_that_is_unknown_is_not_told_as_a_failure_of_the_message(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(Messages, "commit_rows", away)
    assert client.send(message(client)).startswith("250 ")
    assert len(client.queued()) == 1


def test_a_large_attachment_is_stored_once_for_queue_and_sent(client: Client) -> None:
    """Both refer to the tenant's one blob."""
    body = "\r\n".join(["QUFB" * 19] * 2000)
    raw = message(
        client, more="MIME-Version: 1.0\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    )
    raw = raw.replace(b"Hello\r\n", body.encode() + b"\r\n")
    client.send(raw)
    shard = client.services.placement.home(client.user.user_id).shard
    owned = [each for each in shard.hot["blob_refs"].find() if client.user.tenant_id.binary in bytes(each["_id"])]
    blobs = [each for each in shard.hot["blobs"].find() if bytes(each["_id"]).startswith(client.user.tenant_id.binary)]
    assert (len(blobs), len(owned)) == (1, 2)
    assert client.sent() == [raw]
    assert client.outgoing()[0].endswith(raw)


def test_expunged_copies_do_not_come_back(client: Client) -> None:
    client.send(message(client))
    inbox = client.services.mailboxes.find(client.user.user_id, "Sent Mail").id
    client.services.messages.expunge(client.user.user_id, OPERATOR, inbox, UidSet(((1, 1),)), only_deleted=False)
    client.send(message(client, 2))
    assert client.sent() == [message(client, 2)]
