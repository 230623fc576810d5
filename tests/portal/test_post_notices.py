"""Moderators hear that a post waits, once and seldom; who sent what was declined hears of it if they wish so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

import pytest
from flask import Flask
from redis import Redis

from mailcore.model.ids import UserId
from mailcore.model.outbound import EntryState, OutboundEntry
from mailcore.services import MailServices
from mailcore.services.outbound.posts import Posts
from portal.mail_plane import EXTENSION, Portal
from portal.own import post_notices
from portal.own.post_notices import DECLINED, WAITS, tell_moderators
from tests.builders import OPERATOR
from tests.portal.conftest import Browser, MadeOrganisation, make_organisation
from tests.portal.people import browser_of_user, domain_of, user_of
from tests.services.inbound_mail import SENDER, take
from tests.services.inbound_mail import mail as post
from workers.context import JobContext
from workers.jobs import posts as job

PATH = re.compile(r'action="(/account/posts/[0-9a-f]{24}/)release"')


@dataclass
class Scene:
    """A group with two moderators, one who reads German, and a portal that can write to them."""

    portal: Portal
    mail: MailServices
    sender: UserId
    ada: UserId
    bob: UserId
    group: str
    ada_reads: Browser
    bob_reads: Browser
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def arrives(self, *fields: str, sender: str = SENDER) -> None:
        assert take(self.mail, post(self.group, *fields, sender=sender), self.group, sender=sender) == [None]

    def tell(self, hours: int = 0) -> int:
        """Tell everybody's moderators; return how many mails those of this group got."""
        before = len(self.written())
        tell_moderators(self.mail, self.portal.settings, self.at + timedelta(hours=hours))
        return len(self.written()) - before

    def address(self, user_id: UserId) -> str:
        return self.mail.users.get(user_id).address

    def written(self) -> list[tuple[OutboundEntry, EmailMessage]]:
        """What the portal wrote to somebody of this domain or outside, oldest first; others' posts may wait as well."""
        domains = {self.group.partition("@")[2], "outside.test"}
        found = [
            one for one in self.mail.outbound.list_of_user(self.sender)[::-1] if _to(one).partition("@")[2] in domains
        ]
        return [(one, _parsed(b"".join(self.mail.outbound.content(self.sender, one.id).read()))) for one in found]

    def decides(self, browser: Browser, act: str, values: dict[str, str] | None = None) -> str:
        found = PATH.search(browser.get("/account/posts/").text)
        assert found is not None
        assert browser.post(found[1] + act, values or {}).status_code == 303
        return browser.get("/account/posts/").text


def _parsed(raw: bytes) -> EmailMessage:
    return cast("EmailMessage", message_from_bytes(raw, policy=policy.default))


@pytest.fixture
def scene(portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation) -> Scene:
    services = mail_services
    sender = user_of(services, make_organisation(services), "Eider")
    ada, bob = (user_of(services, organisation, name) for name in ("Ada", "Bob"))
    services.users.set_settings(OPERATOR, ada, {"language": "de-AT"})
    tenant_id = organisation.organisation.tenant_id
    group = f"all@{domain_of(services, tenant_id)}"
    services.groups.create(OPERATOR, tenant_id, group, ["eve@else.test"], moderators=[ada, bob])
    parts: Portal = portal_app.extensions[EXTENSION]
    portal = replace(parts, settings=replace(parts.settings, sender=services.users.get(sender).address))
    browsers = [browser_of_user(portal_app, services, one) for one in (ada, bob)]
    return Scene(portal, services, sender, ada, bob, group, *browsers)


@pytest.fixture
def can_write(scene: Scene, portal_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(portal_app.extensions, EXTENSION, scene.portal)


def told_once_an_hour(scene: Scene) -> None:
    """Two posts at once and one later are two mails to each moderator, and each post is told of once."""
    scene.arrives()
    scene.arrives()
    assert scene.tell() == 2
    scene.arrives("Subject: Later")
    assert scene.tell() == 0
    assert scene.tell(hours=1) == 2
    assert scene.tell(hours=2) == 0
    texts = [message.get_content() for entry, message in scene.written() if _to(entry) == scene.address(scene.bob)]
    assert [text.count("From: ") for text in texts] == [2, 1]


def _to(entry: OutboundEntry) -> str:
    return entry.recipients[0].address


def test_every_moderator_is_told_in_the_own_language_where_to_decide(scene: Scene) -> None:
    scene.arrives()
    scene.tell()
    found = {_to(entry): (entry, message) for entry, message in scene.written()}
    assert found.keys() == {scene.address(scene.ada), scene.address(scene.bob)}
    for entry, message in found.values():
        assert entry.reverse_path == ""
        assert message["Auto-Submitted"] == "auto-generated"
        text = message.get_content()
        for part in (scene.group, SENDER, "Lunch ", f"{scene.portal.settings.public_url}/account/posts/"):
            assert part in text
    assert found[scene.address(scene.ada)][1]["Subject"] == "1 Beitrag wartet auf Ihre Entscheidung"
    assert found[scene.address(scene.bob)][1]["Subject"] == "1 post waits for you to decide"


def test_a_moderator_is_told_of_each_post_once_and_once_an_hour_at_most(scene: Scene) -> None:
    told_once_an_hour(scene)


def test_control_without_the_note_they_are_told_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Posts, "note_told", lambda *_: None)
    with pytest.raises(AssertionError):
        told_once_an_hour(scene)


def test_control_without_the_look_at_what_was_sent_they_lose_what_came_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_notices, "is_queued", lambda *_: False)
    with pytest.raises(AssertionError):
        told_once_an_hour(scene)


def test_who_cannot_be_written_to_now_is_told_by_the_next_run(scene: Scene, redis_url: str) -> None:
    scene.arrives()
    settings = replace(scene.portal.settings, sender="")
    assert tell_moderators(scene.mail, settings, scene.at) == 0
    redis = Redis.from_url(redis_url)
    assert job.tell(JobContext(scene.mail, redis)) == 0
    for _ in range(2):
        job.tell(JobContext(scene.mail, redis, scene.portal))
        assert len(scene.written()) == 2


def comes_back(scene: Scene) -> None:
    """A moderator who sends all mail on to the group is told of no mail that told of one."""
    scene.arrives()
    scene.tell()
    (own,) = [message for entry, message in scene.written() if _to(entry) == scene.address(scene.bob)]
    assert take(scene.mail, own.as_bytes(), scene.group, sender="") == [None]
    assert len(scene.mail.posts.list_recent()) >= 2
    assert scene.tell(hours=1) == 0


def test_our_own_mail_that_comes_back_to_the_group_makes_no_loop(scene: Scene) -> None:
    comes_back(scene)


def test_control_a_loop_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_notices, "is_ours", lambda *_: False)
    with pytest.raises(AssertionError):
        comes_back(scene)


def test_any_moderator_decides_and_who_is_none_any_more_does_not(scene: Scene, organisation: MadeOrganisation) -> None:
    scene.arrives()
    assert PATH.search(scene.ada_reads.get("/account/posts/").text) is not None
    scene.mail.groups.update(OPERATOR, organisation.organisation.tenant_id, scene.group, moderators=[scene.bob])
    assert PATH.search(scene.ada_reads.get("/account/posts/").text) is None
    assert "1 post to a group waits" in scene.bob_reads.get("/account/").text
    assert "Every member gets it now." in scene.decides(scene.bob_reads, "release")
    (entry,) = scene.mail.outbound.list_of_user(scene.ada)
    assert entry.state is EntryState.QUEUED


def test_posts_under_one_message_id_are_decided_about_apart(scene: Scene) -> None:
    """Who has seen one of them lets that one go, and not what hides behind its name."""
    for words in ("one", "two"):
        raw = post(scene.group, body=words)
        raw = re.sub(rb"Message-ID: <\d+@", b"Message-ID: <same@", raw)
        assert take(scene.mail, raw, scene.group) == [None]
    scene.decides(scene.bob_reads, "release")
    states = [one.state for one in scene.mail.outbound.list_of_user(scene.ada)]
    assert sorted(states) == [EntryState.HELD, EntryState.QUEUED]


@pytest.mark.usefixtures("can_write")
def test_a_sender_is_told_of_a_declined_post_with_the_reason(scene: Scene) -> None:
    scene.arrives()
    page = scene.decides(scene.bob_reads, "decline", {"tell": "1", "reason": "Wrong list.\r\nAsk the harbour.\x07"})
    assert "the sender is told" in page
    ((entry, message),) = scene.written()
    assert (_to(entry), entry.reverse_path) == (SENDER, "")
    assert message["Auto-Submitted"] == "auto-replied"
    assert re.fullmatch(r"<\d+@outside\.test>", message["In-Reply-To"])
    assert message["References"] == message["In-Reply-To"]
    assert message["Message-ID"].endswith(f".{DECLINED}@{scene.address(scene.sender).partition('@')[2]}>")
    text = message.get_content().replace("\r\n", "\n")
    assert "Wrong list.\nAsk the harbour.\n" in text
    assert "Lunch " in text
    assert "\x07" not in text


@pytest.mark.usefixtures("can_write")
def test_a_sender_here_is_told_in_the_own_language(scene: Scene) -> None:
    short = f"a@{scene.group.partition('@')[2]}"  # fits into a reverse-path that is rewritten
    scene.mail.addresses.create(OPERATOR, scene.ada, short)
    scene.arrives(sender=short)
    scene.decides(scene.bob_reads, "decline", {"tell": "1"})
    ((entry, message),) = scene.written()
    assert _to(entry) == short
    assert message["Subject"].strip() == f"Ihre Nachricht an {scene.group} wurde abgelehnt"


@pytest.mark.usefixtures("can_write")
def test_nobody_is_told_who_was_not_to_be(scene: Scene) -> None:
    scene.arrives()
    assert "Nobody gets it." in scene.decides(scene.bob_reads, "decline", {"reason": "Spam"})
    assert scene.written() == []


@pytest.mark.usefixtures("can_write")
@pytest.mark.parametrize(
    ("sender", "fields"),
    [
        pytest.param("", (), id="null reverse-path"),
        pytest.param("mailer-daemon@outside.test", (), id="a program"),
        pytest.param(SENDER, ("Auto-Submitted: auto-replied",), id="an answer"),
        pytest.param(SENDER, ("List-Id: <news.outside.test>",), id="a list"),
        pytest.param(SENDER, ("Precedence: bulk",), id="bulk"),
    ],
)
def test_what_a_program_sent_is_never_answered(scene: Scene, sender: str, fields: tuple[str, ...]) -> None:
    """RFC 3834 §2, also if somebody asks for it who was not offered it."""
    scene.arrives(*fields, sender=sender)
    assert "tell the sender" not in scene.bob_reads.get("/account/posts/").text
    assert "could not be told" in scene.decides(scene.bob_reads, "decline", {"tell": "1"})
    assert scene.written() == []


@pytest.mark.usefixtures("can_write")
def test_control_what_somebody_wrote_is_offered_to_be_answered(scene: Scene) -> None:
    scene.arrives()
    assert "tell the sender" in scene.bob_reads.get("/account/posts/").text


def test_hostile_fields_stay_one_line_each(scene: Scene) -> None:
    scene.arrives("X-Subject: no", sender='"a\x01b"@outside.test')
    scene.tell()
    (_, message), *_ = scene.written()
    assert "\x01" not in message.get_content()
    assert message["Message-ID"].endswith(f".{WAITS}@{scene.address(scene.sender).partition('@')[2]}>")
