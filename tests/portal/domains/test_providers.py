"""Records written at each provider, or what answers as it does: what was shown stands there, nothing else changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailcore.model.secret import Secret
from portal.domains.errors import ProviderFailed
from portal.domains.evaluation.spf import merge
from portal.domains.providers import cloudflare as mended_cloudflare
from portal.domains.providers import digitalocean as mended_digitalocean
from portal.domains.providers import hetzner as mended_hetzner
from portal.domains.providers.plan import plan
from portal.domains.providers.table import PROVIDERS, offered, provider_of
from portal.domains.providers.writer import ZoneWriter
from portal.domains.records import Wanted
from tests.portal.domains.example import DOMAIN
from tests.stubs.cloudflare import Cloudflare, cloudflare
from tests.stubs.digitalocean import DigitalOcean, digitalocean
from tests.stubs.hetzner import Hetzner, hetzner
from tests.stubs.json_api import TOKEN

Stub = Cloudflare | DigitalOcean | Hetzner
STARTED = {
    "cloudflare": (cloudflare, mended_cloudflare),
    "digitalocean": (digitalocean, mended_digitalocean),
    "hetzner": (hetzner, mended_hetzner),
}
LEFT = (
    ("MX", DOMAIN, "1 aspmx.l.google.com."),
    ("MX", DOMAIN, "30 mx1.eider.test."),
    ("TXT", DOMAIN, "v=spf1 include:news.test -all"),
    ("TXT", DOMAIN, "site-verification=keep"),
    ("A", f"www.{DOMAIN}", "192.0.2.7"),
    ("CNAME", f"autodiscover.{DOMAIN}", "autodiscover.outlook.com."),
)
"""What a former mail provider, and a web site, left in the zone."""


@pytest.fixture(params=sorted(STARTED))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def provider(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    start, module = STARTED[name]
    with start() as served:  # type: ignore[operator]
        served.zones = {f"other{number}.test": {} for number in range(7)} | {DOMAIN: {}}
        for row in LEFT:
            served.put(DOMAIN, *row)
        served.changes.clear()
        monkeypatch.setattr(module, "ADDRESS", served.url)
        yield served


def writer(name: str, token: str = TOKEN, zone: str = DOMAIN) -> ZoneWriter:
    return ZoneWriter(PROVIDERS[name], zone, Secret(token))


def writable(name: str, wanted: tuple[Wanted, ...]) -> tuple[Wanted, ...]:
    return tuple(each for each in wanted if each.type in PROVIDERS[name].types)


def test_every_provider_that_is_offered_is_tested() -> None:
    assert PROVIDERS.keys() == STARTED.keys() | {"powerdns"}, "that one is Debian's: test_powerdns.py"


def test_only_what_can_be_reached_is_offered_and_name_servers_tell_whose_they_are() -> None:
    assert "powerdns" in [one.name for one in offered("http://pdns.test")]
    assert "powerdns" not in [one.name for one in offered("")]
    found = {
        "cloudflare": ["dana.ns.cloudflare.com", "rick.ns.cloudflare.com."],
        "digitalocean": ["ns1.digitalocean.com"],
        "hetzner": ["ns.other.test", "Hydrogen.NS.hetzner.com"],
        None: ["ns1.elsewhere.test", "ns.cloudflare.com.evil.test"],
    }
    assert {provider_of(servers): servers for servers in found.values()} == found


def test_what_is_written_is_what_was_shown(name: str, provider: Stub, wanted: tuple[Wanted, ...]) -> None:
    before = provider.rows(DOMAIN)
    assert before == set(LEFT)
    shown = plan(writable(name, wanted), writer(name).held())
    writer(name).write(shown)
    removed = {(each.type, each.name, each.value) for each in shown if not each.is_new}
    added = {(each.type, each.name, each.value) for each in shown if each.is_new}
    assert removed <= before
    assert provider.rows(DOMAIN) == before - removed | added
    assert len(provider.changes) == len(shown), "one change for each line of the preview"
    assert ("TXT", DOMAIN, "site-verification=keep") in provider.rows(DOMAIN)
    assert ("A", f"www.{DOMAIN}", "192.0.2.7") in provider.rows(DOMAIN)
    assert {row for row in provider.rows(DOMAIN) if row[0] == "MX"} == {
        ("MX", DOMAIN, "10 mx1.eider.test."), ("MX", DOMAIN, "20 mx2.eider.test."),
    }  # fmt: skip
    assert [row for row in provider.rows(DOMAIN) if row[0] == "TXT" and row[2].startswith("v=spf1")] == [
        ("TXT", DOMAIN, "v=spf1 include:news.test include:_spf.eider.test -all")
    ]


def test_what_stands_there_is_not_written_again(name: str, provider: Stub, wanted: tuple[Wanted, ...]) -> None:
    """What it says of a record is compared with what was meant: dots, preferences and quotation marks are not news."""
    writer(name).write(plan(writable(name, wanted), writer(name).held()))
    assert plan(writable(name, wanted), writer(name).held()) == ()


def test_wrong_token_and_unknown_zone_are_told(name: str, provider: Stub) -> None:
    with pytest.raises(ProviderFailed, match=r"40[13]|AuthenticationError"):
        writer(name, "wrong").held()
    with pytest.raises(ProviderFailed, match=r"404|Error"):
        writer(name, zone="unknown.test").held()
    assert provider.changes == []


def test_two_records_are_merged_the_same_however_they_are_told() -> None:
    both = ["v=spf1 include:a.test -all", "v=spf1 include:b.test ~all"]
    assert merge(both, ["include:ours.test"]) == merge(both[::-1], ["include:ours.test"])


MENDED = {
    "cloudflare": (mended_cloudflare.Provider, "_get"),
    "digitalocean": (mended_digitalocean.Provider, "list_records"),
    "hetzner": (mended_hetzner.Provider, "_full_name"),
}


def test_control_lexicon_alone_would_never_be_done(
    name: str, provider: Stub, wanted: tuple[Wanted, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what it does not read (preferences, the zone's own name) records are written again and again."""
    monkeypatch.delattr(*MENDED[name])
    try:
        writer(name).write(plan(writable(name, wanted), writer(name).held()))
    except ProviderFailed:
        pass  # it takes nothing that is there already
    assert plan(writable(name, wanted), writer(name).held()) != ()


def test_an_action_that_comes_to_nothing_is_told(wanted: tuple[Wanted, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    with hetzner() as served:
        served.zones, served.fails = {DOMAIN: {}}, True
        monkeypatch.setattr(mended_hetzner, "ADDRESS", served.url)
        with pytest.raises(ProviderFailed):
            writer("hetzner").write(plan(writable("hetzner", wanted[:1]), writer("hetzner").held()))
        assert served.changes == []
