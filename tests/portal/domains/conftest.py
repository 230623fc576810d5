"""A domain with all its records on two name servers, and a way to look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from bson import ObjectId
from flask import Flask

from infra.devstack.endpoints import ShardUris
from mailcore.model.dkim import DkimAlgorithm, DkimKey, DkimKeyState
from mailcore.model.ids import TenantId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.outbound.authoritative_dns import AuthoritativeDns
from mailcore.services.outbound.dkim_private_keys import new_key
from mailcore.services.outbound.dns import Dns
from mailcore.services.process.clock import now
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings
from portal.app import create_app
from portal.domains.records import Finding, Wanted
from portal.domains.settings import DomainSettings
from portal.domains.settings import PowerDns as OwnServer
from portal.domains.survey import look_at
from portal.domains.wanted import wanted_records
from portal.domains.zone_file import rdata
from portal.mail_plane import EXTENSION, Portal
from portal.migrations import migrate
from portal.settings import PortalSettings
from tests.builders import SEALING_KEYS, make_services, make_settings
from tests.portal.domains.example import DOMAIN, NAMES, NAMES_WITH_ZONE, POLICY_ID, TOKEN
from tests.stubs.nameservers import Nameservers, Zone, nameservers
from tests.stubs.powerdns import KEY as POWERDNS_KEY
from tests.stubs.powerdns import PowerDns, powerdns
from workers.main import make_worker


def settings_of(world: Nameservers) -> MailSettings:
    return MailSettings.from_environment(
        {"MONGO_URI": "mongodb://127.0.0.1:1/none", "EIDER_SEALING_KEYS": SEALING_KEYS, **world.variables()}
    )


@pytest.fixture(scope="session")
def key() -> DkimKey:
    pair = new_key(DkimAlgorithm.RSA)
    return DkimKey(
        ObjectId(), TenantId(ObjectId()), ObjectId(), "", "rs20261126", pair.algorithm, DkimKeyState.ACTIVE,
        pair.public_key, now(),
    )  # fmt: skip


@pytest.fixture(scope="session")
def started_world() -> Iterator[Nameservers]:
    """Name servers that know our own zone and, with nothing in it, that of example.test."""
    with nameservers() as started:
        ours = started.zone("eider.test", servers=1)
        ours.add("_spf.eider.test", "TXT", '"v=spf1 ip4:192.0.2.0/24 -all"')
        ours.add("web.eider.test", "A", "192.0.2.80")
        started.zone(DOMAIN)
        yield started


@pytest.fixture
def world(started_world: Nameservers) -> Iterator[Nameservers]:
    """Name servers as they were at first, whatever a test did to them."""
    known = [started_world.resolver, *started_world.started]
    before = [dict(server.records) for server in known]
    yield started_world
    for server in started_world.started[len(known) - 1 :]:
        server.stop()
    del started_world.started[len(known) - 1 :]
    for server, records in zip(known, before, strict=True):
        server.records = records
        server.trouble.clear()
        server.asked.clear()


# -- a portal whose workers ask these name servers ---------------------------------------------------


@pytest.fixture(scope="session")
def started_powerdns(started_world: Nameservers) -> Iterator[PowerDns]:
    """The interface by which our zone of keys, and zones of tenants, are written."""
    with powerdns(started_world) as served:
        started_world.zone(NAMES_WITH_ZONE.dkim_zone, servers=1)
        yield served


@pytest.fixture(scope="session")
def mail_services(
    directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str, started_world: Nameservers
) -> Iterator[MailServices]:
    """Keys take over as soon as they are seen, so that nobody has to wait for an hour."""
    make_services(directory_uri, shard_uris, redis_url).close()
    ours = {"EIDER_MX_HOSTS": ",".join(NAMES.mx_hosts), "EIDER_CLIENT_HOST": NAMES.client_host}
    variables = started_world.variables() | ours
    settings = make_settings(directory_uri, redis_url, **variables)
    hasty = replace(settings.limits.dkim, published_before_use_s=0)
    services = connect(replace(settings, limits=replace(settings.limits, dkim=hasty)))
    yield services
    services.close()


@pytest.fixture(scope="session")
def portal_settings(postgres_url: str, mail_services: MailServices, started_powerdns: PowerDns) -> PortalSettings:
    key = Secret(POWERDNS_KEY)
    domains = DomainSettings(NAMES_WITH_ZONE, OwnServer(started_powerdns.url, key), started_powerdns.url)
    return PortalSettings(postgres_url, mail_services.settings, "http://localhost", domains=domains)


@pytest.fixture(scope="session")
def portal_app(portal_settings: PortalSettings, mail_services: MailServices) -> Iterator[Flask]:
    """A portal of these tests' own: that of the others asks other name servers."""
    app = create_app(portal_settings, mail_services)
    app.testing = False
    found: Portal = app.extensions[EXTENSION]
    migrate(found.database.engine)
    yield app
    found.database.engine.dispose()


@pytest.fixture
def parts(portal_app: Flask, database: None) -> Portal:
    """What the jobs are given; `session()` works."""
    found: Portal = portal_app.extensions[EXTENSION]
    assert found.redis is not None
    found.redis.flushdb()
    return found


@pytest.fixture
def run_jobs(parts: Portal) -> Callable[[], None]:
    """Return `run_jobs()`: a worker that does all that waits, and what follows from it."""
    assert parts.redis is not None
    redis = parts.redis
    return lambda: make_worker(parts.mail, redis, parts).work(burst=True, logging_level="ERROR")


# -- the evaluator alone -------------------------------------------------------------------------


@pytest.fixture
def authoritative(world: Nameservers) -> AuthoritativeDns:
    settings = settings_of(world)
    return AuthoritativeDns(Dns(settings.dns), settings.outgoing)


def publish(zone: Zone, wanted: tuple[Wanted, ...]) -> None:
    """Put all records into a zone as their owner should."""
    for each in wanted:
        if each.type == "TXT" and (held := zone.get(each.name, "TXT")):
            zone.add(each.name, "TXT", *held, *(rdata("TXT", value) for value in each.values))
        else:
            zone.add(each.name, each.type, *(rdata(each.type, value) for value in each.values))


@pytest.fixture
def wanted(key: DkimKey) -> tuple[Wanted, ...]:
    return wanted_records(DOMAIN, TOKEN, [replace(key, domain=DOMAIN)], POLICY_ID, NAMES)


@pytest.fixture
def zone(world: Nameservers, wanted: tuple[Wanted, ...]) -> Zone:
    """The zone of example.test with every record as it should be."""
    made = world.zones[DOMAIN]
    publish(made, wanted)
    return made


@pytest.fixture
def look(authoritative: AuthoritativeDns, wanted: tuple[Wanted, ...]) -> Callable[[], Mapping[str, Finding]]:
    """Return `look()`: a finding for each record, by its key."""
    return lambda: {finding.wanted.key: finding for finding in look_at(DOMAIN, wanted, authoritative.survey())}
