"""What Postfix is told of domains and addresses (socketmap_table(5), access(5))."""

from __future__ import annotations

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.lookup import answers
from mailcore.lookup.connection import IDLE_S, QUESTION_S
from mailcore.lookup.wire import answer
from mailcore.model.actions import CLOSE, Send, SetDeadline
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.routing import Posters
from mailcore.model.tenant import State
from mailcore.services.addresses.domains import Domains
from mailcore.services.addresses.resolution import Resolutions
from mailcore.services.inbound.forwarding import KEY_NAME
from mailcore.services.inbound.srs import Srs
from mailcore.services.trust.system_key import SystemKey
from mailcore.store.directory.addresses import Addresses as AddressEntries
from mailcore.store.directory.domains import Domains as DomainEntries
from tests.builders import OPERATOR, make_user
from tests.transcripts.lookup.conftest import Lookup

UNKNOWN = "OK 550 5.1.1 Nobody receives mail at this address"
KEYS = ("domains", "recipients", "access")


def test_domains_that_are_proven_to_be_somebodys_are_hosted(lookup: Lookup) -> None:
    user = make_user(lookup.services)
    domain = user.address.partition("@")[2]
    assert lookup.ask("domains", domain.upper()) == f"OK {domain}"
    member = Actor(ActorKind.MEMBER, Door.PORTAL, "m@example.org")
    lookup.services.domains.create(member, user.tenant_id, f"claimed-{domain}")
    for other in (f"claimed-{domain}", f"sub.{domain}", f".{domain}", "", "*", "a b", "[192.0.2.1]", "x" * 2000):
        assert lookup.ask("domains", other) == "NOTFOUND "
    lookup.services.domains.create(OPERATOR, user.tenant_id, f"münchen-{domain}")
    assert lookup.ask("domains", f"MÜNCHEN-{domain}").startswith("OK xn--")


def test_recipients_are_known_by_every_way_there_is(lookup: Lookup) -> None:
    user = make_user(lookup.services)
    local, _, domain = user.address.partition("@")
    lookup.services.groups.create(OPERATOR, user.tenant_id, f"all@{domain}", [user.address], posters=Posters.MEMBERS)
    lookup.services.forwarded_addresses.create(OPERATOR, user.tenant_id, f"old@{domain}", ["x@else.test"])
    lookup.services.addresses.create(OPERATOR, user.user_id, f"team-*@{domain}", allow_wildcard=True)
    for name in (local, f"{local}+shop", "all", "old", "team-x", "postmaster"):
        assert lookup.ask("recipients", f"{name}@{domain}") == "OK known"
        assert lookup.ask("access", f"{name}@{domain}") == "OK DUNNO"
    for key in (f"nobody@{domain}", "a@not-hosted.test", f"*@{domain}", f"@@{domain}", f"a b@{domain}"):
        assert lookup.ask("recipients", key) == "NOTFOUND "
        assert lookup.ask("access", key) == UNKNOWN
    for key in (domain, f"@{domain}", f"{local}@", "", "@"):  # asked after the address itself
        assert lookup.ask("access", key) == lookup.ask("recipients", key) == "NOTFOUND "


def test_paths_under_which_mail_was_sent_on_are_known(lookup: Lookup) -> None:
    """So that bounces come back; one that we never made is nobody's."""
    user = make_user(lookup.services)
    key = SystemKey(lookup.services.placement.directory, lookup.services.sealing, KEY_NAME)
    path = Srs(lookup.services.settings.hostname, key.get).rewrite("bob@outside.test", user.user_id)
    assert path is not None
    assert lookup.ask("domains", lookup.services.settings.hostname).startswith("OK ")
    assert lookup.ask("access", path) == "OK DUNNO"
    assert lookup.ask("recipients", path.upper()) == "OK known"
    assert lookup.ask("access", path.replace("=outside", "=elsewhere")) == UNKNOWN


def test_access_says_what_lmtp_would_say(lookup: Lookup) -> None:
    """M10: refused while the sender is there to hear it, not by a report that may go to somebody else."""
    user = make_user(lookup.services, quota_bytes=1)
    shard = lookup.services.placement.home(user.user_id).shard
    shard.hot["mailboxes"].update_many(
        {"_id": {"$gte": user.user_id.binary, "$lt": user.user_id.binary + b"\xff" * 12}}, {"$set": {"size_bytes": 9}}
    )
    assert lookup.ask("access", user.address) == "OK 452 4.2.2 Mailbox full"
    assert lookup.ask("recipients", user.address) == "OK known"
    lookup.services.users.set_state(OPERATOR, user.user_id, State.DISABLED)
    assert lookup.ask("access", user.address) == "OK 550 5.2.1 This mailbox is disabled"
    assert lookup.ask("recipients", user.address) == "OK known"


def test_the_policy_knows_the_sender(lookup: Lookup) -> None:
    """M10: whom a group does not take mail of, and who is no bounce, hears it at RCPT."""
    user = make_user(lookup.services)
    group = f"all@{user.address.partition('@')[2]}"
    lookup.services.groups.create(OPERATOR, user.tenant_id, group, [user.address], posters=Posters.MEMBERS)
    assert lookup.policy(group, user.address) == "DUNNO"
    assert lookup.policy(group, "x@else.test") == "550 5.7.2 This group does not take your mail"
    assert lookup.policy(group) == "550 5.7.2 This group does not take your mail"
    assert lookup.policy(user.address, "x@else.test") == lookup.policy(user.address) == "DUNNO"
    assert lookup.policy("nobody@nowhere.test", "x@else.test") == UNKNOWN.removeprefix("OK ")
    assert lookup.policy("") == "DUNNO"
    key = SystemKey(lookup.services.placement.directory, lookup.services.sealing, KEY_NAME)
    path = Srs(lookup.services.settings.hostname, key.get).rewrite("bob@outside.test", user.user_id)
    assert path is not None
    assert lookup.policy(path) == "DUNNO"
    assert lookup.policy(path, "x@else.test") == UNKNOWN.removeprefix("OK ")


@pytest.mark.usefixtures("away")
def test_the_policy_says_later_while_the_directory_is_away(lookup: Lookup) -> None:
    assert lookup.policy("a@example.org", "x@else.test") == "451 4.3.0 Not known now; try again"


def test_a_policy_that_lets_everybody_post_would_be_seen(lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(Resolutions, "_check_poster", lambda *_: None)
    with pytest.raises(AssertionError):
        test_the_policy_knows_the_sender(lookup)


def test_other_maps_are_refused(lookup: Lookup) -> None:
    assert lookup.ask("passwords", "a@b.test") == "PERM There is no such map"


def key_for(map_name: str) -> str:
    return "example.org" if map_name == "domains" else "a@example.org"


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory answers nothing."""

    def unavailable(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(AddressEntries, "find_entry", unavailable)
    monkeypatch.setattr(DomainEntries, "find_by_names", unavailable)


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("map_name", KEYS)
def test_nobody_is_unknown_while_the_directory_is_away(map_name: str, lookup: Lookup) -> None:
    """P12: TEMP, which Postfix turns into 451."""
    assert lookup.ask(map_name, key_for(map_name)) == "TEMP Not known now"


@pytest.mark.parametrize("map_name", KEYS)
def test_a_fault_of_ours_is_no_answer_either(map_name: str, lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Resolutions, "resolve", broken)
    monkeypatch.setattr(Domains, "is_hosted", broken)
    assert lookup.ask(map_name, key_for(map_name)) == "TEMP Not known now"


@pytest.mark.usefixtures("away")
def test_trouble_told_as_unknown_would_be_seen(lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of P12."""
    monkeypatch.setattr(answers, "LATER", answers.NOT_FOUND)
    with pytest.raises(AssertionError):
        test_nobody_is_unknown_while_the_directory_is_away("recipients", lookup)


def test_junk_ends_the_connection_after_what_was_asked_before(lookup: Lookup) -> None:
    actions = list(lookup.connection.receive(answer("passwords x") + b"GET / HTTP/1.0\r\n"))
    assert actions == [Send(answer("PERM There is no such map")), CLOSE]
    assert list(lookup.connection.receive(answer("passwords x"))) == []


def test_half_a_question_has_a_deadline_that_no_byte_moves(lookup: Lookup) -> None:
    """Attack N7."""
    assert list(lookup.connection.receive(b"30:recip")) == [SetDeadline(QUESTION_S, total=True)]
    assert list(lookup.connection.receive(b"i")) == []
    assert list(lookup.connection.timeout()) == [CLOSE]
    other = Lookup(lookup.services)
    assert list(other.connection.receive(answer("passwords x")))[-1] == SetDeadline(IDLE_S)
    assert list(other.connection.drain()) == [CLOSE]
