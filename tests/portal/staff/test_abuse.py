"""The page of staff about abuse: the worst first; each step has a reason, and whoever is no staff takes none."""

from __future__ import annotations

import pytest
from flask import Flask

from mailcore.model.outbound import EntryState
from mailcore.model.reputation import Fate
from mailcore.services import MailServices
from portal.mail_plane import EXTENSION
from portal.permissions import Role
from tests.portal.conftest import Browser, browser_of
from tests.portal.staff.test_grants import make_staff
from tests.portal.test_deliveries import CANARY, Scene, page, scene

__all__ = ["scene"]


@pytest.fixture
def staff(scene: Scene) -> Browser:
    return browser_of(scene.app, make_staff(scene.mail))


def count(scene: Scene, **counts: int) -> None:
    for name, number in counts.items():
        scene.mail.reputation.note(scene.tenant_id, scene.user_id, Fate(name), number)
    scene.mail.reputation.flush()


def act(browser: Browser, scene: Scene, what: str, **form: str) -> int:
    return browser.post(f"/staff/abuse/{scene.made.organisation.id}/{what}", form).status_code


def test_the_worst_is_listed_first_with_the_user(scene: Scene, staff: Browser) -> None:
    worse = Scene(scene.app, scene.mail)
    count(scene, sent=100, bounced=1)
    count(worse, sent=100, bounced=50, complained=9)
    text = page(staff, "/staff/abuse")
    assert text.index(worse.address) < text.index(scene.address)
    assert "33.3 %" in text


def test_staff_hold_keep_and_let_go_each_with_a_reason(scene: Scene, staff: Browser) -> None:
    queue_id = scene.queue()
    assert act(staff, scene, "hold", reason=" ") == 303
    assert scene.state(queue_id) is EntryState.QUEUED
    act(staff, scene, "hold", reason="looks like spam", user=str(scene.user_id))
    assert scene.state(queue_id) is EntryState.HELD
    text = page(staff, "/staff/abuse")
    assert "looks like spam" in text
    assert scene.address in text
    assert CANARY not in text
    act(staff, scene, "keep", reason="asked the owner", user=str(scene.user_id))
    assert "asked the owner" in page(staff, "/staff/abuse")
    act(staff, scene, "stop", reason="it goes on", user=str(scene.user_id))
    (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert held.hold.stops
    act(staff, scene, "release", reason="sorted out", user=str(scene.user_id))
    assert scene.state(queue_id) is EntryState.QUEUED
    for sequencer in scene.mail.events.sequencers():
        sequencer.catch_up()
    events = [each for each in scene.mail.events.read(scene.tenant_id, limit=1000).events if "sending." in each.kind]
    assert [each.kind for each in events] == ["sending.held", "sending.kept", "sending.kept", "sending.released"]
    assert all(each.actor.kind == "staff" for each in events)


def test_keeping_a_hold_leaves_it_as_it_is(scene: Scene, staff: Browser) -> None:
    """New mail is refused until staff say otherwise in so many words."""
    act(staff, scene, "stop", reason="spam")
    for what in ("keep", "hold"):
        act(staff, scene, what, reason="looked at")
        (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
        assert (held.hold.stops, held.hold.note) == (True, "looked at")
    assert "Take new mail again" in page(staff, "/staff/abuse")
    act(staff, scene, "take", reason="held is enough")
    (held,) = scene.mail.sending_holds.list_of_tenant(scene.tenant_id)
    assert not held.hold.stops


@pytest.mark.parametrize("what", ["hold", "stop", "take", "keep", "release"])
@pytest.mark.parametrize("user", ["x", "0" * 23, " ", "null"])
def test_a_user_id_that_is_none_is_not_the_whole_tenant(scene: Scene, staff: Browser, what: str, user: str) -> None:
    assert act(staff, scene, what, reason="a look", user=user) == 404
    assert scene.mail.sending_holds.list_of_tenant(scene.tenant_id) == []


def test_a_user_of_another_tenant_is_not_found(scene: Scene, staff: Browser) -> None:
    other = Scene(scene.app, scene.mail)
    assert act(staff, scene, "hold", reason="a look", user=str(other.user_id)) == 404
    assert scene.mail.sending_holds.list_of_tenant(other.tenant_id) == []


def test_staff_raise_a_limit_with_a_reason(scene: Scene, staff: Browser) -> None:
    wanted = {"limit": "tenant_messages_per_hour", "number": "12345"}
    act(staff, scene, "limit", **wanted, reason="")
    assert scene.mail.usage.sending_limits(scene.tenant_id).tenant_messages_per_hour != 12345
    act(staff, scene, "limit", **wanted, reason="a choir, known to us")
    assert scene.mail.usage.sending_limits(scene.tenant_id).tenant_messages_per_hour == 12345
    for number in ("-1", "1e9", "9999999999", "x"):
        act(staff, scene, "limit", limit="tenant_messages_per_hour", number=number, reason="why")
    assert scene.mail.usage.sending_limits(scene.tenant_id).tenant_messages_per_hour == 12345


@pytest.mark.parametrize("what", ["hold", "stop", "take", "keep", "release", "limit"])
def test_members_take_no_step_of_staff(scene: Scene, what: str) -> None:
    assert act(scene.browser(Role.OWNER), scene, what, reason="mine") == 403
    assert scene.mail.sending_holds.list_of_tenant(scene.tenant_id) == []


def test_there_are_no_other_steps(scene: Scene, staff: Browser, portal_app: Flask, mail_services: MailServices) -> None:
    assert act(staff, scene, "delete", reason="x") == 404
    assert portal_app.extensions[EXTENSION].mail is mail_services
