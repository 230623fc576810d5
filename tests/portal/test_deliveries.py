"""What became of mail, as an organisation sees it: its own alone, envelopes only; holds are told and answered."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest
from bson import ObjectId
from flask import Flask

from mailcore.model.ids import TenantId, UserId
from mailcore.model.outbound import BURST, SENDING_HOLD, EntryState, NewOutbound, OutboundRecipient, QueueId, Reason
from mailcore.model.reputation import Counts, Fate, HoldCause
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.outbound.trace import Step, TraceRow, _document
from mailcore.store.keys import message_key
from portal.database import unit_of_work, utc_now
from portal.deliveries import searching, telling
from portal.deliveries.words import CAUSES, STEPS
from portal.mail_plane import EXTENSION
from portal.permissions import Role
from portal.settings import PortalSettings
from tests.builders import OPERATOR, PASSWORD
from tests.portal.conftest import Browser, browser_of, make_organisation

CANARY = "canary-subject"


class Scene:
    """An organisation with a user who sends, and staff."""

    def __init__(self, app: Flask, mail: MailServices) -> None:
        self.app, self.mail = app, mail
        self.made = make_organisation(mail)
        self.tenant_id: TenantId = self.made.organisation.tenant_id
        self.domain = f"d{self.tenant_id}.test"
        mail.domains.create(OPERATOR, self.tenant_id, self.domain)
        self.address = f"ada@{self.domain}"
        self.user_id: UserId = mail.users.create(OPERATOR, self.address, Secret("a good password"), "", self.tenant_id)

    def browser(self, role: Role = Role.ADMIN) -> Browser:
        return browser_of(self.app, self.made.members[role])

    def queue(self, held: str | None = None) -> QueueId:
        new = NewOutbound(
            user_id=self.user_id,
            tenant_id=self.tenant_id,
            reverse_path=self.address,
            forward_paths=(OutboundRecipient("bob@else.test"),),
            message=f"Subject: {CANARY}\r\n\r\n{CANARY}\r\n".encode(),
            reason=Reason.SUBMISSION,
            key=ObjectId().binary,
            delay_s=3600,
            held=held,
            header_message_id="<1@here.test>",
        )
        queue_id = self.mail.queueing.enqueue(new, OPERATOR)
        self.mail.trace.flush()
        return queue_id

    def state(self, queue_id: QueueId) -> EntryState:
        return self.mail.outbound.get(self.user_id, queue_id).state


@pytest.fixture
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    with portal_app.extensions[EXTENSION].database.scope():
        yield Scene(portal_app, mail_services)


def page(browser: Browser, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return str(response.get_data(as_text=True))


def test_each_step_is_found_with_the_answer_and_what_to_do(scene: Scene) -> None:
    queue_id = scene.queue()
    row = TraceRow(Step.FAILED, queue_id, "<1@here.test>", scene.address, "bob@else.test", scene.user_id)
    scene.mail.trace.note(scene.tenant_id, replace(row, detail={"answer": "550 5.1.1 no such user", "remote": "mx.x"}))
    scene.mail.trace.flush()
    browser = scene.browser(Role.AUDITOR)
    for query in (
        f"queue_id={queue_id}",
        "recipient=bob@else.test",
        f"sender={scene.address}",
        "message_id=1@here.test",
    ):
        text = page(browser, f"/deliveries?{query}")
        assert "550 5.1.1 no such user" in text
        assert "The address does not exist there" in text
        assert "Taken over to be sent" in text
        assert CANARY not in text
    assert "No message fits" in page(browser, "/deliveries?recipient=nobody@else.test")


def noted(scene: Scene, recipient: str, at: datetime) -> None:
    """A step of that time, as it was written then."""
    shard = scene.mail.placement.shard(scene.mail.placement.tenant(scene.tenant_id).home_shard)
    row = TraceRow(Step.SENT, "q", "", scene.address, recipient, scene.user_id, at=at)
    document = _document(scene.tenant_id, row)
    unique = ObjectId().binary[4:]
    shard.trace.add([document | {"_id": scene.tenant_id.binary + ObjectId.from_datetime(at).binary[:4] + unique}])


def recipients(text: str) -> list[str]:
    return re.findall(r'data-label="Recipient" class="address">([^<]+)<', text)


def test_days_are_looked_for(scene: Scene) -> None:
    today = utc_now().replace(hour=12, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=number) for number in range(1, 6)]
    for number, at in enumerate(days, 1):
        noted(scene, f"day{number}@else.test", at)
    browser, shown = scene.browser(), [f"day{number}@else.test" for number in range(1, 6)]
    since, until = f"since={days[3]:%Y-%m-%d}", f"until={days[1]:%Y-%m-%d}"
    assert recipients(page(browser, "/deliveries")) == shown
    assert recipients(page(browser, f"/deliveries?{since}")) == shown[:4]
    assert recipients(page(browser, f"/deliveries?{until}")) == shown[1:]
    assert recipients(page(browser, f"/deliveries?{since}&{until}&sender={scene.address}")) == shown[1:4]
    for far in ("since=0001-01-01", "until=9999-12-31", "until=2106-12-31"):
        assert recipients(page(browser, f"/deliveries?{far}")) == shown
    assert recipients(page(browser, "/deliveries?until=0001-01-01")) == []
    assert browser.get("/deliveries?since=yesterday").status_code == 400


def test_further_pages_show_the_rest_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "PAGE", 2)
    for number in range(5):
        noted(scene, f"r{number}@else.test", utc_now() - timedelta(hours=number))
    browser, path, found = scene.browser(), f"/deliveries?sender={scene.address}", []
    while path:
        text = page(browser, path)
        found += recipients(text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        path = html.unescape(following[1]) if following else ""
    assert found == [f"r{number}@else.test" for number in range(5)]
    assert "sender=" in text
    assert recipients(page(browser, "/deliveries?before=nonsense")) == found[:2]


def queued_at(scene: Scene, recipient: str, at: datetime) -> None:
    """A message that was taken over at that time and waits."""
    queue_id = scene.queue()
    shard = scene.mail.placement.home(scene.user_id).shard
    shard.hot["outbound"].update_one(
        {"_id": message_key(scene.user_id, ObjectId(queue_id).binary)},
        {"$set": {"created_at": at, "recipients.0.address": recipient}},
    )


def walked(browser: Browser, path: str) -> tuple[list[str], int]:
    """Recipients on all pages from this one on, and how many pages those are."""
    found: list[str] = []
    for number in range(1, 20):
        text = page(browser, path)
        found += recipients(text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        if following is None:
            return found, number
        path = html.unescape(following[1])
    raise AssertionError("it does not end")


def fill_queue(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[datetime]]:
    """A queue shown by two in which five came at the same instant; return the recipients and when each came."""
    today = utc_now().replace(hour=12, minute=0, second=0, microsecond=0)
    at = [today - timedelta(days=days) for days, many in enumerate((1, 5, 1)) for _ in range(many)]
    for number, when in enumerate(at):
        queued_at(scene, f"w{number}@else.test", when)
    monkeypatch.setattr(searching, "PAGE", 2)
    return [f"w{number}@else.test" for number in range(len(at))], at


def test_the_queue_is_shown_by_day_and_page_and_every_message_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more messages than a page shows came at the same instant."""
    queued, at = fill_queue(scene, monkeypatch)
    browser, path = scene.browser(), "/deliveries/waiting"
    shown, pages = walked(browser, path)
    assert sorted(shown) == queued
    assert (shown[0], shown[-1], pages) == (queued[0], queued[-1], 4)
    of_one_day, _ = walked(browser, f"{path}?since={at[1]:%Y-%m-%d}&until={at[1]:%Y-%m-%d}")
    assert sorted(of_one_day) == queued[1:6]
    assert walked(browser, f"{path}?until=0001-01-01") == ([], 1)
    for nonsense in ("nonsense", at[1].isoformat(), f"{at[1].isoformat()}~abc", "~"):
        assert walked(browser, f"{path}?{urlencode({'before': nonsense})}")[0] == shown
    assert browser.get(f"{path}?since=yesterday").status_code == 400


def test_control_pages_that_know_the_time_alone_lose_messages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    queued, _ = fill_queue(scene, monkeypatch)
    monkeypatch.setattr("mailcore.store.user.outbound._before", lambda at, _key: [{"created_at": {"$lt": at}}])
    assert len(walked(scene.browser(), "/deliveries/waiting")[0]) < len(queued)


def test_another_organisations_mail_is_not_found(scene: Scene) -> None:
    queue_id = scene.queue()
    other = Scene(scene.app, scene.mail)
    assert queue_id not in page(other.browser(), "/deliveries?recipient=bob@else.test")
    assert queue_id not in page(other.browser(), "/deliveries/waiting")
    response = other.browser().post(f"/deliveries/waiting/{scene.user_id}/{queue_id}/cancel")
    assert response.status_code == 404
    assert scene.state(queue_id) is EntryState.QUEUED


def test_waiting_mail_is_held_let_go_and_taken_back(scene: Scene) -> None:
    queue_id, browser = scene.queue(), scene.browser()
    assert scene.address in page(browser, "/deliveries/waiting")
    for act, state in (("hold", EntryState.HELD), ("release", EntryState.QUEUED), ("cancel", EntryState.CANCELLED)):
        response = browser.post(f"/deliveries/waiting/{scene.user_id}/{queue_id}/{act}")
        assert response.status_code == 303
        assert scene.state(queue_id) is state
    assert browser.post(f"/deliveries/waiting/{scene.user_id}/{queue_id}/retry").status_code in {303, 404}


def test_helpdesk_looks_and_changes_nothing(scene: Scene) -> None:
    queue_id, browser = scene.queue(), scene.browser(Role.HELPDESK)
    assert "Take back" not in page(browser, "/deliveries/waiting")
    assert browser.post(f"/deliveries/waiting/{scene.user_id}/{queue_id}/cancel").status_code == 403
    assert scene.state(queue_id) is EntryState.QUEUED


def test_who_is_held_reads_why_and_answers_but_does_not_let_go(scene: Scene) -> None:
    queue_id, browser = scene.queue(), scene.browser(Role.OWNER)
    assert "Nothing is held" in page(browser, "/deliveries/hold")
    counts = Counts(sent=10, bounced=77)
    scene.mail.sending_holds.hold(
        OPERATOR, scene.tenant_id, scene.user_id, HoldCause.BOUNCES, "many refusals", counts=counts
    )
    assert scene.mail.outbound.get(scene.user_id, queue_id).held == SENDING_HOLD
    assert all("Outgoing mail is on hold" in page(browser, path) for path in ("/overview", "/deliveries"))
    text = page(browser, "/deliveries/hold")
    assert scene.address in text
    assert "77" in text
    response = browser.post(f"/deliveries/waiting/{scene.user_id}/{queue_id}/release")
    assert response.headers["Location"] == "/deliveries/hold"
    assert scene.state(queue_id) is EntryState.HELD
    browser.post("/deliveries/hold", {"user": str(scene.user_id), "words": "an old list; it is gone"})
    (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert held.hold.appeal == "an old list; it is gone"


def test_an_address_is_taken_off_the_list(scene: Scene) -> None:
    scene.mail.suppressions.add(OPERATOR, scene.tenant_id, "bob@else.test", "5.1.1 unknown")
    browser = scene.browser()
    assert "5.1.1 unknown" in page(browser, "/deliveries/suppressed")
    browser.post("/deliveries/suppressed", {"address": "bob@else.test"})
    assert scene.mail.suppressions.list_of(scene.tenant_id) == []
    assert "gets mail again" in page(browser, "/deliveries/suppressed")


def test_every_step_and_cause_has_words() -> None:
    assert set(STEPS) == set(Step)
    assert set(CAUSES) == set(HoldCause)


# -- writing to those whom it concerns --------------------------------------------------------


def mails_to(scene: Scene, sender: Scene) -> dict[str, str]:
    entries = sender.mail.outbound.list_of_user(sender.user_id)
    found = {}
    for entry in entries:
        raw = b"".join(sender.mail.outbound.content(sender.user_id, entry.id).read())
        found[entry.recipients[0].address] = raw.decode()
    return found


def test_owner_and_user_are_written_to_once_in_their_language(scene: Scene, portal_settings: PortalSettings) -> None:
    sender = Scene(scene.app, scene.mail)
    settings = replace(portal_settings, sender=sender.address)
    owner = scene.made.members[Role.OWNER]
    with unit_of_work() as current:
        current.merge(owner).language = "de"
    scene.mail.sending_holds.hold(OPERATOR, scene.tenant_id, scene.user_id, HoldCause.BOUNCES, "by itself")
    (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert telling.tell(scene.mail, settings, held)
    assert telling.tell(scene.mail, settings, held)
    found = mails_to(scene, sender)
    assert found.keys() == {owner.email, scene.address}
    assert len(sender.mail.outbound.list_of_user(sender.user_id)) == 2
    assert "gesperrt" in found[owner.email]
    assert "Outgoing mail is on hold" in found[scene.address]
    assert "/deliveries/hold" in found[owner.email]
    (told,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert told.hold.is_told


def test_who_could_not_be_written_to_is_written_to_later(scene: Scene, portal_settings: PortalSettings) -> None:
    scene.mail.sending_holds.hold(OPERATOR, scene.tenant_id, None, HoldCause.STAFF, "a look")
    (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert not telling.tell(scene.mail, replace(portal_settings, sender=""), held)
    (still,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert not still.hold.is_told


def test_a_user_who_vanished_keeps_nobody_from_being_told(scene: Scene, portal_settings: PortalSettings) -> None:
    scene.mail.sending_holds.hold(OPERATOR, scene.tenant_id, scene.user_id, HoldCause.STAFF, "a look")
    (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    scene.mail.deleted_users.delete(OPERATOR, scene.user_id)
    assert not telling.tell(scene.mail, portal_settings, held)


def test_an_appeal_of_nobody_is_not_the_whole_tenants(scene: Scene) -> None:
    scene.mail.sending_holds.hold(OPERATOR, scene.tenant_id, None, HoldCause.STAFF, "a look")
    said = {"user": "nobody", "words": "we are a choir"}
    assert scene.browser().post("/deliveries/hold", said).status_code == 404
    (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert held.hold.appeal == ""


def test_why_an_address_gets_no_mail_is_told_in_the_readers_language(scene: Scene) -> None:
    suppressions = scene.mail.suppressions
    suppressions.note_complaint(scene.tenant_id, "ann@else.test", "abuse", "0" * 24)
    suppressions.note_bounce(scene.tenant_id, "bob@else.test", "5.1.1", "no such user", "0" * 24)
    suppressions.add(OPERATOR, scene.tenant_id, "eve@else.test", "she asked us to")
    browser = scene.browser()
    german = browser.get("/deliveries/suppressed", headers={"Accept-Language": "de"}).get_data(as_text=True)
    for words in ("hat Mail als Spam gemeldet", "Endgültig abgelehnt: 5.1.1 no such user", "she asked us to"):
        assert words in german
    assert "reported as abuse" not in german
    assert "The recipient reported mail as spam." in page(browser, "/deliveries/suppressed")


def test_holding_what_is_held_for_a_burst_does_not_let_it_go(scene: Scene) -> None:
    queue_id = scene.queue(held=BURST)
    path = f"/deliveries/waiting/{scene.user_id}/{queue_id}/"
    browser = scene.browser()
    for act in ("release", "hold", "release"):
        browser.post(path + act)
    assert scene.mail.outbound.get(scene.user_id, queue_id).held == BURST


def test_somebody_who_is_gone_does_not_keep_others_from_being_judged(scene: Scene) -> None:
    others = [
        scene.mail.users.create(OPERATOR, f"u{number}@{scene.domain}", Secret(PASSWORD), "", scene.tenant_id)
        for number in range(2)
    ]
    for user_id in (scene.user_id, *others):
        scene.mail.reputation.note(scene.tenant_id, user_id, Fate.BOUNCED, 50)
    scene.mail.reputation.flush()
    scene.mail.deleted_users.delete(OPERATOR, scene.user_id)
    scene.mail.sending_holds._judge(scene.tenant_id)
    assert {one.user_id for one in scene.mail.sending_holds.list_of_tenant(scene.tenant_id)} >= set(others)
