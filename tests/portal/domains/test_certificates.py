"""Certificates for hosts of tenants' domains: from the green record to a policy that is fetched with verification."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from flask import Flask

from mailcore.errors import NotPermitted
from mailcore.model.actor import SYSTEM
from mailcore.relay.mta_sts import parse_policy
from mailcore.services import MailServices
from mailcore.services.process.clock import now
from mailcore.services.wiring import connect
from mailcore.settings import AcmeSettings
from portal.domains import applying, checking, services
from portal.domains.models import DomainClaim
from portal.mail_plane import Portal
from portal.permissions import Role
from tests.builders import OPERATOR, PASSWORD
from tests.portal.conftest import MadeOrganisation, SignIn
from tests.portal.domains.conftest import publish
from tests.portal.domains.example import NAMES
from tests.portal.domains.test_life import ADA, add, again, wanted_of
from tests.portal.test_pages import faults, served
from tests.portal.test_pages import look as look_at_pages
from tests.stubs.nameservers import Nameservers, Zone
from tests.stubs.pebble import Authority, is_installed, pebble
from tests.system.servers import RunningServer, environment_of, start

NOBODY = AcmeSettings("https://127.0.0.1:9/dir")
needs_pebble = pytest.mark.skipif(not is_installed(), reason="Debian's pebble is not installed")
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def own_certificate() -> tuple[bytes, bytes]:
    """The default: what is served to who asks for a host that has none."""
    leaf = trustme.CA().issue_cert("web.eider.test")
    return leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()


@pytest.fixture
def hosts(
    mail_services: MailServices, own_certificate: tuple[bytes, bytes], directory_uri: str, tmp_path: Path
) -> Iterator[RunningServer]:
    """The process that serves tenants' hosts; it has neither Postgres nor Redis."""
    mail_services.certificates.add(OPERATOR, *own_certificate, is_default=True)
    names = {"EIDER_MX_HOSTS": ",".join(NAMES.mx_hosts), "EIDER_CLIENT_HOST": NAMES.client_host}
    with start(["hosts"], environment_of(directory_uri, None, ["http", "https"], **names), tmp_path) as server:
        yield server


@pytest.fixture
def authority(hosts: RunningServer, tmp_path: Path) -> Iterator[Authority]:
    with pebble(tmp_path, hosts.port("http")) as found:
        yield found


def ordering(parts: Portal, acme: AcmeSettings) -> Iterator[Portal]:
    """A portal that orders there; what other tests ordered is forgotten."""
    mail = connect(replace(parts.mail.settings, acme=acme))
    mail.placement.directory.database["acme_orders"].delete_many({"tenant": {"$ne": None}})
    yield replace(parts, mail=mail)
    mail.close()


@pytest.fixture
def ordering_nowhere(parts: Portal) -> Iterator[Portal]:
    """A portal whose authority cannot be reached."""
    yield from ordering(parts, NOBODY)


@pytest.fixture
def ordering_there(parts: Portal, authority: Authority) -> Iterator[Portal]:
    yield from ordering(parts, AcmeSettings(authority.directory_url, "", str(authority.authority_path)))


def green(parts: Portal, world: Nameservers, made: MadeOrganisation) -> tuple[DomainClaim, Zone]:
    claim = add(made)
    zone = world.zone(claim.name)
    publish(zone, wanted_of(parts, claim))
    look(parts, claim)
    return claim, zone


def look(parts: Portal, claim: DomainClaim) -> None:
    checking.check(parts, claim.id)
    applying.apply(parts, claim.id)


def ordered(parts: Portal, claim: DomainClaim, made: MadeOrganisation) -> set[str]:
    found = parts.mail.host_certificates.list_of(made.organisation.tenant_id, claim.name)
    return {one.host.partition(".")[0] for one in found if one.next_at is not None}


class Verified(http.client.HTTPSConnection):
    """A client that asks for a host by name, and is led to our port whatever its name leads to."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(host, port, context=context, timeout=DEADLINE_S)
        self.asked, self.context = host, context

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.asked)


def fetch(
    server: RunningServer, host: str, path: str, context: ssl.SSLContext, body: str | None = None
) -> tuple[int, str]:
    connection = Verified(host, server.port("https"), context)
    try:
        connection.request("POST" if body else "GET", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@needs_pebble
def test_from_a_green_record_to_a_policy_that_is_fetched_with_verification(
    ordering_there: Portal,
    hosts: RunningServer,
    authority: Authority,
    world: Nameservers,
    organisation: MadeOrganisation,
    sign_in: SignIn,
) -> None:
    claim, _ = green(ordering_there, world, organisation)
    host = f"mta-sts.{claim.name}"
    context = ssl.create_default_context(cadata=authority.root_pem())
    with pytest.raises(ssl.SSLCertVerificationError):
        fetch(hosts, host, "/.well-known/mta-sts.txt", context)
    page = sign_in(Role.AUDITOR).get(f"/domains/{claim.id}").text
    assert page.count("the certificate comes within minutes") == 3
    assert ordering_there.mail.acme.renew_due(SYSTEM) == 3
    ends_at = time.monotonic() + DEADLINE_S
    while True:  # what was not there a moment ago is asked for again within seconds
        try:
            status, text = fetch(hosts, host, "/.well-known/mta-sts.txt", context)
            break
        except ssl.SSLCertVerificationError:
            assert time.monotonic() < ends_at
    assert status == 200
    policy = parse_policy(text)
    assert policy is not None
    assert policy.patterns == NAMES.mx_hosts
    status, text = fetch(hosts, f"autoconfig.{claim.name}", "/mail/config-v1.1.xml", context)
    assert (status, "<hostname>mail.eider.test</hostname>" in text) == (200, True)
    body = f"<EMailAddress>ada@{claim.name}</EMailAddress>"
    status, text = fetch(hosts, f"autodiscover.{claim.name}", "/autodiscover/autodiscover.xml", context, body)
    assert (status, "<Server>mail.eider.test</Server>" in text) == (200, True)
    assert fetch(hosts, host, "/sign-in", context)[0] == 404, "nothing else is there"
    page = sign_in(Role.AUDITOR).get(f"/domains/{claim.id}").text
    assert len(re.findall("Good until [^;]+; we renew it before", page)) == 3
    assert ordering_there.mail.acme.renew_due(SYSTEM) == 0, "not before its time"


@needs_pebble
def test_domain_that_goes_takes_its_certificates_along(
    ordering_there: Portal, world: Nameservers, organisation: MadeOrganisation, hosts: RunningServer
) -> None:
    claim, _ = green(ordering_there, world, organisation)
    host = f"mta-sts.{claim.name}"
    certificates = ordering_there.mail.certificates
    assert ordering_there.mail.acme.renew_due(SYSTEM) == 3
    assert certificates.for_name(host) is not None
    assert all(host not in one.server_names for one in certificates.list_all()), "it is none of the platform's"
    ordering_there.mail.acme.withdraw(OPERATOR, host)
    assert ordered(ordering_there, claim, organisation) == {"mta-sts", "autoconfig", "autodiscover"}
    services.remove_domain(ADA, organisation.organisation, claim.id)
    applying.apply(ordering_there, claim.id)
    assert certificates.for_name(host) is None
    assert ordered(ordering_there, claim, organisation) == set()


def test_only_hosts_that_lead_to_us_are_ordered(
    ordering_nowhere: Portal, world: Nameservers, organisation: MadeOrganisation
) -> None:
    claim, zone = green(ordering_nowhere, world, organisation)
    assert ordered(ordering_nowhere, claim, organisation) == {"mta-sts", "autoconfig", "autodiscover"}
    zone.add(f"autodiscover.{claim.name}", "CNAME", "autodiscover.outlook.com.")
    zone.remove(f"autoconfig.{claim.name}", "CNAME")
    look(ordering_nowhere, claim)
    assert ordered(ordering_nowhere, claim, organisation) == {"mta-sts"}


def test_where_nobody_answers_nothing_is_given_up(
    ordering_nowhere: Portal, world: Nameservers, organisation: MadeOrganisation
) -> None:
    claim, zone = green(ordering_nowhere, world, organisation)
    for server in zone.servers:
        server.stop()
        world.started.remove(server)
    look(ordering_nowhere, claim)
    assert {result.state for result in again(claim).results} == {"unknown"}
    assert ordered(ordering_nowhere, claim, organisation) == {"mta-sts", "autoconfig", "autodiscover"}


def test_what_the_authority_refuses_is_told_with_what_to_do(
    ordering_nowhere: Portal, world: Nameservers, organisation: MadeOrganisation, sign_in: SignIn
) -> None:
    claim, _ = green(ordering_nowhere, world, organisation)
    assert ordering_nowhere.mail.acme.renew_due(SYSTEM) == 0
    page = sign_in(Role.AUDITOR).get(f"/domains/{claim.id}").text
    assert page.count("It was not issued: the authority cannot be reached.") == 3
    assert page.count("We try again") == 3
    found = ordering_nowhere.mail.host_certificates.list_of(organisation.organisation.tenant_id, claim.name)
    assert all(one.next_at is not None and one.next_at > now() + timedelta(minutes=5) for one in found)


def test_page_with_certificates_has_nothing_to_find(
    ordering_nowhere: Portal, world: Nameservers, organisation: MadeOrganisation, portal_app: Flask
) -> None:
    """What the authority says is long, and no page of the walk has it."""
    claim, _ = green(ordering_nowhere, world, organisation)
    ordering_nowhere.mail.acme.renew_due(SYSTEM)
    with served(portal_app) as base:
        found = look_at_pages(base, (organisation.members[Role.OWNER].email, PASSWORD), [f"/domains/{claim.id}"])
    assert faults(found) == []


def test_so_many_in_a_run_and_the_platform_first(
    ordering_nowhere: Portal, world: Nameservers, organisation: MadeOrganisation
) -> None:
    """Tenants' hosts wait for the next run; the platform's own do not wait for them."""
    limits = replace(ordering_nowhere.mail.settings.limits, host_certificates_per_run=2)
    bounded = connect(replace(ordering_nowhere.mail.settings, limits=limits))
    claim, _ = green(ordering_nowhere, world, organisation)
    bounded.acme.request(OPERATOR, ["platform.eider.test"])
    bounded.acme.renew_due(SYSTEM)
    found = bounded.host_certificates.list_of(organisation.organisation.tenant_id, claim.name)
    assert sorted(bool(one.error) for one in found) == [False, True, True]
    assert [order.error != "" for order in bounded.acme.list_orders() if "platform.eider.test" in order.names] == [True]
    assert bounded.acme.withdraw(OPERATOR, "platform.eider.test") == 1
    bounded.close()


def test_certificate_that_comes_after_its_domain_went_is_not_kept(
    ordering_nowhere: Portal, world: Nameservers, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, _ = green(ordering_nowhere, world, organisation)
    mail, tenant_id = ordering_nowhere.mail, organisation.organisation.tenant_id

    def issue_late(_: AcmeSettings, names: tuple[str, ...]) -> tuple[bytes, bytes]:
        leaf = trustme.CA().issue_cert(*names)
        mail.host_certificates.give_up(SYSTEM, tenant_id, claim.name)
        return leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()

    monkeypatch.setattr(mail.acme, "_issue", issue_late)
    assert mail.acme.renew_due(SYSTEM) == 0
    assert mail.host_certificates.list_of(tenant_id, claim.name) == []


def test_hosts_of_what_is_not_proven_are_refused(parts: Portal, organisation: MadeOrganisation) -> None:
    tenant_id = organisation.organisation.tenant_id
    parts.mail.domains.create(ADA, tenant_id, f"unproven-{tenant_id}.test")
    with pytest.raises(NotPermitted):
        parts.mail.host_certificates.want(ADA, tenant_id, f"unproven-{tenant_id}.test", ["mta-sts"])


def test_the_portal_answers_an_authority_too(portal_app: Flask, parts: Portal) -> None:
    """Where a load balancer leads port 80 to it."""
    parts.mail.acme._directory.acme.put_challenge("tok-2_y", "tok-2_y.thumb", now())
    client = portal_app.test_client()
    answer = client.get("/.well-known/acme-challenge/tok-2_y", base_url="http://mta-sts.example.test")
    assert (answer.status_code, answer.text) == (200, "tok-2_y.thumb")
    assert client.get("/.well-known/acme-challenge/other").status_code == 404


def test_a_client_that_speaks_no_tls_is_none_of_our_faults(hosts: RunningServer) -> None:
    """`start` finds no traceback in the log."""
    with socket.create_connection(("127.0.0.1", hosts.port("https")), DEADLINE_S) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    hosts.wait_for("web.connection_failed")
