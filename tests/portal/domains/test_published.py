"""What is served for domains by host name: MTA-STS, autoconfig, Autodiscover, profiles, security.txt."""

from __future__ import annotations

import plistlib
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from flask import Flask

from mailcore.model.mta_sts import StsMode
from mailcore.relay.mta_sts import parse_policy, parse_record
from portal.domains import services
from portal.domains.models import DomainClaim
from portal.mail_plane import Portal
from tests.portal.conftest import MadeOrganisation
from tests.portal.domains.test_life import ADA, RunJobs, add, again, proven, wanted_of
from tests.stubs.nameservers import Nameservers


@pytest.fixture
def claim(parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation) -> DomainClaim:
    return proven(parts, world, run_jobs, organisation)[0]


def get(app: Flask, host: str, path: str, **options: Any) -> Any:
    return app.test_client().get(path, base_url=f"https://{host}", **options)


def test_policy_is_what_senders_read_and_its_id_is_the_one_published(
    portal_app: Flask, parts: Portal, claim: DomainClaim, organisation: MadeOrganisation, run_jobs: RunJobs
) -> None:
    """Our own relay reads it (RFC 8461 §3.2)."""
    seen = []
    for mode in (StsMode.TESTING, StsMode.ENFORCE, StsMode.NONE):
        services.set_sts_mode(ADA, organisation.organisation, claim.id, mode)
        run_jobs()
        answer = get(portal_app, f"mta-sts.{claim.name}", "/.well-known/mta-sts.txt")
        assert (answer.status_code, answer.mimetype) == (200, "text/plain")
        policy = parse_policy(answer.text)
        assert policy is not None
        assert policy.mode.value == mode
        assert policy.patterns == ("mx1.eider.test", "mx2.eider.test")
        [record] = [each for each in wanted_of(parts, again(claim)) if each.kind == "mta-sts"]
        seen.append(parse_record(list(record.values)))
    assert len(set(seen)) == 3, "another policy has another id"


def test_policy_of_a_domain_that_is_not_proven_is_not_served(portal_app: Flask, organisation: MadeOrganisation) -> None:
    unproven = add(organisation)
    assert get(portal_app, f"mta-sts.{unproven.name}", "/.well-known/mta-sts.txt").status_code == 404
    assert get(portal_app, "portal.eider.test", "/.well-known/mta-sts.txt").status_code == 404


@pytest.mark.parametrize("path", ["/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"])
def test_autoconfig(portal_app: Flask, claim: DomainClaim, path: str) -> None:
    for host, query in ((f"autoconfig.{claim.name}", {}), ("web.eider.test", {"emailaddress": f"a@{claim.name}"})):
        answer = get(portal_app, host, path, query_string=query)
        assert answer.mimetype == "text/xml"
        provider = ET.fromstring(answer.text).find("emailProvider")
        assert provider is not None
        assert provider.findtext("domain") == claim.name
        incoming = {each.get("type"): each for each in provider.findall("incomingServer")}
        assert set(incoming) == {"imap", "pop3"}
        assert incoming["imap"].findtext("hostname") == "mail.eider.test"
        assert incoming["imap"].findtext("port") == "993"
        assert incoming["imap"].findtext("username") == "%EMAILADDRESS%"
        assert [each.findtext("socketType") for each in provider.findall("outgoingServer")] == ["SSL", "STARTTLS"]
    assert get(portal_app, "autoconfig.elsewhere.test", path).status_code == 404


REQUEST = (
    '<?xml version="1.0"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema'
    '/2006"><Request><EMailAddress>%s</EMailAddress></Request></Autodiscover>'
)


@pytest.mark.parametrize("path", ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"])
def test_autodiscover(portal_app: Flask, claim: DomainClaim, path: str) -> None:
    def post(body: str) -> Any:
        host = f"https://autodiscover.{claim.name}"
        return portal_app.test_client().post(path, base_url=host, data=body, content_type="text/xml")

    answer = post(REQUEST % f"ada@{claim.name}")
    assert answer.status_code == 200
    space = {"o": "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"}
    protocols = ET.fromstring(answer.text).findall(".//o:Protocol", space)
    found = {each.findtext("o:Type", "", space): each.findtext("o:Port", "", space) for each in protocols}
    assert found == {"IMAP": "993", "POP3": "995", "SMTP": "465"}
    assert protocols[0].findtext("o:LoginName", "", space) == f"ada@{claim.name}"
    assert post(REQUEST % "ada@elsewhere.test").status_code == 404
    assert post("<nothing/>").status_code == 400
    assert post("x" * 20_000).status_code == 413
    hostile = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + REQUEST % f"&amp;e;@{claim.name}"
    assert "root:" not in post(hostile).text


def test_autodiscover_of_version_two(portal_app: Flask, claim: DomainClaim) -> None:
    query = {"Email": f"ada@{claim.name}", "Protocol": "AutodiscoverV1"}
    answer = get(portal_app, "web.eider.test", "/autodiscover/autodiscover.json", query_string=query)
    assert answer.json == {
        "Protocol": "AutodiscoverV1",
        "Url": f"https://autodiscover.{claim.name}/autodiscover/autodiscover.xml",
    }
    path = f"/autodiscover/autodiscover.json/v1.0/ada@{claim.name}"
    assert get(portal_app, "web.eider.test", path, query_string={"Protocol": "autodiscoverv1"}).status_code == 200
    other = get(portal_app, "web.eider.test", path, query_string={"Protocol": "ActiveSync"})
    assert (other.status_code, other.json["ErrorCode"]) == (404, "InvalidProtocol")


def test_profile_for_apple_without_a_password(portal_app: Flask, claim: DomainClaim) -> None:
    answer = get(portal_app, "web.eider.test", "/mail.mobileconfig", query_string={"email": f"ada@{claim.name}"})
    assert answer.mimetype == "application/x-apple-aspen-config"
    start = answer.data.index(b"<?xml")
    profile = plistlib.loads(answer.data[start : answer.data.index(b"</plist>") + 8])
    [account] = profile["PayloadContent"]
    assert account["IncomingMailServerHostName"] == "mail.eider.test"
    assert "IncomingPassword" not in account
    assert get(portal_app, "web.eider.test", "/mail.mobileconfig").status_code == 400


def test_security_txt(portal_app: Flask) -> None:
    """RFC 9116: contact and expiry, the latter less than a year away."""
    answer = get(portal_app, "portal.eider.test", "/.well-known/security.txt")
    fields = dict(line.split(": ", 1) for line in answer.text.strip().splitlines())
    assert fields["Contact"].startswith("mailto:")
    expires = datetime.fromisoformat(fields["Expires"])
    assert 0 < (expires - datetime.now(UTC)).days < 366
    assert "charset=utf-8" in answer.content_type
