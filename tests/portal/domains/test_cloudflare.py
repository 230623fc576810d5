"""Records written at Cloudflare, or what answers as it does: what was shown stands there, and nothing else changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailcore.model.secret import Secret
from portal.domains.errors import ProviderFailed
from portal.domains.providers import cloudflare as mended
from portal.domains.providers.plan import plan
from portal.domains.providers.table import PROVIDERS
from portal.domains.providers.writer import ZoneWriter
from portal.domains.records import Wanted
from tests.portal.domains.example import DOMAIN
from tests.stubs.cloudflare import TOKEN, Cloudflare, cloudflare

PROVIDER = PROVIDERS["cloudflare"]
Row = tuple[str, str, str]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloudflare]:
    """With what a former mail provider, and a web site, left in the zone."""
    with cloudflare() as served:
        served.zones = {f"other{number}.test": {} for number in range(7)} | {DOMAIN: {}}
        served.add(DOMAIN, "MX", DOMAIN, "aspmx.l.google.com", 1)
        served.add(DOMAIN, "MX", DOMAIN, "mx1.eider.test", 30)
        served.add(DOMAIN, "TXT", DOMAIN, "v=spf1 include:news.test -all")
        served.add(DOMAIN, "TXT", DOMAIN, "site-verification=keep")
        served.add(DOMAIN, "A", f"www.{DOMAIN}", "192.0.2.7")
        served.add(DOMAIN, "CNAME", f"autodiscover.{DOMAIN}", "autodiscover.outlook.com")
        served.changes.clear()
        monkeypatch.setattr(mended, "ADDRESS", served.url)
        yield served


def writer(token: str = TOKEN, zone: str = DOMAIN) -> ZoneWriter:
    return ZoneWriter(PROVIDER, zone, Secret(token))


def writable(wanted: tuple[Wanted, ...]) -> tuple[Wanted, ...]:
    return tuple(each for each in wanted if each.type in PROVIDER.types)


def content(provider: Cloudflare) -> set[Row]:
    """Everything in the zone, as a zone file would say it."""
    return {(one["type"], one["name"], _value(one)) for one in provider.zones[DOMAIN].values()}


def _value(record: dict[str, object]) -> str:
    text = str(record["content"])
    if record["type"] == "TXT":
        return text[1:-1]
    if record["type"] == "MX":
        return f"{record['priority']} {text}."
    return f"{text}." if record["type"] == "CNAME" else text


def test_what_is_written_is_what_was_shown(provider: Cloudflare, wanted: tuple[Wanted, ...]) -> None:
    before = content(provider)
    shown = plan(writable(wanted), writer().held())
    writer().write(shown)
    removed = {(each.type, each.name, each.value) for each in shown if not each.is_new}
    added = {(each.type, each.name, each.value) for each in shown if each.is_new}
    assert removed <= before
    assert content(provider) == before - removed | added
    assert len(provider.changes) == len(shown), "one change for each line of the preview"
    assert ("TXT", DOMAIN, "site-verification=keep") in content(provider)
    assert ("A", f"www.{DOMAIN}", "192.0.2.7") in content(provider)
    assert {row for row in content(provider) if row[0] == "MX"} == {
        ("MX", DOMAIN, "10 mx1.eider.test."), ("MX", DOMAIN, "20 mx2.eider.test."),
    }  # fmt: skip


def test_what_stands_there_is_not_written_again(provider: Cloudflare, wanted: tuple[Wanted, ...]) -> None:
    """What it says of a record is compared with what was meant: dots, preferences and quotation marks are not news."""
    writer().write(plan(writable(wanted), writer().held()))
    assert plan(writable(wanted), writer().held()) == ()


def test_wrong_token_and_unknown_zone_are_told(provider: Cloudflare) -> None:
    with pytest.raises(ProviderFailed, match="403"):
        writer("wrong").held()
    with pytest.raises(ProviderFailed, match="AuthenticationError"):
        writer(zone="unknown.test").held()
    assert provider.changes == []


def test_control_lexicon_alone_would_never_be_done(
    provider: Cloudflare, wanted: tuple[Wanted, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the preference that it does not read, the second exchanger is written again and again."""
    monkeypatch.delattr(mended.Provider, "_get")
    writer().write(plan(writable(wanted), writer().held()))
    assert plan(writable(wanted), writer().held()) != ()
