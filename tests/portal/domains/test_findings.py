"""Every state and every mistake, as real name servers answer: what is said, and that nothing else is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest

from mailcore.model.dns_answers import Outcome, Question
from mailcore.services.outbound import authoritative_dns
from portal.domains import evaluation
from portal.domains.records import Advice, Finding, State, Verdict, Wanted
from portal.domains.sentences import SENTENCES, sentence
from portal.domains.survey import MOST_QUESTIONS
from portal.domains.zone_file import quoted
from tests.portal.domains.example import DOMAIN, TOKEN
from tests.stubs.nameservers import Nameservers, Trouble, Zone

Look = Callable[[], Mapping[str, Finding]]
MX, SPF, DMARC = f"mx:{DOMAIN}", f"spf:{DOMAIN}", f"dmarc:_dmarc.{DOMAIN}"
DKIM, OWNERSHIP = f"dkim:rs20261126._domainkey.{DOMAIN}", f"ownership:_eider.{DOMAIN}"
AUTOCONFIG, AUTODISCOVER = f"autoconfig:autoconfig.{DOMAIN}", f"autodiscover:autodiscover.{DOMAIN}"
IMAPS = f"srv:_imaps._tcp.{DOMAIN}"
DKIM_NAME = f"rs20261126._domainkey.{DOMAIN}"


def test_all_records_as_they_should_be_match(zone: Zone, look: Look) -> None:
    findings = look()
    assert {finding.state for finding in findings.values()} == {State.MATCH}, {
        key: finding.verdict for key, finding in findings.items() if finding.state is not State.MATCH
    }
    assert len(findings) == 16


def test_evidence_names_who_answered_what_when_and_for_how_long(zone: Zone, look: Look) -> None:
    [observation] = look()[MX].evidence
    assert (observation.question, observation.zone) == (Question(DOMAIN, "MX"), DOMAIN)
    assert [answer.server for answer in observation.answers] == [f"ns1.{DOMAIN}", f"ns2.{DOMAIN}"]
    for answer, server in zip(observation.answers, zone.servers, strict=True):
        assert answer.address == server.address.partition(":")[0]
        assert answer.records == ("10 mx1.eider.test.", "20 mx2.eider.test.")
        assert (answer.outcome, answer.ttl_s) == (Outcome.RECORDS, 300)
        assert answer.asked_at.tzinfo is not None


def move(zone: Zone, name: str, kind: str, to: str) -> None:
    zone.add(to, kind, *zone.get(name, kind))
    zone.remove(name, kind)


def swap(zone: Zone, name: str, old: str, kind: str, *texts: str) -> None:
    zone.remove(name, old)
    zone.add(name, kind, *texts)


def pieces(zone: Zone) -> list[str]:
    """The strings of the DKIM record."""
    return re.findall(r'"([^"]*)"', zone.get(DKIM_NAME, "TXT")[0])


def chain(zone: Zone, includes: int) -> None:
    for number in range(includes):
        zone.add(f"s{number}.{DOMAIN}", "TXT", f'"v=spf1 ip4:192.0.2.{number} -all"')
    names = " ".join(f"include:s{number}.{DOMAIN}" for number in range(includes))
    zone.add(DOMAIN, "TXT", quoted(f"v=spf1 {names} include:_spf.eider.test -all"))


CASES = [
    # -- nothing there, or at the wrong name
    (MX, State.MISSING, Advice.NOT_FOUND, lambda z: z.remove(DOMAIN, "MX")),
    (SPF, State.MISSING, Advice.NOT_FOUND, lambda z: z.remove(DOMAIN, "TXT")),
    (DKIM, State.MISSING, Advice.NOT_FOUND, lambda z: z.remove(DKIM_NAME, "TXT")),
    (IMAPS, State.MISSING, Advice.NOT_FOUND, lambda z: z.remove(f"_imaps._tcp.{DOMAIN}", "SRV")),
    (DKIM, State.MISSING, Advice.DOUBLED_NAME, lambda z: move(z, DKIM_NAME, "TXT", f"{DKIM_NAME}.{DOMAIN}")),
    (DMARC, State.MISSING, Advice.DOUBLED_NAME,
     lambda z: move(z, f"_dmarc.{DOMAIN}", "TXT", f"_dmarc.{DOMAIN}.{DOMAIN}")),
    (AUTOCONFIG, State.MISSING, Advice.DOUBLED_NAME,
     lambda z: move(z, f"autoconfig.{DOMAIN}", "CNAME", f"autoconfig.{DOMAIN}.{DOMAIN}")),
    # -- targets
    (MX, State.CONFLICT, Advice.DOUBLED_TARGET, lambda z: z.add(DOMAIN, "MX", f"10 mx1.eider.test.{DOMAIN}.")),
    (AUTODISCOVER, State.CONFLICT, Advice.DOUBLED_TARGET,
     lambda z: z.add(f"autodiscover.{DOMAIN}", "CNAME", f"web.eider.test.{DOMAIN}.")),
    (IMAPS, State.CONFLICT, Advice.DOUBLED_TARGET,
     lambda z: z.add(f"_imaps._tcp.{DOMAIN}", "SRV", f"0 1 993 mail.eider.test.{DOMAIN}.")),
    (IMAPS, State.CONFLICT, Advice.OTHER_TARGET,
     lambda z: z.add(f"_imaps._tcp.{DOMAIN}", "SRV", "0 1 993 imap.elsewhere.test.")),
    (AUTOCONFIG, State.CONFLICT, Advice.OTHER_TARGET,
     lambda z: z.add(f"autoconfig.{DOMAIN}", "CNAME", "web.elsewhere.test.")),
    (AUTODISCOVER, State.STALE, Advice.LEFTOVER_TARGET,
     lambda z: z.add(f"autodiscover.{DOMAIN}", "CNAME", "autodiscover.outlook.com.")),
    (f"srv:_autodiscover._tcp.{DOMAIN}", State.STALE, Advice.LEFTOVER_TARGET,
     lambda z: z.add(f"_autodiscover._tcp.{DOMAIN}", "SRV", "0 0 443 autodiscover.outlook.com.")),
    (AUTOCONFIG, State.CONFLICT, Advice.PROXIED,
     lambda z: swap(z, f"autoconfig.{DOMAIN}", "CNAME", "A", "104.21.3.4", "172.67.8.9")),
    (AUTOCONFIG, State.CONFLICT, Advice.ADDRESS_INSTEAD,
     lambda z: swap(z, f"autoconfig.{DOMAIN}", "CNAME", "A", "198.51.100.7")),
    # -- a CNAME where none may be
    (MX, State.CONFLICT, Advice.APEX_ALIAS, lambda z: swap(z, DOMAIN, "MX", "CNAME", "shop.elsewhere.test.")),
    (IMAPS, State.CONFLICT, Advice.ALIAS_IN_THE_WAY,
     lambda z: swap(z, f"_imaps._tcp.{DOMAIN}", "SRV", "CNAME", "x.elsewhere.test.")),
    (OWNERSHIP, State.CONFLICT, Advice.ALIAS_IN_THE_WAY,
     lambda z: swap(z, f"_eider.{DOMAIN}", "TXT", "CNAME", "x.elsewhere.test.")),
    # -- MX
    (MX, State.CONFLICT, Advice.MX_ELSEWHERE, lambda z: z.add(DOMAIN, "MX", "1 aspmx.l.google.com.")),
    (MX, State.CONFLICT, Advice.MX_MIXED,
     lambda z: z.add(DOMAIN, "MX", "10 mx1.eider.test.", "20 mx2.eider.test.", "10 aspmx.l.google.com.")),
    (MX, State.STALE, Advice.MX_LEFTOVER,
     lambda z: z.add(DOMAIN, "MX", "10 mx1.eider.test.", "20 mx2.eider.test.", "50 mx.zoho.eu.")),
    (MX, State.MISSING, Advice.MX_INCOMPLETE, lambda z: z.add(DOMAIN, "MX", "10 mx1.eider.test.")),
    (MX, State.CONFLICT, Advice.NO_MAIL_WANTED, lambda z: z.add(DOMAIN, "MX", "0 .")),
    # -- SPF
    (SPF, State.CONFLICT, Advice.SECOND_SPF,
     lambda z: z.add(DOMAIN, "TXT", '"v=spf1 include:_spf.eider.test ~all"', '"v=spf1 include:_spf.google.com ~all"')),
    (SPF, State.CONFLICT, Advice.SPF_WITHOUT_US, lambda z: z.add(DOMAIN, "TXT", '"v=spf1 mx -all"', '"other=1"')),
    (SPF, State.CONFLICT, Advice.SPF_AFTER_ALL,
     lambda z: z.add(DOMAIN, "TXT", '"v=spf1 mx -all include:_spf.eider.test"')),
    (SPF, State.CONFLICT, Advice.SPF_EVERYBODY,
     lambda z: z.add(DOMAIN, "TXT", '"v=spf1 include:_spf.eider.test +all"')),
    (SPF, State.CONFLICT, Advice.SPF_SYNTAX,
     lambda z: z.add(DOMAIN, "TXT", '"v=spf1 include:_spf.eider.test ipv4:192.0.2.1 -all"')),
    (SPF, State.CONFLICT, Advice.SPF_LOOKUPS, lambda z: chain(z, 10)),
    (SPF, State.MATCH, Advice.NONE, lambda z: chain(z, 9)),
    (SPF, State.MATCH, Advice.SPF_LEFTOVER,
     lambda z: z.add(DOMAIN, "TXT", '"v=spf1 include:_spf.eider.test include:_spf.google.com ~all"')),
    (SPF, State.CONFLICT, Advice.QUOTES_INSIDE,
     lambda z: z.add(DOMAIN, "TXT", r'"\"v=spf1 include:_spf.eider.test ~all\""')),
    # -- DKIM
    (DKIM, State.CONFLICT, Advice.SPLIT_TEXT, lambda z: z.add(DKIM_NAME, "TXT", *(f'"{each}"' for each in pieces(z)))),
    (DKIM, State.CONFLICT, Advice.CUT_OFF, lambda z: z.add(DKIM_NAME, "TXT", f'"{pieces(z)[0]}"')),
    (DKIM, State.CONFLICT, Advice.QUOTES_INSIDE,
     lambda z: z.add(DKIM_NAME, "TXT", quoted('"' + '" "'.join(pieces(z)) + '"'))),
    (DKIM, State.MATCH, Advice.NONE,
     lambda z: z.add(DKIM_NAME, "TXT", quoted("  ".join(pieces(z)).replace("; ", " ;  ")))),
    (DKIM, State.STALE, Advice.DKIM_OTHER_KEY, lambda z: z.add(DKIM_NAME, "TXT", '"v=DKIM1; k=rsa; p=TUlJQg=="')),
    (DKIM, State.CONFLICT, Advice.DKIM_REVOKED, lambda z: z.add(DKIM_NAME, "TXT", '"v=DKIM1; p="')),
    (DKIM, State.CONFLICT, Advice.DKIM_SECOND_KEY,
     lambda z: z.add(DKIM_NAME, "TXT", *z.get(DKIM_NAME, "TXT"), '"v=DKIM1; k=rsa; p=TUlJQg=="')),
    # -- policies and the token
    (DMARC, State.CONFLICT, Advice.SECOND_POLICY,
     lambda z: z.add(f"_dmarc.{DOMAIN}", "TXT", '"v=DMARC1; p=none"', '"v=DMARC1; p=reject"')),
    (DMARC, State.CONFLICT, Advice.POLICY_INVALID, lambda z: z.add(f"_dmarc.{DOMAIN}", "TXT", '"v=DMARC1; p=all"')),
    (DMARC, State.MATCH, Advice.NONE, lambda z: z.add(f"_dmarc.{DOMAIN}", "TXT", '"v=DMARC1;p=reject"')),
    (f"mta-sts:_mta-sts.{DOMAIN}", State.STALE, Advice.OLD_POLICY_ID,
     lambda z: z.add(f"_mta-sts.{DOMAIN}", "TXT", '"v=STSv1; id=2020;"')),
    (f"tls-rpt:_smtp._tls.{DOMAIN}", State.CONFLICT, Advice.POLICY_INVALID,
     lambda z: z.add(f"_smtp._tls.{DOMAIN}", "TXT", '"v=TLSRPTv1; rua=reports"')),
    (OWNERSHIP, State.STALE, Advice.OTHER_TOKEN,
     lambda z: z.add(f"_eider.{DOMAIN}", "TXT", '"eider-domain-verification=0000"')),
    (OWNERSHIP, State.CONFLICT, Advice.QUOTES_INSIDE,
     lambda z: z.add(f"_eider.{DOMAIN}", "TXT", rf'"\"eider-domain-verification={TOKEN}\""')),
    # -- servers
    (MX, State.STALE, Advice.SERVERS_DISAGREE, lambda z: z.servers[1].add(DOMAIN, "MX", "1 aspmx.l.google.com.")),
    (AUTOCONFIG, State.UNKNOWN, Advice.SERVERS_REFUSE,
     lambda z: [each.trouble.__setitem__(f"autoconfig.{DOMAIN}", Trouble.SERVFAIL) for each in z.servers]),
    (MX, State.MATCH, Advice.NONE, lambda z: z.servers[0].trouble.__setitem__(DOMAIN, Trouble.SERVFAIL)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "state", "advice", "change"),
    CASES,
    ids=[f"{case[0].partition(':')[0]}-{case[2]}-{case[1]}" for case in CASES],
)
def test_mistake_is_named(
    zone: Zone, look: Look, record: str, state: State, advice: Advice, change: Callable[[Zone], object]
) -> None:
    change(zone)
    findings = look()
    finding = findings[record]
    assert (finding.state, finding.verdict.advice) == (state, advice), finding.verdict
    text = sentence(finding.verdict)
    assert "%(" not in text
    assert len(text) > 10
    if advice is not Advice.APEX_ALIAS:
        wrong = {name for name, other in findings.items() if other.state is not State.MATCH}
        assert wrong <= {record}, "one mistake is one record's"


def test_every_advice_has_its_case_and_its_sentence() -> None:
    elsewhere = {Advice.NOT_REGISTERED, Advice.NOBODY_ANSWERED}
    assert {case[2] for case in CASES} | elsewhere == set(Advice)
    assert set(SENTENCES) == set(Advice)


def test_every_state_has_its_case() -> None:
    assert {case[1] for case in CASES} == set(State)


def test_domain_that_nobody_registered(world: Nameservers, look: Look) -> None:
    del world.resolver.records[DOMAIN, "NS"]
    findings = look().values()
    assert {(each.state, each.verdict.advice) for each in findings} == {(State.MISSING, Advice.NOT_REGISTERED)}


def test_nobody_answers_is_unknown(zone: Zone, look: Look, world: Nameservers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authoritative_dns, "TIMEOUT_S", 0.1)
    world.resolver.add(f"ns1.{DOMAIN}", "A", "127.9.98.1")
    world.resolver.add(f"ns2.{DOMAIN}", "A", "127.9.98.2")
    findings = look().values()
    assert {(each.state, each.verdict.advice) for each in findings} == {(State.UNKNOWN, Advice.NOBODY_ANSWERED)}
    assert f"ns1.{DOMAIN}" in sentence(next(iter(findings)).verdict)


def test_survey_that_takes_too_long_asks_nobody_any_more(
    zone: Zone, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that answer as late as they may cannot keep a worker."""
    monkeypatch.setattr(authoritative_dns, "LONGEST_S", 0.0)
    assert {finding.state for finding in look().values()} == {State.UNKNOWN}
    assert sum(sum(server.asked.values()) for server in zone.servers) == 0


def test_resolver_away_is_unknown(zone: Zone, world: Nameservers, look: Look) -> None:
    world.resolver.trouble[DOMAIN] = Trouble.SERVFAIL
    for name in [each for each, _ in zone.servers[0].records]:
        world.resolver.trouble[name] = Trouble.SERVFAIL
    assert {finding.state for finding in look().values()} == {State.UNKNOWN}


def test_addresses_of_our_host_in_place_of_a_cname_serve_as_well(zone: Zone, look: Look) -> None:
    """Some DNS hosts flatten CNAMEs."""
    swap(zone, f"autoconfig.{DOMAIN}", "CNAME", "A", "192.0.2.80")
    assert look()[AUTOCONFIG].state is State.MATCH


def test_private_name_servers_are_not_spoken_to(zone: Zone, world: Nameservers, look: Look) -> None:
    """Attack W18: a tenant's zone may name any address as its server."""
    world.resolver.add(f"ns1.{DOMAIN}", "A", "10.0.0.53")
    world.resolver.add(f"ns2.{DOMAIN}", "A", "127.0.0.1")
    finding = look()[MX]
    assert finding.state is State.UNKNOWN
    assert {answer.outcome for answer in finding.evidence[0].answers} == {Outcome.FORBIDDEN}


def test_includes_without_end_end(zone: Zone, look: Look, wanted: tuple[Wanted, ...]) -> None:
    """Each record includes the next ones many times, and the first again: the count stops, and so do the questions."""
    zone.add(DOMAIN, "TXT", f'"v=spf1 include:n0.{DOMAIN} include:_spf.eider.test -all"')
    for number in range(20):
        again = f"include:n{number + 1}.{DOMAIN} " * 5
        zone.add(f"n{number}.{DOMAIN}", "TXT", f'"v=spf1 include:n0.{DOMAIN} {again} -all"')
    assert look()[SPF].verdict.advice is Advice.SPF_LOOKUPS
    assert sum(sum(server.asked.values()) for server in zone.servers) < 2 * MOST_QUESTIONS


def test_spf_is_merged_and_never_replaced(zone: Zone, look: Look) -> None:
    zone.add(DOMAIN, "TXT", '"v=spf1 ip4:192.0.2.9 include:news.test ~all"', '"v=spf1 mx -all"', '"keep=me"')
    [merged] = look()[SPF].proposal
    assert merged == "v=spf1 ip4:192.0.2.9 include:news.test mx include:_spf.eider.test ~all"


def test_control_a_judge_that_compares_raw_texts_would_be_seen(
    zone: Zone, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cases can fail: blind judges give other answers."""

    def blind(wanted: Wanted, picture: object) -> Verdict:
        return Verdict(State.MATCH)

    zone.remove(DOMAIN, "MX")
    with monkeypatch.context() as patch:
        patch.setitem(evaluation.JUDGES, next(kind for kind in evaluation.JUDGES if kind == "mx"), blind)  # type: ignore[arg-type]
        assert look()[MX].state is State.MATCH
    assert look()[MX].state is State.MISSING
