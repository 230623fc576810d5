"""Posts to moderated groups: they wait in the moderator's own account, and members get what was let go, once."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from flask import Flask

from mailcore.model.ids import UserId
from mailcore.model.outbound import EntryState, Reason
from mailcore.services import MailServices
from portal.own import posts
from tests.builders import OPERATOR
from tests.portal.conftest import Browser, MadeOrganisation
from tests.portal.people import browser_of_user, domain_of, queued, user_of
from tests.services.inbound_mail import SENDER, take
from tests.services.inbound_mail import mail as post

PATH = re.compile(r'action="(/account/posts/[0-9a-f]{24}/release)"')


@dataclass
class Scene:
    """A group of two with a moderator, who is signed in."""

    mail: MailServices
    moderator: UserId
    group: str
    browser: Browser

    def arrives(self, text: str, *fields: str) -> None:
        assert take(self.mail, post(self.group, *fields, body=text), self.group) == [None]

    def states(self) -> list[EntryState]:
        return [one.state for one in self.mail.outbound.list_of_user(self.moderator, waiting=False)]


@pytest.fixture
def scene(portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation) -> Scene:
    moderator = user_of(mail_services, organisation, "Ada Lovelace")
    domain = domain_of(mail_services, organisation.organisation.tenant_id)
    group = f"all@{domain}"
    members = ["bob@else.test", mail_services.users.get(moderator).address]
    mail_services.groups.create(OPERATOR, organisation.organisation.tenant_id, group, members, moderators=[moderator])
    return Scene(mail_services, moderator, group, browser_of_user(portal_app, mail_services, moderator))


def decide(scene: Scene, act: str) -> str:
    found = PATH.search(scene.browser.get("/account/posts/").text)
    assert found is not None
    answer = scene.browser.post(found[1].replace("release", act))
    assert answer.status_code == 303
    return scene.browser.get("/account/posts/").text


def test_a_post_waits_is_read_and_is_let_go(scene: Scene) -> None:
    assert "waits for you to decide" not in scene.browser.get("/account/").text
    scene.arrives("Supper is ready")
    assert "1 post to a group waits for you to decide" in scene.browser.get("/account/").text
    page = scene.browser.get("/account/posts/").text
    assert "Supper is ready" in page
    assert SENDER in page
    page = decide(scene, "release")
    assert "Every member gets it now." in page
    assert "Nothing to decide about" in page
    assert scene.states() == [EntryState.QUEUED]


def test_a_declined_post_reaches_nobody(scene: Scene) -> None:
    scene.arrives("Spam")
    assert "Nobody gets it" in decide(scene, "decline")
    assert EntryState.QUEUED not in scene.states()
    assert EntryState.HELD not in scene.states()


def test_a_post_to_many_is_decided_about_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one message was cut into goes together."""
    monkeypatch.setattr("mailcore.services.inbound.onward.batches", lambda members: [[each] for each in members])
    scene.arrives("Cut")
    scene.arrives("Another")
    assert len(PATH.findall(scene.browser.get("/account/posts/").text)) == 2
    decide(scene, "release")
    assert sorted(scene.states()) == [EntryState.HELD] * 2 + [EntryState.QUEUED] * 2


def test_nothing_else_that_is_held_and_nobody_elses_is_decided_about_here(
    scene: Scene, portal_app: Flask, organisation: MadeOrganisation
) -> None:
    held = queued(scene.mail, scene.moderator, held="administrator")
    scene.arrives("Supper")
    other = browser_of_user(portal_app, scene.mail, user_of(scene.mail, organisation, "Bob"))
    found = PATH.search(scene.browser.get("/account/posts/").text)
    assert found is not None
    for browser, path in (
        (scene.browser, f"/account/posts/{held}/release"),
        (other, found[1]),
        (scene.browser, found[1].replace("release", "hold")),
    ):
        assert browser.post(path).status_code == 404
    assert set(scene.states()) == {EntryState.HELD}
    assert scene.browser.get("/account/sent/").text.count("Supper") == 0


def test_control_an_entry_that_is_a_post_is_decided_about(scene: Scene) -> None:
    """What the test above asks for is refused for what it is, and not because nothing is found by its path."""
    held = queued(scene.mail, scene.moderator, held="administrator", reason=Reason.MODERATION)
    assert scene.browser.post(f"/account/posts/{held}/release").status_code == 303


@pytest.mark.parametrize(
    "field",
    [
        "X-Plain: yes",
        "Content-Type: text/plain; charset=nonsense",
        "Content-Type: multipart/mixed",
        "Content-Type: text/html",
    ],
)
def test_whatever_a_stranger_writes_is_shown_as_text_or_not_at_all(scene: Scene, field: str) -> None:
    scene.arrives("<script>alert(1)</script>", field)
    page = scene.browser.get("/account/posts/").text
    assert "<script>alert" not in page
    assert ("&lt;script&gt;alert" in page) == (field == "X-Plain: yes")
    assert "Let it go to every member" in page


ALTERNATIVE = (
    "--b\r\nContent-Type: text/plain\r\n\r\n{}\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n"
    "Content-Transfer-Encoding: base64\r\n\r\nPHA+U3VwcGVyIGlzIDxiPnLDpGFkeTwvYj48L3A+\r\n--b--"
)
"""Its HTML says: <p>Supper is <b>räady</b></p>"""


@pytest.mark.parametrize(
    ("field", "text", "shown"),
    [
        ("text/html", "<style>p { color: red }</style><p>A &amp; <b>wine</b></p><div>Ada</div>", "A &amp; wine\nAda"),
        ("text/html; charset=utf-7", "<p>half +2AA- a letter</p>", "half ? a letter"),
        ("text/html", "&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("multipart/alternative; boundary=b", ALTERNATIVE.format(""), "Supper is räady"),
        ("multipart/alternative; boundary=b", ALTERNATIVE.format("In words"), "In words"),
        ("text/html", "<img src=x.png>", ""),
    ],
)  # fmt: skip
def test_of_a_post_without_plain_text_is_shown_what_its_html_says(
    scene: Scene, field: str, text: str, shown: str
) -> None:
    scene.arrives(text, f"Content-Type: {field}", "MIME-Version: 1.0")
    page = scene.browser.get("/account/posts/").text
    found = re.findall(r'<pre tabindex="0" class="post">(.*?)</pre>', page, re.DOTALL)
    assert found == ([shown] if shown else [])
    assert ("It has no text that could be shown here." in page) == (not shown)


def test_only_the_beginning_of_a_post_is_read() -> None:
    pieces = iter([b"Subject: long\r\n\r\n", *[b"x" * 4096] * 1000])
    assert posts.beginning(pieces).startswith(b"Subject: long")
    assert sum(1 for _ in pieces) > 900
