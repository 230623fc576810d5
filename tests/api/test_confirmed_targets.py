"""A user's own token sends no mail on to an address outside that was not confirmed, and hears what waits."""

from __future__ import annotations

import pytest

from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser
from tests.services.inbound_mail import count, mail, queued, take

URL = "https://hooks.elsewhere.test/in"


def arrives(services: MailServices, user: MadeUser) -> tuple[int, int]:
    assert take(services, mail(user.address), user.address) == [None]
    return count(services, user), len(queued(services, user))


def set_by(api: Api, user: MadeUser, target: str) -> None:
    """Every operation by which mail is sent on."""
    path = f"/users/{user.user_id}"
    assert api.put(path, {"targets": [target, URL]}).status == 200
    made = api.post(f"{path}/filters", {"query": {}, "action": {"targets": [target, URL], "delete": True}})
    assert made.status == 200
    changed = api.post(f"{path}/filters", {"query": {}, "action": {"seen": True}}).body["id"]
    assert api.put(f"{path}/filters/{changed}", {"action": {"targets": [target, URL]}}).status == 200


def test_what_the_user_sets_waits_and_says_so(own: Api, services: MailServices, user: MadeUser) -> None:
    target = f"home@{user.user_id}.test"
    set_by(own, user, target)
    assert arrives(services, user) == (1, 0)
    shown = own.get(f"/users/{user.user_id}").body
    assert (shown["targets"], shown["waitingTargets"]) == ([target, URL], [target, URL])
    filters = own.get("/users/me/filters").body["results"]
    assert [one["waitingTargets"] for one in filters] == [[target, URL]] * 2
    assert own.get(f"/users/me/filters/{filters[0]['id']}").body["waitingTargets"] == [target, URL]
    [ask] = services.users.get(user.user_id).onward.asks
    services.targets.confirm(OPERATOR, services.targets.find(services.targets.token(user.user_id, ask)))
    assert arrives(services, user)[1] == 1
    assert own.get(f"/users/{user.user_id}").body["waitingTargets"] == [URL]


@pytest.mark.parametrize("admin", ["tenant", "platform"])
def test_what_an_admin_sets_waits_for_nothing(
    admin: str, services: MailServices, user: MadeUser, request: pytest.FixtureRequest
) -> None:
    """Also where the user set the same, and it waited."""
    api: Api = request.getfixturevalue(admin)
    target = f"home@{user.user_id}.test"
    set_by(request.getfixturevalue("own"), user, target)
    assert api.put(f"/users/{user.user_id}", {"name": "Ada"}).status == 200
    assert arrives(services, user)[1] == 0
    set_by(api, user, target)
    assert arrives(services, user)[1] == 2
    assert api.get(f"/users/{user.user_id}").body["waitingTargets"] == []


def test_the_way_of_what_is_sent_on_is_not_the_users_choice(
    own: Api, tenant: Api, services: MailServices, user: MadeUser
) -> None:
    """A server that a thief named would get what goes on to targets that were confirmed."""
    relay = {"mtaRelay": "smtp://mx.thief.test:25"}
    assert own.put(f"/users/{user.user_id}", relay).status == 200
    home = services.placement.home(user.user_id)
    assert services.smarthosts.of(home, by_itself=True) is None
    found = services.smarthosts.of(home)
    assert found is not None
    assert found.host == "mx.thief.test"
    assert tenant.put(f"/users/{user.user_id}", relay).status == 200
    assert services.smarthosts.of(services.placement.home(user.user_id), by_itself=True) is not None


def test_no_field_says_that_a_target_asks_for_nothing(own: Api, services: MailServices, user: MadeUser) -> None:
    target = f"home@{user.user_id}.test"
    for field in ("targetsAsk", "targets_ask", "asks", "onward", "relay_is_own"):
        own.put(f"/users/{user.user_id}", {"targets": [target], field: False})
        own.post("/users/me/filters", {"query": {}, "action": {"targets": [target], field: False}, field: False})
    own.put(f"/users/{user.user_id}", {"targets": [target]})
    assert arrives(services, user)[1] == 0
