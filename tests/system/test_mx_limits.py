"""Attack M15: policies and signatures built to exhaust who checks them, at the rspamd of `infra/`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest

from mailcore.model.verdict import Verdict
from mailcore.services.inbound.spam import Envelope, check
from tests.system import mx
from tests.system.test_signatures_by_rspamd import resolver

pytestmark = mx.NEEDS
MESSAGE = (
    b"From: Someone <someone@flood.test>\r\nTo: you@here.test\r\nSubject: Hello\r\nMessage-ID: <1@flood.test>\r\n"
    b"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\nOrdinary words.\r\n"
)
SIGNATURE = (
    b"DKIM-Signature: v=1; a=rsa-sha256; d=s%d.flood.test; s=k; h=from;"
    b" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
)
SIGNED = b"".join(SIGNATURE % number for number in range(1000)) + MESSAGE
CHECKED = 8
LOOKUPS = 10


class Records(dict[str, str]):
    """Records of a name server, and what it was asked for."""

    def __init__(self, records: dict[str, str]) -> None:
        super().__init__(records)
        self.asked: list[str] = []

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        self.asked.append(name)
        return super().get(name, default)


@dataclass
class Filter:
    """An rspamd that asks only us."""

    url: str
    records: Records

    def asked_by(self, domain: str, raw: bytes) -> tuple[set[str], Verdict]:
        """For what it asks because of a message from a domain, and what it says."""
        self.records.asked.clear()
        envelope = Envelope(mx.HOST, "4XyZ", "192.0.2.7", "mail.test", f"someone@{domain}", ("you@here.test",))
        verdict = check(self.url, raw.replace(b"flood.test", domain.encode()), envelope)
        return set(self.records.asked), verdict


def chain(domain: str, includes: int) -> dict[str, str]:
    """A policy that includes another, and so on; only the last one lets us pass."""
    names = [domain, *(f"p{number}.{domain}" for number in range(1, includes + 1))]
    policies = {one: f"v=spf1 include:{other} -all" for one, other in pairwise(names)}
    return policies | {names[-1]: "v=spf1 ip4:192.0.2.7 -all"}


@contextmanager
def filter_with(**settings: str) -> Iterator[Filter]:
    """Run one; `settings` are lines that replace those of `infra/`."""
    records = Records(chain("long.test", 100) | chain("ten.test", LOOKUPS) | chain("eleven.test", LOOKUPS + 1))
    with resolver(records) as dns, mx.public_folder() as folder, mx.rspamd(folder, dns=dns, replaced=settings) as ports:
        yield Filter(f"http://{mx.HOST}:{ports['normal']}", records)


@pytest.fixture(scope="module")
def strict() -> Iterator[Filter]:
    with filter_with() as running:
        yield running


@pytest.fixture(scope="module")
def lax() -> Iterator[Filter]:
    """One without the limits of `infra/`."""
    with filter_with(dkim="max_sigs = 100000;", spf="max_dns_requests = 1000; max_dns_nesting = 1000;") as running:
        yield running


def keys(asked: set[str]) -> set[str]:
    return {name for name in asked if "_domainkey" in name}


def policies(asked: set[str]) -> set[str]:
    return {name for name in asked if name.startswith("p") and name.endswith(".test")}


def test_of_a_thousand_signatures_a_few_are_checked(strict: Filter) -> None:
    assert 1 <= len(keys(strict.asked_by("flood.test", SIGNED)[0])) <= CHECKED


def test_a_policy_that_goes_on_and_on_is_not_followed(strict: Filter) -> None:
    asked, verdict = strict.asked_by("long.test", MESSAGE)
    assert 1 <= len(policies(asked)) <= LOOKUPS
    assert "R_SPF_ALLOW" not in verdict.symbols


def test_ten_are_followed_and_eleven_are_too_many(strict: Filter) -> None:
    """RFC 7208 §4.6.4."""
    assert "R_SPF_ALLOW" in strict.asked_by("ten.test", MESSAGE)[1].symbols
    assert "R_SPF_ALLOW" not in strict.asked_by("eleven.test", MESSAGE)[1].symbols


def test_signatures_checked_without_a_limit_would_be_seen(lax: Filter) -> None:
    """Control."""
    with pytest.raises(AssertionError):
        test_of_a_thousand_signatures_a_few_are_checked(lax)


def test_policies_followed_without_a_limit_would_be_seen(lax: Filter) -> None:
    """Control."""
    with pytest.raises(AssertionError):
        test_a_policy_that_goes_on_and_on_is_not_followed(lax)
