"""Addresses outside that mail is sent on to: asked by mail, confirmed by a button, and the user hears of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import count
from typing import Any, cast

import pytest
from flask import Flask

from mailcore.errors import ScriptInvalid
from mailcore.model.filter import RuleAction, RuleContent, of_user
from mailcore.model.ids import UserId
from mailcore.model.outbound import Reason
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from portal import notices
from portal.mail_plane import EXTENSION, Portal
from portal.own.sessions import acting
from portal.permissions import Role
from tests.builders import OPERATOR
from tests.portal.conftest import Browser, MadeOrganisation, browser_of, make_organisation
from tests.portal.people import browser_of_user, user_of
from tests.services.inbound_mail import mail as post
from tests.services.inbound_mail import take
from workers.context import JobContext
from workers.jobs import targets as job

LINK = re.compile(r"http\S+(/confirm-forwarding/\S+)")
_numbers = count(1)


@dataclass
class Scene:
    """Somebody who reads German and is signed in, and a portal that can write."""

    portal: Portal
    mail: MailServices
    sender: UserId
    ada: UserId
    browser: Browser
    visitor: Browser
    target: str

    @property
    def address(self) -> str:
        return self.mail.users.get(self.ada).address

    def wants(self, target: str) -> str:
        answer = self.browser.post("/account/away/forwarding", {"targets": target})
        assert answer.status_code == 303
        return self.page()

    def page(self) -> str:
        return self.browser.get("/account/away/").text

    def written(self, to: str) -> list[EmailMessage]:
        """What the portal wrote to an address, oldest first."""
        job.mail(JobContext(self.mail, cast("Any", None), self.portal))
        entries = self.mail.outbound.list_of_user(self.sender)[::-1]
        raws = (
            b"".join(self.mail.outbound.content(self.sender, one.id).read())
            for one in entries
            if one.recipients[0].address == to
        )
        return [cast("EmailMessage", message_from_bytes(raw, policy=policy.default)) for raw in raws]

    def inbox(self) -> list[EmailMessage]:
        view = self.mail.mailboxes.open(self.ada, "INBOX")
        oids = [view.message_oid(row) for row in range(view.exists)]
        raws = [b"".join(found.read()) for found in self.mail.content.open_many(self.ada, oids)]
        return [cast("EmailMessage", message_from_bytes(raw, policy=policy.default)) for raw in raws]

    def link(self) -> str:
        found = LINK.search(self.written(self.target)[-1].get_content())
        assert found is not None
        return found[1]

    def sent_on(self) -> int:
        assert take(self.mail, post(self.address), self.address) == [None]
        return sum(one.reason is Reason.FORWARD for one in self.mail.outbound.list_of_user(self.ada))


@pytest.fixture
def scene(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    sender = user_of(mail_services, make_organisation(mail_services), "Eider")
    ada = user_of(mail_services, organisation, "Ada <script>")
    mail_services.users.set_settings(OPERATOR, ada, {"language": "de-AT"})
    parts: Portal = portal_app.extensions[EXTENSION]
    settings = replace(parts.settings, sender=mail_services.users.get(sender).address)
    monkeypatch.setitem(portal_app.extensions, EXTENSION, replace(parts, settings=settings))
    browser = browser_of_user(portal_app, mail_services, ada)
    visitor = Browser(portal_app.test_client())
    target = f"home{next(_numbers)}@{ada}.test"
    return Scene(portal_app.extensions[EXTENSION], mail_services, sender, ada, browser, visitor, target)


def check_asked_and_confirmed(scene: Scene) -> None:
    """Looking at the page of a link, as scanners of mail do, confirms nothing."""
    assert "Waiting for confirmation" in scene.wants(scene.target)
    assert scene.sent_on() == 0
    [asked] = scene.written(scene.target)
    assert asked["Subject"] == f"Darf Post für {scene.address} an Sie weitergeleitet werden?"
    assert "tun Sie nichts" in asked.get_content()
    assert "script" not in asked.get_content()
    link = scene.link()
    for _ in range(2):
        seen = scene.visitor.get(link)
        assert (seen.status_code, scene.sent_on()) == (200, 0)
        assert scene.address in seen.text
    done = scene.visitor.post(link)
    assert (done.status_code, "from now on" in done.text) == (200, True)
    assert scene.sent_on() == 1
    [told] = [one for one in scene.inbox() if one["From"].startswith("Eider")]
    assert scene.target in told["Subject"]
    assert "Passwort" in told.get_content()
    assert "Waiting for confirmation" not in scene.page()
    assert scene.visitor.get(link).status_code == 410
    assert scene.visitor.post(link).status_code == 410


def test_a_target_is_asked_confirms_and_its_user_is_told(scene: Scene) -> None:
    check_asked_and_confirmed(scene)


def test_control_a_link_that_confirms_by_itself_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[..., Any] = ConfirmedTargets.find

    def confirming(self: ConfirmedTargets, token: str) -> Any:
        asked = find(self, token)
        self.vouch(OPERATOR, asked.user.id, [asked.ask.target])
        return asked

    monkeypatch.setattr(ConfirmedTargets, "find", confirming)
    with pytest.raises(AssertionError):
        check_asked_and_confirmed(scene)


def test_the_user_hears_of_it_though_the_target_then_gets_all_and_nothing_is_kept(scene: Scene) -> None:
    """Whoever set it may have had all mail deleted here, and where mail went before it goes first."""
    before = f"before@{scene.ada}.test"
    scene.mail.users.set_settings(OPERATOR, scene.ada, {"targets": (before,), "keeps_forwarded": False})
    action = RuleAction(targets=(scene.target,), delete=True)
    scene.mail.filters.create(acting_as(scene), of_user(scene.ada), RuleContent(action=action))
    assert scene.visitor.post(scene.link()).status_code == 200
    assert [one["From"].split()[0] for one in scene.inbox()] == ["Eider"]
    [entry] = scene.mail.outbound.list_of_user(scene.ada)
    assert [one.address for one in entry.recipients] == [before]


def test_nothing_is_confirmed_that_the_user_was_not_told_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.wants(scene.target)
    link = scene.link()
    with monkeypatch.context() as patched:
        lost = replace(scene.portal, settings=replace(scene.portal.settings, sender="nobody@nowhere.test"))
        patched.setitem(cast("dict[str, Any]", scene.browser.client.application.extensions), EXTENSION, lost)
        assert scene.visitor.post(link).status_code == 503
    assert scene.sent_on() == 0
    assert scene.visitor.post(link).status_code == 200


def test_the_job_mails_each_link_once_and_again_when_it_is_asked_for(
    scene: Scene, portal_app: Flask, mail_services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job.mail(JobContext(mail_services, cast("Any", None), cast("Any", None))) == 0
    scene.wants(scene.target)
    assert len(scene.written(scene.target)) == 1
    assert len(scene.written(scene.target)) == 1
    again = {"target": scene.target}
    assert scene.browser.post("/account/away/again", again).status_code == 303
    assert len(scene.written(scene.target)) == 1, "a moment ago"
    monkeypatch.setattr("mailcore.services.addresses.onward_targets.AGAIN_AFTER", timedelta(0))
    assert scene.browser.post("/account/away/again", again).status_code == 303
    assert len(scene.written(scene.target)) == 2
    assert scene.browser.post("/account/away/again", {"target": "other@else.test"}).status_code == 404


@pytest.mark.parametrize("local", ["=?utf-8?q?a=0a?=", "=?us-ascii?q??="])
def test_an_address_that_no_header_can_name_holds_up_nobody_elses_link(scene: Scene, local: str) -> None:
    scene.wants(f"{local}@{scene.ada}.test\n{scene.target}")
    assert len(scene.written(scene.target)) == 1
    assert scene.ada not in {user.id for user, _ in scene.mail.targets.list_due()}


def test_rules_and_scripts_show_what_waits_and_a_url_waits_for_an_admin(scene: Scene) -> None:
    by = acting_as(scene)
    url = "https://hooks.else.test/in"
    action = RuleAction(targets=(scene.target, url))
    scene.mail.filters.create(by, of_user(scene.ada), RuleContent(name="Bills", action=action))
    assert "waits for confirmation" in scene.browser.get("/account/filters/").text
    scene.mail.scripts.put(by, scene.ada, "s", f'redirect "script@{scene.ada}.test";')
    scene.mail.scripts.activate(by, scene.ada, "s")
    page = scene.page()
    for target in (scene.target, url, f"script@{scene.ada}.test"):
        assert target in page
    assert page.count("Send the link again") == 2
    assert page.count("waits for an administrator") == 1
    scene.mail.targets.vouch(OPERATOR, scene.ada, [scene.target, url, f"script@{scene.ada}.test"])
    assert "waits for" not in scene.page() + scene.browser.get("/account/filters/").text


def test_an_admin_allows_a_url_and_nothing_but_what_waits(
    scene: Scene, portal_app: Flask, organisation: MadeOrganisation
) -> None:
    """Whoever reads an address agrees to it; an admin cannot do so in their place."""
    url = "https://hooks.else.test/in"
    assert "waits for an administrator" in scene.wants(f"{scene.target}\n{url}")
    admin = browser_of(portal_app, organisation.members[Role.ADMIN])
    page = admin.get(f"/people/{scene.ada}").text
    assert (url in page, scene.target in page, page.count("Allow</button>")) == (True, True, 1)
    path = f"/people/{scene.ada}/targets/allow"
    for other in (scene.target, "https://else.test/other"):
        assert admin.post(path, {"target": other}).status_code == 404
    auditor = browser_of(portal_app, organisation.members[Role.AUDITOR])
    assert auditor.post(path, {"target": url}).status_code == 403
    assert url not in auditor.get(f"/people/{scene.ada}").text
    assert scene.mail.users.get(scene.ada).onward.confirmed == frozenset()
    assert admin.post(path, {"target": url}).status_code == 303
    assert scene.mail.users.get(scene.ada).onward.confirmed == {url}
    assert "Allow</button>" not in admin.get(f"/people/{scene.ada}").text
    assert "waits for an administrator" not in scene.page()


def test_what_is_saved_and_waits_is_said_to_wait(scene: Scene) -> None:
    """And said no more where nothing waits."""
    waits = "nothing is sent there yet"
    assert waits in scene.wants(scene.target)
    fields = {"subject": "bills", "targets": scene.target}
    assert scene.browser.post("/account/filters/new", fields).status_code == 303
    assert waits in scene.browser.get("/account/filters/").text
    [rule] = scene.mail.filters.list_of(of_user(scene.ada)).rules
    assert scene.browser.post(f"/account/filters/{rule.id}", fields).status_code == 303
    assert waits in scene.browser.get("/account/filters/").text
    assert waits not in scene.browser.get("/account/filters/").text, "said once"
    scene.mail.targets.vouch(OPERATOR, scene.ada, [scene.target])
    assert waits not in scene.wants(scene.target)
    assert scene.browser.post("/account/filters/new", fields).status_code == 303
    assert waits not in scene.browser.get("/account/filters/").text


def acting_as(scene: Scene) -> Any:
    with scene.browser.client.application.test_request_context():
        return acting(scene.mail.users.get(scene.ada))


ODD = (
    "odd..dots@x.test", ".@x.test",
    "=?utf-8?q?a?=@x.test", "%0d%0a@x.test", "a;b@x.test", "\u202eevil@x.test", "😀@x.test",
    "jörg@bücher.test", "a'b@x.test", "o\u0308@x.test", "\u2028@x.test", "a=b@x.test", "-@x.test", "x" * 64 + "@x.test",
)  # fmt: skip


def test_odd_addresses_of_scripts_are_asked_or_left_aside_and_stop_nobody(scene: Scene) -> None:
    by = acting_as(scene)
    for number, some in enumerate((ODD[:4], ODD[4:8], ODD[8:12], ODD[12:])):
        text = "".join(f'redirect "{one.replace("x.test", f"{scene.ada}.test")}";' for one in some)
        try:
            scene.mail.scripts.put(by, scene.ada, f"s{number}", text)
        except ScriptInvalid:
            continue
        scene.mail.scripts.activate(by, scene.ada, f"s{number}")
    assert len(scene.mail.users.get(scene.ada).onward.asks) > 5
    scene.wants("")
    job.mail(JobContext(scene.mail, cast("Any", None), scene.portal))
    assert [ask for ask in scene.mail.users.get(scene.ada).onward.asks if ask.is_due] == []
    assert scene.sent_on() == 0


def test_what_cannot_be_mailed_stops_nobody_behind_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    render = notices.render

    def failing(notice: Any) -> str:
        if notice.values.get("target") == f"unfit@{scene.ada}.test":
            raise ValueError
        return render(notice)

    monkeypatch.setattr(notices, "render", failing)
    scene.wants(f"unfit@{scene.ada}.test\n{scene.target}")
    assert len(scene.written(scene.target)) == 1
    assert scene.written(f"unfit@{scene.ada}.test") == []
    assert [ask for ask in scene.mail.users.get(scene.ada).onward.asks if ask.is_due] == []


def test_a_link_that_is_over_before_it_was_mailed_is_not_mailed(scene: Scene) -> None:
    scene.wants(scene.target)
    scene.mail.users.set_password(OPERATOR, scene.ada, Secret("an entirely new password"))
    assert scene.written(scene.target) == []
    assert scene.ada not in {user.id for user, _ in scene.mail.targets.list_due()}


def test_who_removes_a_confirmed_address_has_it_asked_again(scene: Scene) -> None:
    scene.wants(scene.target)
    scene.visitor.post(scene.link())
    assert scene.sent_on() == 1
    assert "Confirmed addresses" in scene.page()
    gone = {"target": scene.target}
    assert scene.browser.post("/account/away/forget", gone).status_code == 303
    assert scene.sent_on() == 1
    page = scene.page()
    assert "Confirmed addresses" not in page
    assert "Waiting for confirmation" in page
    assert scene.browser.post("/account/away/forget", gone).status_code == 303
    assert scene.mail.users.get(scene.ada).onward.confirmed == frozenset()


def test_what_is_set_no_more_waits_no_more(scene: Scene) -> None:
    scene.wants(scene.target)
    assert "Waiting for confirmation" not in scene.wants("")


def test_what_is_made_up_opens_nothing(scene: Scene) -> None:
    for token in ("no-such-token", "A" * 54, "%00", "é"):
        assert scene.visitor.get(f"/confirm-forwarding/{token}").status_code == 410
        assert scene.visitor.post(f"/confirm-forwarding/{token}").status_code == 410
