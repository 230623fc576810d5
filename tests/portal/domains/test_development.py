"""The name servers of `make run`: a developer's domain becomes green by the page's own way of writing records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bson import ObjectId

from infra.devstack.outside.development import DevelopmentDns, KeptZones
from infra.devstack.outside.zones_api import ZonesApi
from infra.devstack.servers import (
    DKIM_ZONE,
    DNS_API_KEY,
    OUR_EXCHANGER,
    OUTSIDE_HOST,
    OUTSIDE_NETWORK,
    SPF_NAME,
    WEB_HOST,
)
from mailcore.model.actor import SYSTEM
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.wiring import connect
from portal.domains import applying, checking, ledger, queries, services, writing
from portal.domains.records import State
from portal.domains.settings import DomainSettings
from portal.domains.wanted import ServiceNames
from portal.mail_plane import Portal
from tests.builders import make_settings, make_user
from tests.portal.conftest import MadeOrganisation
from tests.portal.domains.test_life import ADA, again

NAMES = ServiceNames((OUR_EXCHANGER,), SPF_NAME, "localhost", WEB_HOST, DKIM_ZONE, "reports@eider.test")


@pytest.fixture
def outside(mail_services: MailServices, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `python -m infra.devstack.outside` starts; the variables of whoever asks it."""
    resolver = DevelopmentDns(mail_services, "127.0.0.1", 0, is_resolver=True)
    name_server = DevelopmentDns(mail_services, OUTSIDE_HOST, 0, is_resolver=False)
    api = ZonesApi(KeptZones(tmp_path / "zones.json", resolver, name_server), DNS_API_KEY, OUTSIDE_HOST)
    with resolver, name_server, api:
        yield {
            "EIDER_DNS_SERVERS": resolver.address,
            "EIDER_OUTGOING_ALLOW": OUTSIDE_NETWORK,
            "EIDER_OUTGOING_PORTS": f"53:{name_server.address.rpartition(':')[2]}",
            "EIDER_MX_HOSTS": OUR_EXCHANGER,
            "EIDER_POWERDNS_URL": api.url,
        }


@pytest.fixture
def developer(parts: Portal, outside: dict[str, str], directory_uri: str, redis_url: str) -> Iterator[Portal]:
    """The portal as `make run` starts it."""
    asked = {name: value for name, value in outside.items() if name != "EIDER_POWERDNS_URL"}
    mail = connect(make_settings(directory_uri, redis_url, **asked))
    domains = DomainSettings(NAMES, None, outside["EIDER_POWERDNS_URL"])
    yield replace(parts, mail=mail, settings=replace(parts.settings, mail=mail.settings, domains=domains))
    mail.close()


def test_domain_written_by_the_page_becomes_green(developer: Portal, organisation: MadeOrganisation) -> None:
    claim = services.add_domain(ADA, organisation.organisation, f"dev-{ObjectId()}.test", NAMES)
    checking.check(developer, claim.id)
    assert again(claim).verified_at is None
    stored = queries.get_claim(organisation.organisation, claim.id)
    keys = tuple(result.key for result in stored.results)
    access = writing.Access(claim.id, "powerdns", claim.name, Secret(DNS_API_KEY), keys)
    shown = writing.preview(developer, stored, access)
    assert len(shown.changes) >= len(keys) - 1, "the MX may be there already"
    ledger.begin(developer, ADA, organisation.organisation, access, shown.digest)
    ledger.carry_out(developer, claim.id)
    for _ in range(2):
        checking.check(developer, claim.id)
        applying.apply(developer, claim.id)
    assert {result.key for result in again(claim).results if result.state != State.MATCH} == set()
    tenant_id = organisation.organisation.tenant_id
    assert developer.mail.domains.get(tenant_id, claim.name).delivers_here
    assert [key.published_at is not None for key in developer.mail.dkim_keys.list_of(tenant_id, claim.name)] == [True]


def test_what_was_written_is_there_after_a_restart(mail_services: MailServices, tmp_path: Path) -> None:
    first = DevelopmentDns(mail_services, "127.0.0.1", 0, is_resolver=True)
    KeptZones(tmp_path / "zones.json", first).put("kept.test", "www.kept.test", "A", ["192.0.2.1"])
    second = DevelopmentDns(mail_services, "127.0.0.1", 0, is_resolver=True)
    zones = KeptZones(tmp_path / "zones.json", second)
    assert list((zones.records("kept.test") or {})["www.kept.test", "A"]) == ["192.0.2.1"]  # type: ignore[arg-type]
    assert zones.records("test") is None


def test_keys_of_domains_that_nobody_wrote_records_for_are_found(developer: Portal) -> None:
    """The demo's: what it sends is signed without anybody's doing."""
    user = make_user(developer.mail)
    developer.mail.dkim_keys.rotate(SYSTEM, user.tenant_id)
    assert developer.mail.dkim_keys.check(SYSTEM, user.tenant_id, developer.mail.authoritative_dns.texts) == 2
