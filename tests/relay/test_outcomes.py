"""What other servers, DNS and TLS may do, and what becomes of a message then: the right state and the right report."""

from __future__ import annotations

import itertools
import socket
import ssl

import pytest
import trustme

from mailcore.model.outbound import EntryState, RecipientState
from tests.builders import OPERATOR
from tests.relay.conftest import MESSAGE, Relaying, impatient
from tests.stubs.outside import Behaviour, Trouble

_numbers = itertools.count(1)
FAILED, QUEUED, SENT = RecipientState.FAILED, RecipientState.QUEUED, RecipientState.SENT


def test_message_is_sent_as_it_is(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("plain.test")
    queue_id = relaying.send("bob@plain.test")
    (taken,) = exchanger.taken
    assert taken.message == MESSAGE
    assert taken.mail == f"FROM:<{relaying.user.address}> SIZE={len(MESSAGE) + 2}"
    assert taken.recipients == ("TO:<bob@plain.test>",)
    assert taken.hello == "relay.eider.test"
    assert relaying.entry(queue_id).state is EntryState.DONE
    assert relaying.recipient(queue_id).state is SENT
    assert relaying.reports() == []


ANSWERS = [
    # behaviour, state of the recipient, status told
    pytest.param(Behaviour(recipient="450 4.2.1 greylisted"), QUEUED, "4.2.1", id="4xx to RCPT"),
    pytest.param(Behaviour(recipient="550 5.1.1 no such user"), FAILED, "5.1.1", id="5xx to RCPT"),
    pytest.param(Behaviour(recipient="550 no status"), FAILED, "5.1.0", id="5xx to RCPT without a status"),
    pytest.param(Behaviour(mail="451 4.3.0 later"), QUEUED, "4.3.0", id="4xx to MAIL"),
    pytest.param(Behaviour(mail="550 5.7.1 not you"), FAILED, "5.7.1", id="5xx to MAIL"),
    pytest.param(Behaviour(data="452 4.3.1 no room"), QUEUED, "4.3.1", id="4xx to DATA"),
    pytest.param(Behaviour(data="554 5.6.0 no"), FAILED, "5.6.0", id="5xx to DATA"),
    pytest.param(Behaviour(content="451 4.7.1 later"), QUEUED, "4.7.1", id="4xx to content"),
    pytest.param(Behaviour(content="554 5.7.1 spam"), FAILED, "5.7.1", id="5xx to content"),
    pytest.param(Behaviour(greeting="421 4.3.2 too busy"), QUEUED, "4.3.2", id="421 greeting"),
    pytest.param(Behaviour(greeting="554 5.7.1 no mail from you"), FAILED, "5.7.1", id="554 greeting"),
    pytest.param(Behaviour(recipient="421 4.3.2 going down"), QUEUED, "4.3.2", id="421 to RCPT"),
    pytest.param(Behaviour(greeting="hello"), QUEUED, "4.4.2", id="nonsense"),
    pytest.param(Behaviour(greeting=None), QUEUED, "4.4.2", id="hangs up at once"),
    pytest.param(Behaviour(content=None), QUEUED, "4.4.2", id="hangs up after the content"),
    pytest.param(Behaviour(hangs="GREETING"), QUEUED, "4.4.2", id="silence instead of a greeting"),
    pytest.param(Behaviour(hangs="RCPT"), QUEUED, "4.4.2", id="silence after RCPT"),
    pytest.param(Behaviour(hangs="CONTENT"), QUEUED, "4.4.2", id="silence after the content"),
    pytest.param(Behaviour(extensions=("SIZE 20",)), FAILED, "5.3.4", id="too large for it"),
    pytest.param(Behaviour(hello="502 5.5.1 what"), FAILED, "5.5.1", id="knows neither EHLO nor HELO"),
]


@pytest.mark.parametrize(("behaviour", "state", "status"), ANSWERS)
def test_answer_leads_to_a_state_and_a_report(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour, state: RecipientState, status: str
) -> None:
    """A refusal for good is told at once; one for now after hours as a delay, and as a failure when time is over."""
    if behaviour.hangs:
        impatient(monkeypatch)
    exchanger = relaying.world.domain("answers.test", behaviour)
    queue_id = relaying.send("bob@answers.test")
    recipient = relaying.recipient(queue_id)
    assert recipient.state is state
    assert recipient.answer is not None
    assert recipient.answer.enhanced == status
    if state is QUEUED:
        assert relaying.reports() == []
        assert recipient.due_at is not None
        assert relaying.run() == 0, "not due yet"
        relaying.age(queue_id)
        relaying.run()
        (delayed,) = relaying.reports()
        assert (delayed.fields[1]["Action"], delayed.fields[1]["Status"]) == ("delayed", status)
        assert "Will-Retry-Until" in delayed.fields[1]
        relaying.age(queue_id)
        relaying.run()
        assert len(relaying.reports()) == 1, "told once"
        relaying.expire(queue_id)
        relaying.run()
        status = "5.4.7"
    report = relaying.reports()[-1]
    assert (report.fields[1]["Action"], report.fields[1]["Status"]) == ("failed", status)
    assert report.fields[1]["Final-Recipient"] == "rfc822; bob@answers.test"
    assert relaying.entry(queue_id).state is EntryState.DONE
    exchanger.stop()


def test_port_that_nobody_listens_on(relaying: Relaying) -> None:
    relaying.world.dns.add("closed.test", "A", "127.9.200.200")
    recipient = relaying.recipient(relaying.send("bob@closed.test"))
    assert (recipient.state, recipient.answer and recipient.answer.enhanced) == (QUEUED, "4.4.1")


def test_recipients_of_one_message_end_each_in_its_own_way(relaying: Relaying) -> None:
    says = {"TO:<good@mixed.test>": "250 2.1.5 OK", "TO:<later@mixed.test>": "451 4.2.1 later"}
    exchanger = relaying.world.domain(
        "mixed.test", Behaviour(recipient=lambda path: says.get(path.partition(" ")[0], "550 5.1.1 unknown"))
    )
    queue_id = relaying.send("good@mixed.test", "later@mixed.test", "bad@mixed.test")
    states = [each.state for each in relaying.entry(queue_id).recipients]
    assert states == [SENT, QUEUED, FAILED]
    assert [block["Final-Recipient"] for block in relaying.reports()[0].fields[1:]] == ["rfc822; bad@mixed.test"]
    says["TO:<later@mixed.test>"] = "250 2.1.5 OK"
    relaying.services.outbound.retry(OPERATOR, relaying.user.user_id, queue_id)
    relaying.run()
    assert [taken.recipients for taken in exchanger.accepted] == [
        ("TO:<good@mixed.test>",),
        ("TO:<later@mixed.test>",),
    ]
    assert relaying.entry(queue_id).state is EntryState.DONE
    assert len(relaying.reports()) == 1


# -- DNS ----------------------------------------------------------------------------------------


def _exchangers(relaying: Relaying, name: str, *records: str) -> None:
    relaying.world.dns.add(name, "MX", *records)


def test_best_host_first_then_the_others(relaying: Relaying) -> None:
    world = relaying.world
    second = world.exchanger("second.order.test")
    first = world.exchanger("first.order.test", Behaviour(greeting="421 4.3.2 busy"))
    _exchangers(relaying, "order.test", "20 second.order.test.", "10 first.order.test.", "5 gone.order.test.")
    assert relaying.recipient(relaying.send("bob@order.test")).state is SENT
    assert (first.connections, len(second.accepted)) == (1, 1)


def test_second_address_of_a_host_is_tried(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("two.test")
    relaying.world.dns.add("mx.two.test", "A", "127.9.200.201", exchanger.host)
    assert relaying.recipient(relaying.send("bob@two.test")).state is SENT


def test_domain_without_mx_is_its_own_host(relaying: Relaying) -> None:
    exchanger = relaying.world.exchanger("implicit.test")
    relaying.send("bob@implicit.test")
    assert len(exchanger.accepted) == 1


def test_alias_of_a_domain_is_followed(relaying: Relaying) -> None:
    exchanger = relaying.world.domain("canonical.test")
    relaying.world.dns.add("alias.test", "CNAME", "canonical.test.")
    relaying.send("bob@alias.test")
    assert exchanger.accepted[0].recipients == ("TO:<bob@alias.test>",)


DNS_CASES = [
    pytest.param("nowhere.test", FAILED, "5.1.2", id="no such domain"),
    pytest.param("null.test", FAILED, "5.1.10", id="null MX"),
    pytest.param("noaddress.test", FAILED, "5.4.4", id="MX without an address"),
    pytest.param("servfail.test", QUEUED, "4.4.3", id="SERVFAIL"),
    pytest.param("silent.test", QUEUED, "4.4.3", id="silence"),
    pytest.param("loop.test", QUEUED, "4.4.3", id="CNAME loop"),
    pytest.param("mxloop.test", QUEUED, "4.4.3", id="MX into a CNAME loop"),
    pytest.param("mxsilent.test", QUEUED, "4.4.3", id="address of the MX: silence"),
    pytest.param("loopback.test", FAILED, "5.4.4", id="MX to 127.0.0.1"),
    pytest.param("private.test", FAILED, "5.4.4", id="MX to private addresses"),
    pytest.param("mapped.test", FAILED, "5.4.4", id="MX to loopback in IPv6"),
    pytest.param("us.test", FAILED, "5.4.6", id="MX to us, and not our domain"),
    pytest.param("not..a.domain", FAILED, "5.1.2", id="no domain name"),
    pytest.param("[127.0.0.1]", FAILED, "5.4.4", id="literal of loopback"),
    pytest.param("[0x7f000001]", FAILED, "5.4.4", id="literal that is no address"),
]


@pytest.mark.parametrize(("domain", "state", "status"), DNS_CASES)
def test_what_dns_says_leads_to_a_state_and_a_report(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch, domain: str, state: RecipientState, status: str
) -> None:
    """Fault F14, Attack W18: trouble is put off, lies lead nowhere, and what cannot be is told at once."""
    if "silent" in domain:
        monkeypatch.setattr("mailcore.services.outbound.dns.LIFETIME_S", 0.3)
    dns = relaying.world.dns
    dns.add("null.test", "MX", "0 .")
    dns.add("noaddress.test", "MX", "10 nothing.noaddress.test.")
    dns.trouble |= dict.fromkeys(("servfail.test",), Trouble.SERVFAIL)
    dns.trouble |= dict.fromkeys(("silent.test", "mx.mxsilent.test"), Trouble.SILENCE)
    dns.add("loop.test", "CNAME", "pool.test.")
    dns.add("pool.test", "CNAME", "loop.test.")
    dns.add("mxloop.test", "MX", "10 loop.test.")
    dns.add("mxsilent.test", "MX", "10 mx.mxsilent.test.")
    dns.add("loopback.test", "MX", "10 mx.loopback.test.")
    dns.add("mx.loopback.test", "A", "127.0.0.1")
    dns.add("private.test", "MX", "10 mx.private.test.")
    dns.add("mx.private.test", "A", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1")
    dns.add("mx.private.test", "AAAA", "::1", "fe80::1", "fc00::1", "ff02::1", "2002:7f00:1::1", "64:ff9b::a00:1")
    dns.add("mapped.test", "MX", "10 mx.mapped.test.")
    dns.add("mx.mapped.test", "AAAA", "::ffff:127.0.0.1")
    dns.add("us.test", "MX", "10 mx.eider.test.", "20 elsewhere.test.")
    queue_id = relaying.send(f"bob@{domain}")
    recipient = relaying.recipient(queue_id)
    assert recipient.answer is not None
    assert (recipient.state, recipient.answer.enhanced) == (state, status)
    if state is QUEUED:
        relaying.expire(queue_id)
        relaying.run()
        status = "5.4.7"
    assert relaying.reports()[-1].fields[1]["Status"] == status


def test_answer_that_changes_is_checked_where_it_is_connected_to(relaying: Relaying) -> None:
    """Attack W18, DNS rebinding: the address that was looked at is the one connected to; no second question."""
    exchanger = relaying.world.domain("rebinding.test")
    answers = iter([[exchanger.host], ["127.0.0.1"], ["127.0.0.1"]])
    relaying.world.dns.records["mx.rebinding.test", "A"] = lambda: next(answers)
    assert relaying.recipient(relaying.send("bob@rebinding.test")).state is SENT
    assert relaying.world.dns.asked["mx.rebinding.test", "A"] == 1
    recipient = relaying.recipient(relaying.send("bob@rebinding.test"))
    assert recipient.answer is not None
    assert recipient.answer.enhanced == "5.4.4"


def test_mx_to_our_own_lmtp_gets_no_connection(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack W18: LMTP would deliver to anybody here, so not even a connection is made.

    Negative control: without the look at addresses it is.
    """
    with socket.create_server(("127.0.0.1", relaying.world.smtp_port)) as lmtp:
        lmtp.settimeout(0.5)
        relaying.world.dns.add("ourlmtp.test", "MX", "10 lmtp.ourlmtp.test.")
        relaying.world.dns.add("lmtp.ourlmtp.test", "A", "127.0.0.1")
        recipient = relaying.recipient(relaying.send("bob@ourlmtp.test"))
        assert (recipient.state, recipient.answer and recipient.answer.enhanced) == (FAILED, "5.4.4")
        with pytest.raises(TimeoutError):
            lmtp.accept()
        impatient(monkeypatch)
        monkeypatch.setattr("mailcore.net.outgoing.OutgoingClient.objection", lambda *_: None)
        relaying.send("bob@ourlmtp.test")
        lmtp.accept()[0].close()


# -- TLS ----------------------------------------------------------------------------------------


def test_tls_is_used_where_it_is_offered_whoever_signed(relaying: Relaying) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("other.name.test").configure_cert(context)
    exchanger = relaying.world.domain("opportunistic.test", Behaviour(tls=context))
    relaying.send("bob@opportunistic.test")
    assert exchanger.accepted[0].is_tls


def test_tls_that_fails_is_done_without(relaying: Relaying) -> None:
    tls = relaying.world.tls("mx.broken.test")
    exchanger = relaying.world.domain("broken.test", Behaviour(tls=tls, breaks_tls=True))
    relaying.send("bob@broken.test")
    assert [taken.is_tls for taken in exchanger.accepted] == [False]


POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n"
STS_CASES = [
    # name of the certificate ("" none offered), names in the policy, mode, sent, with TLS
    pytest.param("mx.sts{n}.test", "mx.sts{n}.test", "enforce", True, True, id="all is well"),
    pytest.param("mx.sts{n}.test", "*.sts{n}.test", "enforce", True, True, id="a wildcard in the policy"),
    pytest.param("wrong.test", "mx.sts{n}.test", "enforce", False, False, id="certificate of another name"),
    pytest.param("", "mx.sts{n}.test", "enforce", False, False, id="no TLS offered"),
    pytest.param("mx.sts{n}.test", "other.sts{n}.test", "enforce", False, False, id="host not in the policy"),
    pytest.param("wrong.test", "mx.sts{n}.test", "testing", True, True, id="wrong name while testing"),
    pytest.param("", "mx.sts{n}.test", "none", True, False, id="no policy any more"),
]


@pytest.mark.parametrize(("certificate", "named", "mode", "is_sent", "is_tls"), STS_CASES)
def test_mta_sts(
    relaying: Relaying,
    certificate: str,
    named: str,
    mode: str,
    is_sent: bool,
    is_tls: bool,
) -> None:
    """RFC 8461 §4, §5: under an enforced policy nothing goes to a host that does not prove itself; the sender hears."""
    number = next(_numbers)
    domain = f"sts{number}.test"
    tls = relaying.world.tls(certificate.format(n=number)) if certificate else None
    exchanger = relaying.world.domain(domain, Behaviour(tls=tls))
    relaying.world.policy(domain, POLICY.format(mode=mode, mx=named.format(n=number)))
    queue_id = relaying.send(f"bob@{domain}")
    assert [taken.is_tls for taken in exchanger.accepted] == ([is_tls] if is_sent else [])
    if not is_sent:
        recipient = relaying.recipient(queue_id)
        assert (recipient.state, recipient.answer and recipient.answer.enhanced) == (QUEUED, "4.7.5")
        relaying.expire(queue_id)
        relaying.run()
        report = relaying.reports()[-1]
        assert report.fields[1]["Status"] == "5.4.7"
        assert ("TLS" in report.text) or ("MTA-STS" in report.text)


def test_control_a_relay_that_knows_no_policy_would_send(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the table above."""
    monkeypatch.setattr("mailcore.relay.mta_sts.MtaSts.policy", lambda *_: None)
    exchanger = relaying.world.domain("stscontrol.test", Behaviour(tls=relaying.world.tls("wrong.test")))
    relaying.world.policy("stscontrol.test", POLICY.format(mode="enforce", mx="mx.stscontrol.test"))
    relaying.send("bob@stscontrol.test")
    assert len(exchanger.accepted) == 1


def test_policy_is_remembered_when_its_record_is_cut_off(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8461 §10.2: who hides the record or the policy does not get the mail in clear."""
    monkeypatch.setattr("mailcore.relay.mta_sts.CACHED_S", 0.0)
    world = relaying.world
    exchanger = world.domain("cutoff.test", Behaviour(tls=world.tls("mx.cutoff.test")))
    world.policy("cutoff.test", POLICY.format(mode="enforce", mx="mx.cutoff.test"))
    relaying.send("bob@cutoff.test")
    fetched = len(world.fetched)
    for hide in (
        lambda: world.dns.records.pop(("_mta-sts.cutoff.test", "TXT")),
        lambda: world.dns.trouble.update({"_mta-sts.cutoff.test": Trouble.SERVFAIL}),
    ):
        hide()
        exchanger.behaviour.tls = None
        assert relaying.recipient(relaying.send("bob@cutoff.test")).state is QUEUED
    assert len(world.fetched) == fetched, "and it was not fetched again"


NO_POLICIES = [
    pytest.param((302, "text/plain", "https://elsewhere.test/"), id="redirect"),
    pytest.param((200, "text/html", POLICY.format(mode="enforce", mx="other.test")), id="content type"),
    pytest.param("version: STSv2\r\nmode: enforce\r\nmx: other.test\r\nmax_age: 1\r\n", id="version"),
    pytest.param(POLICY.format(mode="enforce", mx="other.test") + "x" * 100_000, id="too long"),
    pytest.param("", id="404"),
]


@pytest.mark.parametrize("policy", NO_POLICIES)
def test_what_is_no_policy_changes_nothing(relaying: Relaying, policy: object) -> None:
    domain = f"nosts{next(_numbers)}.test"
    exchanger = relaying.world.domain(domain)
    relaying.world.policy(domain, policy)
    relaying.send(f"bob@{domain}")
    assert len(exchanger.accepted) == 1
