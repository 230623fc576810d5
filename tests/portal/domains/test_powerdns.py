"""Records written into Debian's PowerDNS, which serves them: what was shown stands there, and all is right."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from mailcore.model.secret import Secret
from mailcore.services.outbound.authoritative_dns import AuthoritativeDns
from portal.domains.errors import ProviderFailed
from portal.domains.providers.plan import Held, plan
from portal.domains.providers.table import PROVIDERS
from portal.domains.providers.writer import ZoneWriter
from portal.domains.records import State, Wanted
from portal.domains.survey import look_at
from tests.portal.domains.example import DOMAIN
from tests.ports import port_that_stays
from tests.stubs.nameservers import Nameservers

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        shutil.which("pdns_server") is None,
        reason="as root run `apt-get install pdns-server pdns-backend-sqlite3`",
    ),
]

ADDRESS = "127.9.97.1"
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
KEY = "test-key"
START_S = 20


@dataclass
class PowerDns:
    """A server of Debian's package, and the HTTP interface that it has."""

    url: str

    def content(self) -> set[Held]:
        """Everything in the zone, as the server itself says it."""
        answer = requests.get(f"{self.url}/api/v1/servers/localhost/zones/{DOMAIN}.", headers=_HEADERS, timeout=10)
        return {
            Held(rrset["name"].rstrip("."), rrset["type"], _plain(rrset["type"], record["content"]))
            for rrset in answer.json()["rrsets"]
            for record in rrset["records"]
        }


_HEADERS = {"X-API-Key": KEY}


def _plain(kind: str, content: str) -> str:
    return content[1:-1].replace('" "', "") if kind == "TXT" else content


@pytest.fixture
def server(world: Nameservers, tmp_path: Path) -> Iterator[PowerDns]:
    """A PowerDNS that the zone of example.test is delegated to, with what a former provider left in it."""
    database = tmp_path / "zones.sqlite3"
    with sqlite3.connect(database) as made:
        made.executescript(SCHEMA.read_text())
    port = port_that_stays()
    settings = {
        "launch": "gsqlite3", "gsqlite3-database": database, "socket-dir": tmp_path, "daemon": "no", "guardian": "no",
        "local-address": ADDRESS, "local-port": world.port, "api": "yes", "api-key": KEY, "webserver": "yes",
        "webserver-address": "127.0.0.1", "webserver-port": port, "disable-syslog": "yes", "write-pid": "no",
        "cache-ttl": 0, "query-cache-ttl": 0, "negquery-cache-ttl": 0, "zone-cache-refresh-interval": 0,
    }  # fmt: skip
    command = ["pdns_server", f"--config-dir={tmp_path}", *(f"--{name}={value}" for name, value in settings.items())]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    served = PowerDns(f"http://127.0.0.1:{port}")
    try:
        _make_zone(served, process, tmp_path / "log")
        for number in (1, 2):
            world.resolver.add(f"ns{number}.{DOMAIN}", "A", ADDRESS)
        yield served
    finally:
        process.terminate()
        process.wait(10)


def _make_zone(served: PowerDns, process: subprocess.Popen[bytes], log: Path) -> None:
    rrsets = [
        _rrset("", "MX", "1 aspmx.l.google.com."),
        _rrset("", "TXT", '"v=spf1 include:news.test -all"', '"site-verification=keep"'),
        _rrset("www.", "A", "192.0.2.7"),
        _rrset("autodiscover.", "CNAME", "autodiscover.outlook.com."),
    ]
    zone = {"name": f"{DOMAIN}.", "kind": "Native", "nameservers": [f"ns1.{DOMAIN}."], "rrsets": rrsets}
    ends_at = time.monotonic() + START_S
    while True:
        assert process.poll() is None, log.read_text()
        try:
            url = f"{served.url}/api/v1/servers/localhost/zones"
            requests.post(url, json=zone, headers=_HEADERS, timeout=10).raise_for_status()
        except requests.ConnectionError:
            assert time.monotonic() < ends_at, log.read_text()
            time.sleep(0.1)
        else:
            return


def _rrset(label: str, kind: str, *contents: str) -> dict[str, object]:
    records = [{"content": content, "disabled": False} for content in contents]
    return {"name": f"{label}{DOMAIN}.", "type": kind, "ttl": 300, "changetype": "REPLACE", "records": records}


def test_what_is_written_is_what_was_shown_and_makes_all_right(
    server: PowerDns, authoritative: AuthoritativeDns, wanted: tuple[Wanted, ...]
) -> None:
    writer = ZoneWriter(PROVIDERS["powerdns"], DOMAIN, Secret(KEY), server.url)
    before = server.content()
    shown = plan(wanted, writer.held())
    writer.write(shown)
    removed = {Held(change.name, change.type, change.value) for change in shown if not change.is_new}
    added = {Held(change.name, change.type, change.value) for change in shown if change.is_new}
    assert {each for each in server.content() if each.type != "SOA"} == {
        each for each in before if each.type != "SOA"
    } - removed | added
    assert Held(DOMAIN, "TXT", "site-verification=keep") in server.content()
    assert Held(f"www.{DOMAIN}", "A", "192.0.2.7") in server.content()
    findings = look_at(DOMAIN, wanted, authoritative.survey())
    assert {finding.state for finding in findings} == {State.MATCH}, [
        (finding.wanted.key, finding.verdict) for finding in findings if finding.state is not State.MATCH
    ]
    assert plan(wanted, writer.held()) == ()


def test_wrong_key_and_unknown_zone_are_told(server: PowerDns) -> None:
    with pytest.raises(ProviderFailed, match="401"):
        ZoneWriter(PROVIDERS["powerdns"], DOMAIN, Secret("wrong"), server.url).held()
    with pytest.raises(ProviderFailed, match="404"):
        ZoneWriter(PROVIDERS["powerdns"], "other.test", Secret(KEY), server.url).held()
