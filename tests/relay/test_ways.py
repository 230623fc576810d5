"""The ways out: a mailbox here, a smarthost, hosts that DANE vouches for; and what goes over the wire."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Callable

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from infra.devstack.outside.mail_exchanger import EXTENSIONS
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.outbound import Answer, OutboundRecipient, Reason, RecipientState
from mailcore.model.secret import Secret
from mailcore.model.tenant import Standing, State
from mailcore.relay import handling
from mailcore.relay.routes import LOCAL_ROUTE, Routes
from mailcore.services import MailServices
from mailcore.services.outbound.queueing import queue_id_of
from mailcore.services.outbound.smarthosts import Smarthosts
from mailcore.services.outbound.trace import Step
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.relay.conftest import MESSAGE, Relaying
from tests.stubs.outside import Behaviour, Trouble
from tests.unit.smtp.test_content import ENDS, LONE, SMUGGLED, ends

FAILED, QUEUED, SENT = RecipientState.FAILED, RecipientState.QUEUED, RecipientState.SENT


# -- a mailbox here -----------------------------------------------------------------------------


def test_mail_for_a_proven_domain_whose_mx_is_ours_goes_to_its_mailboxes(relaying: Relaying) -> None:
    other = make_user(relaying.services, shard="b")
    domain = other.address.rpartition("@")[2]
    relaying.world.dns.add(domain, "MX", "10 mx.eider.test.", "20 backup.test.")
    (found,) = relaying.services.domains.list_of(other.tenant_id)
    assert relaying.services.domains.check_mx(found) is True
    asked = relaying.world.dns.asked[domain, "MX"]
    queue_id = relaying.send(other.address)
    (raw,) = relaying.inbox(other)
    assert raw.endswith(MESSAGE)
    assert raw.startswith(b"Return-Path: <%b>\r\nDelivered-To: " % relaying.user.address.encode())
    assert f" with local id {queue_id}\r\n".encode() in raw
    assert relaying.world.dns.asked[domain, "MX"] == asked, "the check is what counts, DNS is not asked again"
    relaying.services.trace.flush()
    steps = [row.step for row in relaying.services.trace.search(relaying.user.tenant_id, queue_id=queue_id)]
    assert steps[::-1] == [Step.QUEUED, Step.DELIVERED]


def test_delivery_here_that_is_repeated_finds_itself(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise P17: the relay dies before it wrote down that the mailbox has the message."""
    other = make_user(relaying.services, shard="b")
    relaying.world.dns.add(other.address.rpartition("@")[2], "MX", "10 mx.eider.test.")
    work = type(relaying.parts.work)
    with monkeypatch.context() as patch:

        def dies(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(work, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            relaying.send(other.address)
    assert len(relaying.inbox(other)) == 1
    for shard in relaying.services.placement.shards():
        shard.hot["outbound"].update_many({"is_leased": True}, [{"$set": {"next_at": "$$NOW"}}])
    relaying.run()
    assert len(relaying.inbox(other)) == 1


def test_unknown_and_full_mailboxes_here_are_told_apart(relaying: Relaying) -> None:
    domain = relaying.host_users_domain()
    full = make_user(relaying.services, tenant=(relaying.user.tenant_id, domain), quota_bytes=10)
    queue_id = relaying.send(f"nobody@{domain}", full.address)
    states = [(each.state, each.answer and each.answer.enhanced) for each in relaying.entry(queue_id).recipients]
    assert states == [(FAILED, "5.1.1"), (QUEUED, "4.2.2")]


MEMBER = Actor(ActorKind.MEMBER, Door.PORTAL, "eve@squatters.test")


def squat(relaying: Relaying, domain: str) -> UserId:
    """Let a tenant B have a mailbox under a domain that it has not proven, however it came to it."""
    services = relaying.services
    tenant_b, _ = make_tenant(services, "b")
    services.domains.create(OPERATOR, tenant_b, domain)
    squatter = services.users.create(OPERATOR, f"ceo@{domain}", Secret("squatters-Passw0rd"), "", tenant_b)
    services.placement.directory.database["domains"].update_one({"name": domain}, {"$set": {"verified_at": None}})
    return squatter


def test_squatted_domain_gets_nothing(relaying: Relaying) -> None:
    """Attacks W25, W26: tenant B claims bank.example without proof, even with a mailbox there; A's mail goes to DNS."""
    bank = relaying.world.domain("bank.example")
    squatter = squat(relaying, "bank.example")
    (domain,) = relaying.services.domains.list_of(relaying.services.placement.home(squatter).tenant_id)[1:]
    assert domain.verified_at is None
    assert relaying.services.domains.check_mx(domain) is False
    queue_id = relaying.send("ceo@bank.example")
    assert [taken.message for taken in bank.accepted] == [MESSAGE]
    assert relaying.services.mailboxes.open(squatter, "INBOX").exists == 0
    assert relaying.recipient(queue_id).is_local is False


def test_squatted_domain_whose_mx_the_squatter_may_set_gets_nothing(relaying: Relaying) -> None:
    """The MX points to us, and nobody has proven the domain: it is nobody's here."""
    tenant_b, _ = make_tenant(relaying.services, "b")
    domain = relaying.services.domains.create(MEMBER, tenant_b, "claimed.example")
    relaying.world.dns.add("claimed.example", "MX", "10 mx.eider.test.")
    assert relaying.services.domains.check_mx(domain) is True
    assert relaying.services.domains.delivers_here("claimed.example") is False
    recipient = relaying.recipient(relaying.send("ceo@claimed.example"))
    assert recipient.answer is not None
    assert recipient.answer.enhanced == "5.4.6"


def test_control_a_claim_without_proof_would_get_the_mail(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the squat: if a claim sufficed, B would read A's mail."""
    relaying.world.domain("bank2.example")
    squatter = squat(relaying, "bank2.example")
    monkeypatch.setattr(Routes, "find", lambda *_, **__: LOCAL_ROUTE)
    relaying.send("ceo@bank2.example")
    assert relaying.services.mailboxes.open(squatter, "INBOX").exists == 1


def test_domain_that_moves_away_is_not_ours_any_more(relaying: Relaying) -> None:
    other = make_user(relaying.services)
    name = other.address.rpartition("@")[2]
    services, dns = relaying.services, relaying.world.dns

    def check() -> tuple[bool | None, bool]:
        (domain,) = services.domains.list_of(other.tenant_id)
        return services.domains.check_mx(domain), services.domains.delivers_here(name)

    dns.add(name, "MX", "10 mx.eider.test.", "10 mx2.eider.test.")
    assert check() == (True, True)
    assert check() == (True, True), "twice is once"
    dns.trouble[name] = Trouble.SERVFAIL
    assert check() == (None, True), "that nobody could say changes nothing"
    del dns.trouble[name]
    for records in (("5 elsewhere.test.", "10 mx.eider.test."), ("10 mx.eider.test.", "10 elsewhere.test."), ()):
        dns.add(name, "MX", *records)
        assert check() == (False, False)
    exchanger = relaying.world.domain(name)
    relaying.send(other.address)
    assert len(exchanger.accepted) == 1


def test_every_domain_is_looked_at_once_in_a_run(relaying: Relaying) -> None:
    """Fault F12: also those of which nobody could say anything; a run that is repeated finds the same."""
    services, dns = relaying.services, relaying.world.dns
    names = [make_user(services).address.rpartition("@")[2] for _ in range(3)]
    dns.add(names[0], "MX", "10 mx.eider.test.")
    dns.trouble[names[1]] = Trouble.SERVFAIL
    for _ in range(2):
        before = {name: dns.asked[name, "MX"] for name in names}
        services.domains.check_all_mx()
        assert all(dns.asked[name, "MX"] > before[name] for name in names)
        assert [services.domains.delivers_here(name) for name in names] == [True, False, False]


# -- a smarthost --------------------------------------------------------------------------------


def test_tenant_and_user_may_send_through_a_smarthost(relaying: Relaying) -> None:
    of_tenant = relaying.world.exchanger("smart.test")
    of_user = relaying.world.exchanger("own.test")
    services, user = relaying.services, relaying.user
    services.smarthosts.set_for_tenant(OPERATOR, user.tenant_id, Secret("smtp://smart.test"))
    relaying.send("bob@a.test", "eve@b.test")
    (taken,) = of_tenant.accepted
    assert taken.recipients == ("TO:<bob@a.test>", "TO:<eve@b.test>"), "one transaction, whatever the domains"
    services.smarthosts.set_for_user(OPERATOR, user.user_id, Secret("smtp://own.test"))
    relaying.send("bob@a.test")
    assert (len(of_tenant.accepted), len(of_user.accepted)) == (1, 1)


def check_own_relay(relaying: Relaying) -> None:
    """A relay that the user chose takes what the user writes, and nothing that comes from others and is sent on."""
    own, elsewhere = relaying.world.exchanger("own.test"), relaying.world.domain("a.test")
    services, user = relaying.services, relaying.user
    itself = Actor(ActorKind.USER, Door.API, user.address, user.user_id)
    services.users.set_settings(itself, user.user_id, {"mta_relay": "smtp://own.test"})
    relaying.send("bob@a.test", reason=Reason.FORWARD)
    assert (len(own.accepted), len(elsewhere.accepted)) == (0, 1)
    relaying.send("bob@a.test")
    assert (len(own.accepted), len(elsewhere.accepted)) == (1, 1)
    services.users.set_settings(OPERATOR, user.user_id, {"mta_relay": "smtp://own.test"})
    relaying.send("bob@a.test", reason=Reason.FORWARD)
    assert (len(own.accepted), len(elsewhere.accepted)) == (2, 1)


def test_a_relay_that_the_user_chose_takes_nothing_of_others(relaying: Relaying) -> None:
    check_own_relay(relaying)


def test_control_a_relay_that_takes_everything_is_seen(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    of = Smarthosts.of
    monkeypatch.setattr(Smarthosts, "of", lambda self, home, **_: of(self, home))
    with pytest.raises(AssertionError):
        check_own_relay(relaying)


def test_password_goes_to_a_smarthost_that_proves_itself_only(relaying: Relaying) -> None:
    services, user = relaying.services, relaying.user
    said: list[str] = []

    def auth(argument: str) -> str:
        said.append(argument)
        return "250 2.1.0 OK"

    for name, tls in (
        ("clear.smart.test", None),
        ("wrong.smart.test", relaying.world.tls("other.test")),
    ):
        exchanger = relaying.world.exchanger(name, Behaviour(tls=tls, mail=auth))
        services.smarthosts.set_for_user(OPERATOR, user.user_id, Secret(f"smtp://ann:s3cret-word@{name}:25"))
        recipient = relaying.recipient(relaying.send("bob@a.test"))
        assert (recipient.state, recipient.answer and recipient.answer.enhanced) == (QUEUED, "4.7.5")
        assert exchanger.accepted == []
    assert said == []


# -- DANE ---------------------------------------------------------------------------------------


def _dane(relaying: Relaying, name: str, *, secure: bool, wrong: bool = False, usage: int = 3) -> Behaviour:
    """A domain with a TLSA record; its certificate is signed by nobody we know."""
    authority = trustme.CA()
    leaf = authority.issue_cert(f"mx.{name}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    pem = leaf.cert_chain_pems[0].bytes() if usage == 3 else authority.cert_pem.bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(b"other" if wrong else key).hexdigest()
    if usage == 2:
        context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
        _send_chain(context, leaf, authority)
    behaviour = Behaviour(tls=context)
    relaying.world.domain(name, behaviour)
    dns = relaying.world.dns
    dns.add(f"_25._tcp.mx.{name}", "TLSA", f"{usage} 1 1 {digest}")
    if secure:
        dns.secure |= {name, f"mx.{name}", f"_25._tcp.mx.{name}"}
    return behaviour


def _send_chain(context: ssl.SSLContext, leaf: trustme.LeafCert, authority: trustme.CA) -> None:
    """Let the server show the anchor too, as RFC 7671 §5.2.2 wants of it."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder) / "chain.pem", Path(folder) / "key.pem"
        chain.write_bytes(leaf.cert_chain_pems[0].bytes() + authority.cert_pem.bytes())
        key.write_bytes(leaf.private_key_pem.bytes())
        context.load_cert_chain(chain, key)


DANE_CASES = [
    pytest.param({"secure": True}, SENT, id="end entity, whoever signed it"),
    pytest.param({"secure": True, "usage": 2}, SENT, id="trust anchor in the chain"),
    pytest.param({"secure": True, "wrong": True}, QUEUED, id="another key"),
    pytest.param({"secure": True, "usage": 2, "wrong": True}, QUEUED, id="another anchor"),
    pytest.param({"secure": False, "wrong": True}, SENT, id="not validated, so not looked at"),
]


@pytest.mark.parametrize(("arguments", "state"), DANE_CASES)
def test_dane(relaying: Relaying, arguments: dict[str, bool], state: RecipientState) -> None:
    """RFC 7672: where DNSSEC vouches for a host's certificate, no other is spoken to, and none in clear."""
    name = f"dane{'-'.join(f'{key}{int(value)}' for key, value in sorted(arguments.items()))}.test"
    behaviour = _dane(relaying, name, **arguments)  # type: ignore[arg-type]
    recipient = relaying.recipient(relaying.send(f"bob@{name}"))
    assert recipient.state is state, recipient.answer
    exchanger = relaying.world.exchangers[f"mx.{name}"]
    assert [taken.is_tls for taken in exchanger.accepted] == ([True] if state is SENT else [])
    if arguments.get("secure"):
        behaviour.tls = None
        assert relaying.recipient(relaying.send(f"bob@{name}")).state is QUEUED, "never in clear"


def test_tlsa_that_cannot_be_asked_for_in_a_signed_zone_puts_off(relaying: Relaying) -> None:
    """RFC 7672 §2.1: who keeps the records from us does not get the mail in clear."""
    _dane(relaying, "danefail.test", secure=True)
    relaying.world.dns.trouble["_25._tcp.mx.danefail.test"] = Trouble.SERVFAIL
    recipient = relaying.recipient(relaying.send("bob@danefail.test"))
    assert (recipient.state, recipient.answer and recipient.answer.enhanced) == (QUEUED, "4.4.3")


# -- whom nothing is sent to --------------------------------------------------------------------


def test_after_a_hard_bounce_nothing_is_sent_for_a_while(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("hard.test", Behaviour(recipient="550 5.1.1 gone for good"))
    relaying.send("Bob@hard.test")
    assert exchanger.connections == 1
    exchanger.behaviour.recipient = "250 OK"
    queue_id = relaying.send("bob@HARD.test", "eve@hard.test")
    assert [taken.recipients for taken in exchanger.accepted] == [("TO:<eve@hard.test>",)]
    bob = relaying.recipient(queue_id)
    assert (bob.state, bob.answer and bob.answer.enhanced) == (FAILED, "5.7.1")
    assert "gone for good" in relaying.reports()[-1].text
    other = make_user(relaying.services)
    relaying.send("bob@hard.test", user=other)
    assert len(exchanger.accepted) == 2, "another tenant's list is another"
    relaying.services.suppressions.remove(OPERATOR, relaying.user.tenant_id, "bob@hard.test")
    assert relaying.recipient(relaying.send("bob@hard.test")).state is SENT


@pytest.mark.parametrize("reply", ["550 5.7.1 blocked", "552 5.2.2 full", "554 5.6.0 content", "450 4.1.1 later"])
def test_what_says_nothing_of_the_address_suppresses_nothing(relaying: Relaying, reply: str) -> None:
    exchanger = relaying.world.domain("soft.test", Behaviour(recipient=reply))
    relaying.send("bob@soft.test")
    assert relaying.services.suppressions.list_of(relaying.user.tenant_id) == []
    exchanger.stop()


# -- over the wire ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_nothing_is_smuggled_out(relaying: Relaying, end: bytes) -> None:
    """Attack N4, outbound: whatever was queued, the other server sees one message, with CRLF alone."""
    exchanger = relaying.world.domain("wire.test")
    relaying.send("bob@wire.test", message=b"Subject: x\r\n\r\nhello" + end + SMUGGLED)
    (taken,) = exchanger.taken
    assert ends(taken.wire) == 1
    assert LONE.search(taken.wire) is None
    exchanger.stop()


def test_message_sent_as_it_lies_would_smuggle(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: bare line ends reach the other server."""
    monkeypatch.setattr("mailcore.smtp.wire.content._LONE", re.compile(rb"(?!)"))
    exchanger = relaying.world.domain("smuggle.test")
    relaying.send("bob@smuggle.test", message=b"Subject: x\r\n\r\nhello\n.\n" + SMUGGLED)
    assert any(LONE.search(taken.wire) for taken in exchanger.taken)


CAPABILITIES = [
    # message, address, extensions it lacks, outcome, what MAIL says
    pytest.param("grün".encode(), "bob@{}", "", SENT, "BODY=8BITMIME", id="8-bit"),
    pytest.param("grün".encode(), "bob@{}", "8BITMIME", FAILED, "5.6.3", id="8-bit to who takes none"),
    pytest.param(b"plain", "jörg@{}", "", SENT, "SMTPUTF8", id="address beyond ASCII"),
    pytest.param(b"plain", "jörg@{}", "SMTPUTF8", FAILED, "5.6.7", id="address beyond ASCII to who takes none"),
    pytest.param(b"plain", "bob@{}", "PIPELINING", SENT, "", id="one command after the other"),
    pytest.param(b"plain", "bob@{}", "DSN", SENT, "", id="no DSN"),
]


@pytest.mark.parametrize(("body", "address", "lacks", "state", "says"), CAPABILITIES)
def test_only_what_the_server_offers_is_used(
    relaying: Relaying, body: bytes, address: str, lacks: str, state: RecipientState, says: str
) -> None:
    extensions = tuple(each for each in EXTENSIONS if each != lacks)
    exchanger = relaying.world.domain("capable.test", Behaviour(extensions=extensions))
    queue_id = relaying.send(
        address.format("capable.test"), message=MESSAGE + body + b"\r\n", is_utf8=True, envelope_id="x"
    )
    recipient = relaying.recipient(queue_id)
    assert recipient.state is state
    if state is SENT:
        assert says in exchanger.accepted[0].mail
        assert ("ENVID" in exchanger.accepted[0].mail) is (lacks != "DSN")
        assert exchanger.accepted[0].message == MESSAGE + body + b"\r\n"
    else:
        assert recipient.answer is not None
        assert recipient.answer.enhanced == says
    exchanger.stop()


def test_domain_beyond_ascii_needs_no_smtputf8(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("xn--mller-kva.test", Behaviour(extensions=()))
    relaying.send("bob@müller.test")
    assert exchanger.accepted[0].recipients == ("TO:<bob@xn--mller-kva.test>",)


def test_server_of_old_is_greeted_as_it_knows(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("old.test")
    exchanger.behaviour.extensions = ()
    relaying.send("bob@old.test")
    assert exchanger.accepted[0].mail == f"FROM:<{relaying.user.address}>"


def test_hundreds_of_recipients_go_in_several_transactions(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("many.test")
    relaying.send(*(f"user{number}@many.test" for number in range(250)))
    assert [len(taken.recipients) for taken in exchanger.accepted] == [100, 100, 50]
    assert exchanger.connections == 1


def test_destination_with_all_its_connections_waits_without_a_try(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailcore.relay.handling.SLOT_S", 0.0)
    exchanger = relaying.world.domain("busy.test")
    slots = relaying.services.slots
    tokens = [slots.take("busy.test") for _ in range(20)]
    assert all(tokens)
    assert slots.take("busy.test") is None
    queue_id = relaying.send("bob@busy.test")
    recipient = relaying.recipient(queue_id)
    assert (recipient.state, recipient.attempts, exchanger.connections) == (QUEUED, 0, 0)
    assert not relaying.entry(queue_id).is_leased
    for token in filter(None, tokens):
        slots.give("busy.test", token)
    relaying.services.outbound.retry(OPERATOR, relaying.user.user_id, queue_id)
    relaying.run()
    assert relaying.recipient(queue_id).state is SENT


def test_repeat_that_is_not_known_again_would_be_sent_twice(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise P17 with its negative control: the key is what makes a repeat find itself."""
    exchanger = relaying.world.domain("repeat.test")
    for _ in range(2):
        relaying.send("bob@repeat.test", key=b"repeat")
    assert len(exchanger.accepted) == 1
    ids = iter("0123456789")
    monkeypatch.setattr(
        "mailcore.services.outbound.queueing.queue_id_of", lambda user, key: queue_id_of(user, key + next(ids).encode())
    )
    for _ in range(2):
        relaying.send("bob@repeat.test", key=b"repeat")
    assert len(exchanger.accepted) == 3


def test_answer_says_whether_another_try_helps() -> None:
    kinds = [(Answer(0, enhanced, "").is_positive, Answer(0, enhanced, "").is_final) for enhanced in ("2.0.0", "4.0.0")]
    assert kinds == [(True, False), (False, False)]
    assert Answer(550, "5.1.1", "").is_final


def test_mail_of_somebody_suspended_waits(relaying: Relaying) -> None:
    """What a stolen login has queued goes nowhere once an administrator looked; later it goes on by itself."""
    exchanger = relaying.world.domain("suspended.test")
    services, user_id = relaying.services, relaying.user.user_id
    queue_id = relaying.send("bob@suspended.test", run=False)
    services.users.set_state(OPERATOR, user_id, State.SUSPENDED)
    relaying.run()
    assert exchanger.connections == 0
    assert (relaying.recipient(queue_id).state, relaying.recipient(queue_id).attempts) == (QUEUED, 0)
    services.users.set_state(OPERATOR, user_id, State.ACTIVE)
    services.outbound.retry(OPERATOR, user_id, queue_id)
    relaying.run()
    assert len(exchanger.accepted) == 1


Change = Callable[[MailServices, MadeUser], None]
STOPS: dict[str, tuple[Change, Change]] = {
    "user": (
        lambda services, user: services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED),
        lambda services, user: services.users.set_state(OPERATOR, user.user_id, State.ACTIVE),
    ),
    "tenant": (
        lambda services, user: services.tenants.set_state(OPERATOR, user.tenant_id, State.SUSPENDED),
        lambda services, user: services.tenants.set_state(OPERATOR, user.tenant_id, State.ACTIVE),
    ),
    "standing": (
        lambda services, user: services.tenants.set_standing(OPERATOR, user.tenant_id, Standing.NO_SENDING),
        lambda services, user: services.tenants.set_standing(OPERATOR, user.tenant_id, Standing.FULL),
    ),
}
"""What stops somebody's forwards, and what lets them go again."""


def check_forward_waits(relaying: Relaying, stop: Change, go: Change) -> None:
    """What was queued before goes nowhere until it may, and is not lost; a bounce on its way back goes."""
    exchanger = relaying.world.domain("thief.test")
    queue_id = relaying.send("eve@thief.test", reason=Reason.FORWARD, run=False)
    relaying.send("ann@thief.test", reason=Reason.FORWARD, reverse_path="", run=False)
    stop(relaying.services, relaying.user)
    relaying.run()
    assert ["ann@thief.test" in str(taken.recipients) for taken in exchanger.accepted] == [True]
    assert (relaying.recipient(queue_id).state, relaying.recipient(queue_id).attempts) == (QUEUED, 0)
    go(relaying.services, relaying.user)
    relaying.services.outbound.retry(OPERATOR, relaying.user.user_id, queue_id)
    relaying.run()
    assert len(exchanger.accepted) == 2


@pytest.mark.parametrize("what", STOPS)
def test_forwards_queued_before_a_suspension_wait(relaying: Relaying, what: str) -> None:
    """Decision 46: a stolen account passes nothing on, also of what came before somebody looked."""
    check_forward_waits(relaying, *STOPS[what])


def test_control_forwards_that_leave_in_spite_of_a_suspension_are_seen(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "sends_by_itself", lambda *_: True)
    with pytest.raises(AssertionError):
        check_forward_waits(relaying, *STOPS["user"])


def test_what_an_address_of_the_tenant_sends_on_asks_for_the_tenant_alone(relaying: Relaying) -> None:
    """It lies with some user of the tenant, whose suspension says nothing of the address."""
    exchanger = relaying.world.domain("partner.test")
    services, user = relaying.services, relaying.user
    services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED)
    relaying.send("bo@partner.test", reason=Reason.FORWARD, of_tenant=True)
    assert len(exchanger.accepted) == 1
    services.tenants.set_state(OPERATOR, user.tenant_id, State.SUSPENDED)
    relaying.send("bo@partner.test", reason=Reason.FORWARD, of_tenant=True)
    assert len(exchanger.accepted) == 1


def test_smarthost_that_knows_no_password_any_more_bounces_nothing(relaying: Relaying) -> None:
    """535 is for the administrator to mend: the senders' mail waits."""
    tls = relaying.world.tls("login.smart.test")
    exchanger = relaying.world.exchanger("login.smart.test", Behaviour(tls=tls, extensions=("AUTH PLAIN LOGIN",)))
    relaying.services.smarthosts.set_for_user(
        OPERATOR, relaying.user.user_id, Secret("smtp://ann:s3cret-word@login.smart.test:25")
    )
    recipient = relaying.recipient(relaying.send("bob@a.test"))
    assert (recipient.state, recipient.answer and recipient.answer.enhanced) == (QUEUED, "4.7.8")
    assert exchanger.accepted == []


@pytest.mark.parametrize("mechanism", ["PLAIN LOGIN", "LOGIN"])
def test_smarthost_is_told_the_password_encrypted(relaying: Relaying, mechanism: str) -> None:
    """RFC 4954, over TLS whose certificate is for its name; PLAIN before LOGIN."""
    said: list[str] = []

    def auth(argument: str) -> str:
        said.append(argument)
        return "334 " if mechanism == "LOGIN" and len(said) < 3 else "235 2.7.0 welcome"

    name = f"{len(mechanism)}.smart.test"
    behaviour = Behaviour(tls=relaying.world.tls(name), extensions=(f"AUTH {mechanism}",), auth=auth)
    exchanger = relaying.world.exchanger(name, behaviour)
    relaying.services.smarthosts.set_for_user(
        OPERATOR, relaying.user.user_id, Secret(f"smtp://ann:s3cret-word@{name}:25")
    )
    relaying.send("bob@a.test")
    assert [taken.is_tls for taken in exchanger.accepted] == [True]
    decoded = [base64.b64decode(word.removeprefix("PLAIN ")) for word in said if word != "LOGIN"]
    assert decoded == ([b"ann", b"s3cret-word"] if mechanism == "LOGIN" else [b"\0ann\0s3cret-word"])


def test_odd_addresses_are_sent_as_they_are(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("odd.test")
    odd = OutboundRecipient('"a b"@odd.test', None, "x y NOTIFY=NEVER;a@b")
    queue_id = relaying.send(odd, "a\u200b@odd.test", reverse_path='"q \\"s"@odd.test', is_utf8=True)
    assert [each.state for each in relaying.entry(queue_id).recipients] == [SENT, SENT]
    assert exchanger.accepted[0].recipients == ('TO:<"a b"@odd.test>', "TO:<a\u200b@odd.test>")
    assert exchanger.accepted[0].mail.startswith('FROM:<"q \\"s"@odd.test> ')
    relaying.send(relaying.user.address, reverse_path='"q s"@odd.test')
    assert relaying.inbox()[-1].startswith(b'Return-Path: <"q s"@odd.test>\r\n')
