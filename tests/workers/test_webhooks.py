"""Webhooks: every event once or more, in order, signed, and never to where nothing may be connected to (Attack W18)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore.errors import MailError, UserNotFound, ValueInvalid
from mailcore.model.event import PLATFORM
from mailcore.model.secret import Secret
from mailcore.model.webhook import Webhook, read_types
from mailcore.net.outgoing import OutgoingClient
from mailcore.services import MailServices
from mailcore.services.events import webhooks as webhooks_module
from mailcore.services.events.webhooks import wait_s
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver, message
from tests.stubs.outside import Outside, Posted, outside
from workers.context import JobContext
from workers.jobs import webhooks as job

URL = "https://hooks.test/in?key=1"


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside() as made:
        made.dns.add("hooks.test", "A", made.policy_address)
        yield made


@pytest.fixture(scope="module")
def services(
    stack: Endpoints,
    fresh_uri: Callable[[str, str], str],
    world: Outside,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MailServices]:
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, "webhooks_hot"), fresh_uri(uris.cold, "webhooks_cold"))
    environment = world.environment(tmp_path_factory.mktemp("webhooks"))
    connected = make_services(fresh_uri(stack.mongo.directory, "webhooks_directory"), {"a": shard}, **environment)
    connected.placement.directory.ensure_indexes()
    yield connected
    connected.close()


@pytest.fixture
def context(services: MailServices) -> JobContext:
    return JobContext(services, None)  # type: ignore[arg-type]  # the job enqueues nothing


@pytest.fixture
def user(services: MailServices, world: Outside) -> Iterator[MadeUser]:
    made = make_user(services)
    number(services)
    world.posted.clear()
    world.answers.clear()
    yield made
    services.placement.directory.database["webhooks"].delete_many({})


def number(services: MailServices) -> None:
    for sequencer in services.events.sequencers():
        sequencer.catch_up()


def hook_of(services: MailServices, user: MadeUser, *types: str, url: str = URL) -> tuple[Webhook, Secret]:
    return services.webhooks.create(OPERATOR, user.tenant_id, None, types or ("mailbox.*",), url)


def make_boxes(services: MailServices, user: MadeUser, *names: str) -> None:
    for name in names:
        services.mailboxes.create(user.user_id, OPERATOR, name)
    number(services)


def due(services: MailServices, hook: Webhook) -> None:
    """Let its wait be over."""
    services.webhooks._directory.webhooks.settle(
        services.webhooks.get(hook.id), hook_failures(services, hook), -1, None
    )


def hook_failures(services: MailServices, hook: Webhook) -> int:
    return services.webhooks.get(hook.id).failures


def told(world: Outside) -> list[str]:
    return [orjson.loads(one.body)["details"]["wanted"]["mailbox"] for one in world.posted]


def is_signed(posted: Posted, secret: Secret) -> bool:
    at, _, mac = posted.fields["X-Eider-Signature"].removeprefix("t=").partition(",v1=")
    return hmac.compare_digest(
        mac, hmac.new(secret.reveal(), f"{at}.".encode() + posted.body, hashlib.sha256).hexdigest()
    )


def test_events_are_posted_in_order_signed_with_their_ids(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser
) -> None:
    make_boxes(services, user, "Before")
    hook, secret = hook_of(services, user)
    make_boxes(services, user, "One", "Two")
    assert job.deliver(context) == 2
    assert told(world) == ["One", "Two"]
    for posted in world.posted:
        assert posted.url == "hooks.test/in?key=1"
        body = orjson.loads(posted.body)
        assert (body["ev"], body["user"], body["tenant"]) == ("mailbox.created", str(user.user_id), str(user.tenant_id))
        assert posted.fields["X-Eider-Event-Id"] == body["id"]
        assert is_signed(posted, secret)
        assert not is_signed(posted, Secret(b"another"))
    assert services.webhooks.get(hook.id).failures == 0
    due(services, hook)
    assert job.deliver(context) == 0


def test_who_is_not_asked_for_is_not_told(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser
) -> None:
    """Neither another tenant's nor, with a user, a colleague's events; nor those of nobody."""
    colleague = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    services.webhooks.create(OPERATOR, user.tenant_id, user.user_id, ["*"], URL)
    make_boxes(services, colleague, "Hers")
    make_boxes(services, make_user(services), "Theirs")
    make_boxes(services, user, "Mine")
    job.deliver(context)
    assert told(world) == ["Mine"]


def test_the_platform_is_told_of_everybody(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser
) -> None:
    hook, _ = services.webhooks.create(OPERATOR, None, None, ["mailbox.created"], URL)
    assert hook.tenant_id == PLATFORM
    make_boxes(services, user, "Mine")
    make_boxes(services, make_user(services), "Theirs")
    job.deliver(context)
    assert {"Mine", "Theirs"} <= set(told(world))


def test_what_fails_is_tried_again_later_and_nothing_passes_it(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser
) -> None:
    hook, _ = hook_of(services, user)
    make_boxes(services, user, "One", "Two")
    for failures in (1, 2):
        world.answers[:] = [500]
        assert job.deliver(context) == 0
        assert services.webhooks.get(hook.id).failures == failures
        assert job.deliver(context) == 0, "it has to wait"
        due(services, hook)
    assert job.deliver(context) == 2
    assert told(world) == ["One", "One", "One", "Two"]
    assert len({one.fields["X-Eider-Event-Id"] for one in world.posted}) == 2
    assert [wait_s(failures) for failures in (1, 2, 3, 100)] == [10, 20, 40, 3 * 3600]


def test_a_worker_that_dies_after_the_post_posts_once_more(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least once: what was taken and not written down is told again, under the same id."""
    hook, _ = hook_of(services, user)
    make_boxes(services, user, "One")
    with monkeypatch.context() as dying:
        dying.setattr(
            type(services.webhooks._directory.webhooks), "advance", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            job.deliver(context)
    assert job.deliver(context) == 0, "it is leased"
    due(services, hook)
    assert job.deliver(context) == 1
    assert len({one.fields["X-Eider-Event-Id"] for one in world.posted}) == 1
    assert told(world) == ["One", "One"]


def test_a_place_that_moves_on_before_the_answer_would_lose_an_event(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: failures taken for success."""
    monkeypatch.setattr(webhooks_module.Webhooks, "_post", lambda *_: "")
    with pytest.raises(AssertionError):
        test_what_fails_is_tried_again_later_and_nothing_passes_it(context, services, world, user)


@pytest.mark.parametrize("status", [500, 410])
def test_it_is_given_up_with_an_event(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser, status: int
) -> None:
    """After many failures, or at once where the address says that it is gone."""
    hook, _ = hook_of(services, user)
    make_boxes(services, user, "One")
    tries = webhooks_module.GIVE_UP_AFTER if status == 500 else 1
    for _ in range(tries):
        assert services.webhooks.get(hook.id).dead_at is None
        world.answers[:] = [status]
        job.deliver(context)
        if services.webhooks.get(hook.id).dead_at is None:
            due(services, hook)
    assert services.webhooks.get(hook.id).dead_at is not None
    number(services)
    kinds = [event.kind for event in services.events.read(user.tenant_id, limit=1000).events]
    assert kinds.count("webhook.given_up") == 1
    assert job.deliver(context) == 0


INSIDE = [
    "https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/",
    "https://[::ffff:127.0.0.1]/", "https://inside.test/",
]  # fmt: skip


@pytest.mark.parametrize("url", INSIDE)
def test_nobody_reaches_what_is_inside(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser, refusals: list[str], url: str
) -> None:
    """Attack W18: private, loopback and own addresses, and a name that leads there."""
    world.dns.add("inside.test", "A", "127.0.0.1", "10.1.2.3")
    hook, _ = hook_of(services, user, url=url)
    make_boxes(services, user, "One")
    assert job.deliver(context) == 0
    assert hook_failures(services, hook) == 1
    assert refusals == ["DestinationForbidden"]
    assert world.posted == []


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The errors of the one way out, as they come."""
    found: list[str] = []
    post = OutgoingClient.post

    def watched(*arguments: Any, **options: Any) -> int:
        try:
            return post(*arguments, **options)
        except MailError as error:
            found.append(type(error).__name__)
            raise

    monkeypatch.setattr(OutgoingClient, "post", watched)
    return found


def test_an_answer_of_dns_that_changes_leads_nowhere(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser
) -> None:
    """Attack W18, DNS rebinding: the address that was looked at is the one connected to; next time it is refused."""
    answers = iter([[world.policy_address], ["127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]])
    world.dns.records["rebind.test", "A"] = lambda: next(answers)
    hook, _ = hook_of(services, user, url="https://rebind.test/")
    make_boxes(services, user, "One")
    assert job.deliver(context) == 1
    assert world.dns.asked["rebind.test", "A"] == 1
    make_boxes(services, user, "Two")
    due(services, hook)
    assert job.deliver(context) == 0
    assert [one.url for one in world.posted] == ["rebind.test/"]


def test_without_the_check_the_inside_would_be_asked(
    context: JobContext,
    services: MailServices,
    world: Outside,
    user: MadeUser,
    refusals: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: nobody listens there, which only somebody who tries finds out."""
    monkeypatch.setattr(OutgoingClient, "objection", lambda *_: None)
    with pytest.raises(AssertionError, match="OutgoingFailed"):
        test_nobody_reaches_what_is_inside(context, services, world, user, refusals, "https://127.0.0.1/")


def test_a_redirect_is_a_failure_and_not_followed(
    context: JobContext, services: MailServices, world: Outside, user: MadeUser
) -> None:
    hook, _ = hook_of(services, user)
    make_boxes(services, user, "One")
    world.answers[:] = [302]
    assert job.deliver(context) == 0
    assert (len(world.posted), hook_failures(services, hook)) == (1, 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.test/",
        "smtp://hooks.test",
        "ftp://x.test/",
        "https://hooks.test:8443/",
        "https://u:p@x.test/",
        "x",
    ],
)
def test_other_urls_are_refused_when_they_are_set(services: MailServices, user: MadeUser, url: str) -> None:
    with pytest.raises(ValueInvalid):
        hook_of(services, user, url=url)


@pytest.mark.parametrize("types", [[], ["x y"], ["user.$ne"], ["**"], ["a.*.b"], ["x"] * 60 + ["y" * 300]])
def test_other_types_are_refused(types: list[str]) -> None:
    with pytest.raises(ValueInvalid):
        read_types(types)


def test_patterns_and_both_names_match(services: MailServices, user: MadeUser) -> None:
    hook, _ = hook_of(services, user, "user.password.*", "message.delivery", "asp.created")
    assert hook.wants("user.password", None)
    assert hook.wants("app_password.created", None)
    assert hook.wants("message.delivery", user.user_id)
    assert not hook.wants("user.created", None)


def test_mail_is_told_too(context: JobContext, services: MailServices, world: Outside, user: MadeUser) -> None:
    hook_of(services, user, "message.delivery")
    deliver(services, message(b"x"), user)
    number(services)
    assert job.deliver(context) == 1
    assert orjson.loads(world.posted[0].body)["details"]["first_uid"] == 1


def test_another_tenants_user_is_not_there(services: MailServices, user: MadeUser) -> None:
    stranger = make_user(services)
    with pytest.raises(UserNotFound):
        services.webhooks.create(OPERATOR, user.tenant_id, stranger.user_id, ["*"], URL)
