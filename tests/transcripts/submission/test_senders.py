"""Nobody sends as somebody else (attack W27): envelope and every field of the header that says who sends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailcore.message.outgoing import Outgoing
from mailcore.model.sending import ForeignSender
from mailcore.services import MailServices
from mailcore.services.outbound.identities import Identities
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.transcripts.submission.conftest import Client

VICTIM = "ceo@bank.test"


def send(client: Client, header: str, sender: str | None = None) -> str:
    return client.send(header.encode() + b"Subject: x\r\n\r\nx\r\n", sender=sender)


def claims(user: MadeUser, victim: str) -> dict[str, str]:
    """Headers that claim to be from a victim, by what they try."""
    own = user.address
    return {
        "from": f"From: {victim}\r\n",
        "from with a name": f"From: The Boss <{victim}>\r\n",
        "one of two in from": f"From: {own}, {victim}\r\n",
        "sender": f"From: {own}\r\nSender: {victim}\r\n",
        "resent-from": f"From: {own}\r\nResent-From: {victim}\r\n",
        "resent-sender": f"From: {own}\r\nResent-Sender: {victim}\r\n",
        "name that is an address": f'From: "{victim}" <{own}>\r\n',
        "name that holds an address": f'From: "Boss ({victim})" <{own}>\r\n',
        "name with two at signs": f'From: "x@{victim}" <{own}>\r\n',
        "encoded name": f"From: =?utf-8?q?{victim.replace('@', '=40')}?= <{own}>\r\n",
        "fullwidth at": f"From: {victim.replace('@', '＠')} <{own}>\r\n",
        "comment that is an address": f"From: {own} (Boss)\r\nSender: <{victim}> (Boss)\r\n",
        "folded": f"From:\r\n Boss\r\n <{victim}>\r\n",
        "quoted local part": f'From: "{victim.partition("@")[0]}"@{victim.partition("@")[2]}\r\n',
    }


AMBIGUOUS = {
    "two from fields": "From: {own}\r\nFrom: {victim}\r\n",
    "two from fields, one odd": "From: {own}\r\nfrOM: {victim}\r\n",
    "second angle brackets": "From: <{victim}> <{own}>\r\n",
    "address before angle brackets": "From: {victim} <{own}>\r\n",
    "space before the colon": "From: {own}\r\nFrom : {victim}\r\n",
    "two senders": "From: {own}\r\nSender: {own}\r\nSender: {victim}\r\n",
    "group": "From: Us: {victim};\r\n",
    "route": "From: <@a.test,@b.test:{victim}>\r\n",
    "nested comment": "From: (a (b) {victim}) {own}\r\n",
    "line that is empty but for blanks": "From: {own}\r\n \r\nFrom: {victim}\r\n",
    "no name": "From: {own}\r\n: {victim}\r\n",
    "carriage of a tab": "From: {own}\r\nX:\x0bFrom: {victim}\r\n",
    "empty": "From:\r\n",
    "two subjects": "From: {own}\r\nSubject: {victim}\r\n",
}
"""What two readers may understand differently."""


@pytest.mark.parametrize("how", sorted(claims(MadeUser(None, None, "a@b.test"), VICTIM)))  # type: ignore[arg-type]
def test_header_that_claims_another_is_refused(common: Client, how: str) -> None:
    reply = send(common, claims(common.user, VICTIM)[how])
    assert reply.startswith("553 5.7.1 You may not send as ")
    assert common.queued() == []
    assert common.sent() == []


@pytest.mark.parametrize("how", sorted(AMBIGUOUS))
def test_header_that_can_be_read_in_two_ways_is_refused(common: Client, how: str) -> None:
    """Attack M7."""
    reply = send(common, AMBIGUOUS[how].format(own=common.user.address, victim=VICTIM))
    assert reply.startswith("554 5.6.0 ")
    assert common.queued() == []


@pytest.mark.parametrize(
    "other", ["of the same tenant", "of another tenant", "elsewhere", "nobody's in the own domain", "in brackets"]
)
def test_reverse_path_of_another_is_refused(services: MailServices, client: Client, other: str) -> None:
    domain = client.user.address.partition("@")[2]
    address = {
        "of the same tenant": lambda: make_user(services, tenant=(client.user.tenant_id, domain)).address,
        "of another tenant": lambda: make_user(services).address,
        "elsewhere": lambda: VICTIM,
        "nobody's in the own domain": lambda: f"nobody@{domain}",
        "in brackets": lambda: "a@[127.0.0.1]",
    }[other]()
    client.say(f"MAIL FROM:<{address}>\r\n", f"553 5.7.1 You may not send as {address} (MAIL FROM)")
    client.say("RCPT TO:<bob@else.test>\r\n", "503 5.5.1 Not now")


def test_whoever_does_not_look_is_fooled(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without the table every claim above goes through, unchanged."""
    monkeypatch.setattr(Identities, "foreign", lambda *_: [])
    for header in claims(client.user, VICTIM).values():
        assert send(client, header, sender=VICTIM).startswith("250 ")
    assert all(VICTIM.encode() in raw or b"bank.test" in raw for raw in client.outgoing()[:9])


def test_whoever_takes_any_header_takes_two_senders(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(Outgoing, "check_single", lambda _: None)
    own = client.user.address
    other = f"{own.partition('@')[0]}+x@{own.partition('@')[2]}"
    assert send(client, f"From: {own}\r\nFrom: {other}\r\n").startswith("250 ")
    assert client.outgoing()[0].count(b"From: ") == 2


def test_everything_that_reaches_the_user_may_be_sent_from(
    services: MailServices, connect: Callable[..., Client]
) -> None:
    """Main address, other addresses, labels, dots and case, wildcards, aliases of the domain."""
    user = make_user(services)
    local, _, domain = user.address.partition("@")
    services.addresses.create(OPERATOR, user.user_id, f"Sales@{domain}")
    services.addresses.create(OPERATOR, user.user_id, f"shop-*@{domain}", allow_wildcard=True)
    services.domains.create_alias(OPERATOR, user.tenant_id, f"alias.{domain}", domain)
    client = connect(user).sign_in()
    for address in (
        f"{local}+news@{domain}", f"{local.upper()}@{domain.upper()}", f"sales@{domain}", f"s.ales+x@{domain}",
        f"shop-1@{domain}", f"sales@alias.{domain}",
    ):  # fmt: skip
        assert send(client, f"From: {address}\r\n", sender=address).startswith("250 "), address


def test_what_was_granted_may_be_sent_from_until_it_is_taken_back(
    services: MailServices, connect: Callable[..., Client]
) -> None:
    """Another user's address, and a group's; only to whom it was granted, and only in the tenant."""
    user = make_user(services)
    domain = user.address.partition("@")[2]
    boss = make_user(services, tenant=(user.tenant_id, domain))
    services.groups.create(OPERATOR, user.tenant_id, f"team@{domain}", [user.address])
    client = connect(user).sign_in()
    for address in (boss.address, f"team@{domain}"):
        client.say(f"MAIL FROM:<{address}>\r\n", f"553 5.7.1 You may not send as {address} (MAIL FROM)")
        services.identities.grant(OPERATOR, user.user_id, address)
        assert send(client, f"From: {address}\r\nSender: {user.address}\r\n", sender=address).startswith("250 ")
    assert [grant.address for grant in services.identities.list_of_user(user.user_id)] == [
        boss.address,
        f"team@{domain}",
    ]
    stranger = connect(make_user(services, tenant=(user.tenant_id, domain))).sign_in()
    assert stranger.ask(f"MAIL FROM:<{boss.address}>\r\n")[0].startswith("553 ")
    services.identities.revoke(OPERATOR, user.user_id, boss.address)
    assert client.ask(f"MAIL FROM:<{boss.address}>\r\n")[0].startswith("553 ")


def test_a_grant_ends_with_the_address(services: MailServices, connect: Callable[..., Client]) -> None:
    """Given up and made anew it is another's."""
    user = make_user(services)
    domain = user.address.partition("@")[2]
    services.groups.create(OPERATOR, user.tenant_id, f"team@{domain}", [user.address])
    services.identities.grant(OPERATOR, user.user_id, f"team@{domain}")
    services.groups.delete(OPERATOR, user.tenant_id, f"team@{domain}")
    client = connect(user).sign_in()
    assert client.ask(f"MAIL FROM:<team@{domain}>\r\n")[0].startswith("553 ")
    services.groups.create(OPERATOR, user.tenant_id, f"team@{domain}", [user.address])
    assert client.ask(f"MAIL FROM:<team@{domain}>\r\n")[0].startswith("553 ")


def test_the_whitelist_names_addresses_elsewhere_never_another_tenants(
    services: MailServices, connect: Callable[..., Client]
) -> None:
    user, other = make_user(services), make_user(services)
    own_domain, other_domain = (one.address.partition("@")[2] for one in (user, other))
    patterns = ("ann@old.test", "*@else.test", f"*@{other_domain}", f"*@{own_domain}", "news*")
    services.users.set_settings(OPERATOR, user.user_id, {"from_whitelist": patterns})
    client = connect(user).sign_in()
    for address in ("ann@old.test", "Ann@OLD.test", "any@else.test", f"nobody@{own_domain}", "newsletter@third.test"):
        assert send(client, f"From: {address}\r\n", sender=address).startswith("250 "), address
    for address in ("ben@old.test", other.address, f"nobody@{other_domain}", f"news@{other_domain}"):
        assert client.ask(f"MAIL FROM:<{address}>\r\n")[0].startswith("553 "), address


def test_what_is_foreign_is_rewritten_where_the_tenant_wants_that(
    services: MailServices, connect: Callable[..., Client]
) -> None:
    """The main address takes its place; what stood there stays to be seen, and names that pretend go."""
    tenant = make_tenant(services)
    services.tenants.set_foreign_sender(OPERATOR, tenant[0], ForeignSender.REWRITE)
    user = make_user(services, tenant=tenant)
    client = connect(user).sign_in()
    cases = {
        f"From: The Bøss <{VICTIM}>\r\nSender: {VICTIM}\r\n": f"From: =?utf-8?b?VGhlIELDuHNz?= <{user.address}>\r\n",
        f'From: "{VICTIM}" <{user.address}>\r\n': f"From: {user.address}\r\n",
        f"From: O'Neil, Ann <{VICTIM}>\r\n": "",
    }
    for header, expected in cases.items():
        reply = send(client, header, sender=VICTIM)
        if not expected:
            assert reply.startswith("554 5.6.0 "), "an unquoted comma is no list of mailboxes"
            continue
        assert reply.startswith("250 ")
        raw = client.outgoing()[-1]
        assert f"\r\n{expected}".encode() in raw
        assert b"\r\nSender:" not in raw
        assert b"\r\nX-Original-From: " in raw
        assert raw.count(b"\r\nFrom:") == 1
    assert {entry.reverse_path for entry in client.queued()} == {user.address}
