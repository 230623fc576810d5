"""Audits: what is copied stays as it was, whatever the user does, until it expires."""

from __future__ import annotations

import inspect
import mailbox
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson import ObjectId

from mailcore.api.application import Application
from mailcore.model.ids import UserId
from mailcore.model.roles import Role
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.services.keeping import audits
from mailcore.services.keeping.audits import _Quoting
from mailcore.store.message.audit_pieces import AuditPieces
from tests.api.conftest import Api, token
from tests.builders import OPERATOR, MadeUser, make_user
from tests.store.test_delivery import deliver, message

LATER = "2100-01-01T00:00:00Z"


@pytest.fixture
def auditor(app: Application, services: MailServices, user: MadeUser) -> Api:
    return Api(app, token(services, owner_of_tenant(user.tenant_id), Role.AUDIT))


def begin(api: Api, user: MadeUser, **fields: object) -> str:
    made = api.post("/audit", {"user": str(user.user_id), "expires": LATER, "sess": "", **fields})
    assert made.status == 200, made.body
    return str(made.body["id"])


def bodies(raw: bytes, folder: Path) -> set[bytes]:
    """The messages of an mbox, as the standard library reads it."""
    path = folder / "export.mbox"
    path.write_bytes(raw.replace(b"\r\n", b"\n"))
    return {one.as_bytes().split(b"\n\n", 1)[1].strip() for one in mailbox.mbox(str(path))}


def test_copies_stay_whatever_the_user_does(
    auditor: Api, services: MailServices, user: MadeUser, tmp_path: Path
) -> None:
    for text in (b"one", b"two", b"gone before"):
        deliver(services, message(text), user)
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.expunge(user.user_id, OPERATOR, inbox, UidSet(((3, 3),)), only_deleted=False)
    audit = begin(auditor, user, notes="Case 7", meta={"case": 7})
    assert auditor.get(f"/audit/{audit}").body["import"] == {"status": "queued", "failed": 0, "copied": 0}
    assert services.audits.copy_due() == 3
    before = auditor.get(f"/audit/{audit}/export.mbox").raw

    services.messages.expunge(user.user_id, OPERATOR, inbox, None, only_deleted=False)
    services.mailboxes.create(user.user_id, OPERATOR, "Other")
    home = services.placement.home(user.user_id)
    start = user.user_id.binary
    home.shard.hot["messages"].delete_many({"_id": {"$gte": start + b"\x00" * 12, "$lte": start + b"\xff" * 12}})
    after = auditor.get(f"/audit/{audit}/export.mbox")
    assert after.raw == before
    assert len(bodies(after.raw, tmp_path)) == 3
    shown = auditor.get(f"/audit/{audit}").body
    assert (shown["audited"], shown["notes"], shown["meta"]) == (3, "Case 7", {"case": 7})
    assert shown["import"]["status"] == "importing"


def test_copies_that_were_references_would_be_gone(
    auditor: Api, services: MailServices, user: MadeUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: whoever reads the user's own messages in place of copies finds them changed."""

    def of_user(self: audits.Audits, case: audits.AuditCase) -> object:
        for oid, _ in self._messages(case):
            yield b"".join(self._content.open(case.user_id, oid).read())

    monkeypatch.setattr(audits.Audits, "_mbox", of_user)
    with pytest.raises(Exception):  # noqa: B017  whichever way it breaks
        test_copies_stay_whatever_the_user_does(auditor, services, user, tmp_path)


def test_mail_that_comes_is_copied_until_the_end(auditor: Api, services: MailServices, user: MadeUser) -> None:
    deliver(services, message(b"one"), user)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    running = begin(auditor, user, end=tomorrow.isoformat(), start="")
    over = begin(auditor, user, end="2020-01-01T00:00:00Z", start=False)
    services.audits.copy_due()
    deliver(services, message(b"two"), user)
    services.placement.directory.database["audits"].update_many(
        {}, {"$set": {"next_at": datetime(2000, 1, 1, tzinfo=UTC)}}
    )
    services.audits.copy_due()
    assert auditor.get(f"/audit/{running}").body["audited"] == 2
    ended = auditor.get(f"/audit/{over}").body
    assert (ended["audited"], ended["import"]["status"]) == (0, "imported")
    assert auditor.get(f"/audit/{over}/export.mbox").raw == b""


def test_a_worker_that_was_cut_off_goes_on(
    auditor: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        deliver(services, message(b"message %d" % number), user)
    audit = begin(auditor, user)
    put = AuditPieces.put
    done: list[int] = []

    def dying(*arguments: object) -> None:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(1)
        put(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(AuditPieces, "put", dying)
        with pytest.raises(KeyboardInterrupt):
            services.audits.copy_due()
    services.placement.directory.database["audits"].update_one(
        {"_id": ObjectId(audit)}, {"$set": {"next_at": datetime(2000, 1, 1, tzinfo=UTC)}}
    )
    assert services.audits.copy_due() == 2
    assert auditor.get(f"/audit/{audit}").body["audited"] == 3


def test_creating_and_exporting_are_events_with_their_actor(
    auditor: Api, services: MailServices, user: MadeUser
) -> None:
    audit = begin(auditor, user)
    auditor.get(f"/audit/{audit}/export.mbox")
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    events = [one for one in services.events.read(user.tenant_id, limit=1000).events if one.kind.startswith("audit.")]
    assert [one.kind for one in events] == ["audit.created", "audit.exported"]
    assert all(re.fullmatch("token [0-9a-f]{24} “test”", one.actor.identity) for one in events)
    assert all(one.user_id == user.user_id for one in events)


def test_it_is_nobody_elses(
    auditor: Api, tenant: Api, own: Api, app: Application, services: MailServices, user: MadeUser
) -> None:
    """Not even the root of the tenant reads it without a token made for audits; another tenant's auditor finds none."""
    audit = begin(auditor, user)
    stranger = make_user(services)
    theirs = Api(app, token(services, owner_of_tenant(stranger.tenant_id), Role.AUDIT))
    reader = Api(app, token(services, owner_of_tenant(user.tenant_id), Role.AUDIT_CLIENT))
    for path in (f"/audit/{audit}", f"/audit/{audit}/export.mbox"):
        assert tenant.get(path).body["code"] == own.get(path).body["code"] == "MissingPrivileges"
        answer = theirs.get(path)
        assert (answer.status, answer.body["code"]) == (404, "AuditNotFoundError")
        assert reader.get(path).status == 200
    assert theirs.post("/audit", {"user": str(user.user_id), "expires": LATER}).body["code"] == "UserNotFound"
    assert reader.post("/audit", {"user": str(user.user_id), "expires": LATER}).body["code"] == "MissingPrivileges"
    for text in ("x", "0" * 24, "$ne"):
        assert auditor.get(f"/audit/{text}").body["code"] == "AuditNotFoundError"


def test_it_expires(auditor: Api, services: MailServices, user: MadeUser) -> None:
    audit = begin(auditor, user)
    services.placement.directory.database["audits"].update_one(
        {"_id": ObjectId(audit)}, {"$set": {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}}
    )
    assert auditor.get(f"/audit/{audit}").body["code"] == "AuditNotFoundError"
    indexes = services.placement.home(user.user_id).shard.hot["audit_pieces"].index_information()
    assert indexes["expires_at"]["expireAfterSeconds"] == 0
    past = auditor.post("/audit", {"user": str(user.user_id), "expires": "2020-01-01T00:00:00Z"})
    assert past.body["code"] == "InputValidationError"


def test_no_method_changes_or_removes_a_copy() -> None:
    """Of the service and of its store: they make and read."""
    methods = {name for name, _ in inspect.getmembers(audits.Audits, inspect.isfunction) if name[0] != "_"}
    assert methods == {"create", "get", "export", "copy_due"}
    stored = {name for name, _ in inspect.getmembers(AuditPieces, inspect.isfunction) if name[0] != "_"}
    assert stored == {"put", "copied", "read"}


def test_an_export_is_read_page_by_page(auditor: Api, services: MailServices, user: MadeUser) -> None:
    case = services.audits.get(ObjectId(begin(auditor, user)))
    pieces = services.placement.home(user.user_id).shard.audit_pieces
    for number in range(30):
        oid = number.to_bytes(12)
        pieces.put(
            UserId(case.user_id), case.id, oid, datetime.now(UTC), [b"a: b\r\n\r\n", b"x" * 1000], case.expires_at
        )
    found = list(pieces.read(case.user_id, case.id))
    assert len(found) == 60
    assert sum(piece.arrived_at is not None for piece in found) == 30


@pytest.mark.parametrize("size", [1, 2, 3, 7, 5000])
def test_lines_that_look_like_the_begin_of_a_message_are_quoted_however_they_are_cut(size: int) -> None:
    raw = b"Subject: x\r\n\r\nFrom me\r\n>From you\r\nnot From\r\n" + b"y" * 3000 + b"From z\r\nFrom end"
    wanted = b"Subject: x\r\n\r\n>From me\r\n>>From you\r\nnot From\r\n" + b"y" * 3000 + b"From z\r\n>From end\r\n\r\n"
    quoting = _Quoting()
    got = b"".join(quoting.quoted(raw[at : at + size]) for at in range(0, len(raw), size)) + quoting.end()
    assert got == wanted
