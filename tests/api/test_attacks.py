"""Attacks through the API: fields that words make (M8), names that lead elsewhere (W20), races for room (W21)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcore.api.application import Application
from mailcore.errors import OverQuota
from mailcore.message import fields_out
from mailcore.message.headers import header_size, iter_fields
from mailcore.model.roles import Role
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.content.content import ContentStore
from mailcore.services.mailboxes import mailboxes as mailboxes_module
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.mailboxes.transfers import Transfers
from mailcore.services.tenants import quotas
from tests.api.conftest import Api, token
from tests.builders import OPERATOR, MadeUser, make_user

CONTROLS = st.sampled_from(["\r\n", "\n", "\r", "\x00", "\x0b", "\x85", "\u2028", "\u2029", "\x7f", "\x1b"])
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=80)
TEXTS = st.one_of(WORDS, st.tuples(WORDS, CONTROLS, WORDS).map("".join), st.just("x\r\nBcc: evil@example.net"))


def message_of(values: list[str], own: str) -> dict[str, Any]:
    """A message with a stranger's words wherever there is room for some."""
    name, subject, header, filename, content_id, reply_name, description = values
    return {
        "from": {"name": name, "address": own},
        "replyTo": {"name": reply_name, "address": own},
        "to": [{"name": name, "address": "x@example.org"}, {"name": reply_name, "address": "y@example.org"}],
        "cc": [{"name": subject, "address": "z@example.org"}],
        "subject": subject,
        "text": header,
        "html": f"<p>{description}",
        "headers": [{"key": "X-Note", "value": header}, {"key": "X-Other", "value": description}],
        "attachments": [{"filename": filename, "cid": content_id, "content": "eA==", "contentType": description}],
    }


NAMES = ["date", "message-id", "from", "reply-to", "to", "cc", "subject", "x-note", "x-other", "mime-version"]
PART_NAMES = {"content-type", "content-transfer-encoding", "content-disposition", "content-id"}


def names_of(raw: bytes) -> list[str]:
    return [field.name.decode() for field in iter_fields(raw[: header_size(raw)])]


def check_fields(api: Api, path: str, values: list[str], own: str) -> bool:
    """A message has the fields it was given, and no other; return whether it was taken."""
    answer = api.post(path, message_of(values, own))
    if answer.status == 400:
        assert answer.body["code"] == "InputValidationError", answer.body
        return False
    assert answer.status == 200, answer.body
    uid = answer.body["message"]["id"]
    raw = api.get(f"{path}/{uid}/message.eml").raw
    expected = [name for name in NAMES if name != "subject" or values[1]]
    assert names_of(raw) == [*expected, "content-type"]
    body = raw[header_size(raw) :]
    for part in body.split(b"\r\n--=_")[1:-1]:
        inside = part.partition(b"\r\n")[2]
        assert set(names_of(inside)) <= PART_NAMES, inside[:300]
    assert b"\r\nBcc:" not in raw[: header_size(raw)]
    return True


@given(st.tuples(WORDS, WORDS, WORDS, WORDS, st.sampled_from(["", "<p@x>"]), WORDS, WORDS), st.integers(0, 20), TEXTS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_word_makes_a_field_of_its_own(
    own: Api, user: MadeUser, values: tuple[str, ...], place: int, odd: str
) -> None:
    """Attack M8: any words anywhere, now and then with a line end or what some reader takes for one."""
    words = list(values)
    words[place % 7] = odd if place < 7 else words[place % 7]
    check_fields(own, drafts(own), words, user.address)


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\x00", "\u2028"], ids=repr)
def test_control_characters_are_refused(own: Api, user: MadeUser, place: int, control: str) -> None:
    """Attack M8: 400, with the field that is at fault; a text has lines, so it may hold what ends some."""
    values = ["plain"] * 7
    values[place] = f"a{control}X-Evil: b"
    said = message_of(values, user.address)
    said["attachments"][0]["contentType"] = ""
    answer = own.post(drafts(own), said)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    assert answer.body["details"]


def test_encoded_line_ends_stay_encoded(own: Api, user: MadeUser) -> None:
    values = [
        "=?utf-8?q?a=0d=0aX-Evil:_b?=",
        "=?utf-8?b?YQ0KWC1FdmlsOiBi?=",
        "%0d%0aX-Evil: b",
        "a%0d%0ab",
        "a",
        "=0D=0A",
        "",
    ]
    assert check_fields(own, drafts(own), values, user.address)


@pytest.mark.parametrize("key", ["Bcc", "From", "Content-Type", "Received", "DKIM-Signature", "a b", "x:y", "ä", ""])
def test_fields_with_a_place_of_their_own_are_not_given_twice(own: Api, key: str) -> None:
    answer = own.post(drafts(own), {"subject": "x", "headers": [{"key": key, "value": "x"}]})
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")


def test_words_written_as_they_come_would_be_seen(own: Api, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of M8: nothing looks for control characters."""
    monkeypatch.setattr(fields_out, "check_line", lambda _, text, *__: text)
    monkeypatch.setattr("mailcore.api.composition.check_line", lambda _, text, *__: text)
    values = ["a", "b", "x\r\nX-Evil: b", "f.txt", "c", "r", "d"]
    with pytest.raises(AssertionError):
        check_fields(own, drafts(own), values, user.address)


def drafts(api: Api) -> str:
    return f"/users/me/mailboxes/{api.get('/users/me/mailboxes/resolve?path=Drafts').body['id']}/messages"


# -- W20 ----------------------------------------------------------------------------------------

ODD_NAMES = [
    "../INBOX", "..", ".", "INBOX/../Sent Mail", "/etc/passwd", "//", "a//b", "/", "a/", "nul\x00", "a\r\nb", "~root",
    "%", "*", "#shared/x", "Shared/x@example.org/INBOX", "&AEE-", "&-", "$ne", "%2e%2e%2f", "C:\\x", "a" * 256,
    "x/" * 10_000 + "y", "inbox", "ＩＮＢＯＸ", "A\u030a", "\u202egnp.exe", "\ud7ff", "INBOX/Sub",
]  # fmt: skip


def check_names(api: Api, services: MailServices, user: MadeUser, other: MadeUser) -> None:
    """Each name is refused or is exactly that of a new mailbox of the user's own; nobody else's tree changes."""
    others = services.mailboxes.tree(other.user_id)
    known = {entry.name: entry.id for entry in services.mailboxes.tree(user.user_id)}
    for name in ODD_NAMES:
        answer = api.post("/users/me/mailboxes", {"path": name})
        if answer.status != 200:
            assert answer.status == 400, (name, answer.body)
            assert answer.body["code"] in {"InputValidationError", "MailboxExistsError"}, (name, answer.body)
            continue
        found = api.get(f"/users/me/mailboxes/{answer.body['id']}").body["path"]
        assert found not in known
        assert "//" not in found
        assert "\x00" not in found
        assert len(found.split("/")) <= 32
        assert api.get("/users/me/mailboxes/resolve", query_string={"path": found}).body.get("id") == answer.body["id"]
        assert api.delete(f"/users/me/mailboxes/{answer.body['id']}").status == 200
    assert {entry.name: entry.id for entry in services.mailboxes.tree(user.user_id)} == known
    assert services.mailboxes.tree(other.user_id) == others


def test_no_name_leads_elsewhere(own: Api, services: MailServices, user: MadeUser) -> None:
    """Attack W20, by every operation that takes the name of a mailbox."""
    other = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    check_names(own, services, user, other)
    inbox = own.get("/users/me/mailboxes/resolve?path=INBOX").body["id"]
    made = own.post("/users/me/mailboxes", {"path": "Plain"}).body["id"]
    for name in ODD_NAMES:
        found = own.get("/users/me/mailboxes/resolve", query_string={"path": name})
        assert found.status in {200, 400, 404}
        assert found.status != 200 or found.body["id"] in {inbox, made}, name
        assert own.put(f"/users/me/mailboxes/{made}", {"path": name}).status in {200, 400}
    theirs = services.mailboxes.find(other.user_id, "INBOX").id
    for text in (f"../{theirs}", str(theirs), f"{inbox}%2F..%2F{theirs}", "..", "%00", "resolve/"):
        answer = own.get(f"/users/me/mailboxes/{text}/messages")
        assert answer.status == 404, (text, answer.body)
    named = f"Shared/{other.address}/INBOX"
    assert own.get("/users/me/mailboxes/resolve", query_string={"path": named}).status == 404


def test_a_name_that_is_taken_as_it_comes_would_be_seen(
    own: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of W20: names have no form that they must have."""
    monkeypatch.setattr(mailboxes_module, "parse_mailbox_name", lambda text: text)
    with pytest.raises(AssertionError):
        check_names(own, services, user, make_user(services))


# -- W21 ----------------------------------------------------------------------------------------

AT_ONCE = 50
SIZE = 4000
FITTING = 7


class _Crowd:
    """Lets nobody store anything before all have asked for room."""

    def __init__(self, people: int) -> None:
        self._people = people
        self._asked = 0
        self._lock = threading.Lock()
        self.all_asked = threading.Event()

    def asked(self) -> None:
        with self._lock:
            self._asked += 1
            if self._asked >= self._people:
                self.all_asked.set()


def race(app: Application, services: MailServices, work: Callable[[Api, int], int], user: MadeUser) -> list[int]:
    """Do it fifty times at once; return the statuses."""
    owner = services.tokens.owner_of_user(user.user_id)
    text = token(services, owner, Role.USER)
    ready = threading.Barrier(AT_ONCE)
    statuses: list[int] = []

    def one(number: int) -> None:
        api = Api(app, text)
        ready.wait(30)
        statuses.append(work(api, number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return statuses


def check_uploads_at_the_limit(
    app: Application, services: MailServices, user: MadeUser, own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fifty uploads at once as many are taken as fit, and not one more."""
    inbox = own.get("/users/me/mailboxes/resolve?path=INBOX").body["id"]
    path = f"/users/me/mailboxes/{inbox}/messages"
    crowd = _Crowd(AT_ONCE)
    check, put = quotas.Quotas.check, ContentStore.put

    def counting(self: quotas.Quotas, *arguments: Any) -> None:
        try:
            check(self, *arguments)
        finally:
            crowd.asked()

    def patient(self: ContentStore, *arguments: Any, **named: Any) -> Any:
        crowd.all_asked.wait(10)
        return put(self, *arguments, **named)

    monkeypatch.setattr(quotas.Quotas, "check", counting)
    monkeypatch.setattr(ContentStore, "put", patient)
    raw = b"Subject: x\r\n\r\n".ljust(SIZE, b"x")

    def upload(api: Api, _: int) -> int:
        return api.post(path, None, data=raw, content_type="message/rfc822").status

    statuses = race(app, services, upload, user)
    assert sorted(set(statuses)) == [200, 400]
    assert statuses.count(200) == FITTING
    assert services.quotas.use(user.user_id, fresh=True) == FITTING * SIZE


@pytest.fixture
def full_soon(services: MailServices) -> MadeUser:
    return make_user(services, quota_bytes=FITTING * SIZE + SIZE // 2)


@pytest.fixture
def of_full_soon(app: Application, services: MailServices, full_soon: MadeUser) -> Api:
    return Api(app, token(services, services.tokens.owner_of_user(full_soon.user_id), Role.USER))


def test_uploads_at_once_do_not_pass_the_quota(
    app: Application, services: MailServices, full_soon: MadeUser, of_full_soon: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack W21."""
    check_uploads_at_the_limit(app, services, full_soon, of_full_soon, monkeypatch)


def test_room_that_nobody_holds_would_be_seen(
    app: Application, services: MailServices, full_soon: MadeUser, of_full_soon: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of W21: each looks what there is, and nobody what the others are about to store."""

    def take(self: quotas.Quotas, user_id: Any, incoming_bytes: int, hold: Any) -> None:
        self.forget(user_id)
        self.check(user_id, incoming_bytes)

    monkeypatch.setattr(quotas.Quotas, "_take_hold", take)
    with pytest.raises(AssertionError):
        check_uploads_at_the_limit(app, services, full_soon, of_full_soon, monkeypatch)


def test_nobody_else_takes_room_that_is_held(services: MailServices, full_soon: MadeUser) -> None:
    """Attack W21: uploads, copies and moves to another user ask for room by one method."""
    with ExitStack() as held:
        for _ in range(FITTING):
            held.enter_context(services.quotas.reserved(full_soon.user_id, SIZE))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quotas, "PATIENCE_S", 0.0)
            with pytest.raises(OverQuota), services.quotas.reserved(full_soon.user_id, SIZE):
                pass
    with services.quotas.reserved(full_soon.user_id, FITTING * SIZE):
        pass
    assert services.quotas._holds == {}


def check_copies_at_the_limit(services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fifty copies at once as many are made as fit, and not one more; the same message lies behind all."""
    services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: x\r\n\r\n".ljust(SIZE, b"x"))])
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    crowd = _Crowd(AT_ONCE)
    check, push = quotas.Quotas.check, Transfers._push_rows

    def counting(self: quotas.Quotas, *arguments: Any) -> None:
        try:
            check(self, *arguments)
        finally:
            crowd.asked()

    def patient(self: Transfers, *arguments: Any) -> Any:
        crowd.all_asked.wait(10)
        return push(self, *arguments)

    monkeypatch.setattr(quotas.Quotas, "check", counting)
    monkeypatch.setattr(Transfers, "_push_rows", patient)
    made: list[UidSet] = []

    def copy() -> None:
        with suppress(OverQuota):
            made.append(services.messages.copy(user.user_id, OPERATOR, inbox, UidSet.of([1]), "Archive").target)

    threads = [threading.Thread(target=copy) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == FITTING - 1
    assert services.quotas.use(user.user_id, fresh=True) == FITTING * SIZE


def test_copies_at_once_do_not_pass_the_quota(
    services: MailServices, full_soon: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack W21."""
    check_copies_at_the_limit(services, full_soon, monkeypatch)


def test_copies_that_hold_no_room_would_be_seen(
    services: MailServices, full_soon: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of W21."""

    @contextmanager
    def only_looking(self: quotas.Quotas, user_id: Any, incoming_bytes: int) -> Iterator[None]:
        self.forget(user_id)
        self.check(user_id, incoming_bytes)
        yield

    monkeypatch.setattr(quotas.Quotas, "reserved", only_looking)
    with pytest.raises(AssertionError):
        check_copies_at_the_limit(services, full_soon, monkeypatch)
