"""ARC seals: the public test suite through what signs and the library that verifies, and seals on mail sent on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dkim
import pytest
import yaml

from mailcore.message.headers import iter_fields
from mailcore.model.dkim import DkimAlgorithm
from mailcore.services import MailServices
from mailcore.services.inbound.arc import arc_set
from mailcore.services.outbound.dkim_signatures import Signer
from tests.builders import OPERATOR, make_services, make_tenant, make_user
from tests.corpus import SHARED
from tests.services.inbound_mail import content, mail, queued, take

SUITE = SHARED / "vectors" / "arc"
HOST = "mx.here.test"
needs_suite = pytest.mark.skipif(not SUITE.is_dir(), reason="the ARC suite is not beside this clone")
Dns = Callable[..., bytes | None]


def scenarios(name: str) -> list[dict[str, Any]]:
    """The documents of a file of the suite."""
    return list(yaml.safe_load_all((SUITE / name).read_text(encoding="utf-8")))


def dns_of(records: dict[str, str]) -> Dns:
    """A resolver that knows these TXT records and nothing else."""

    def look_up(name: bytes | str, timeout: int = 5) -> bytes | None:
        text = records.get((name.decode() if isinstance(name, bytes) else name).rstrip("."))
        return text.replace("\n", "").encode() if text else None

    return look_up


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def tags(value: str) -> Counter[str]:
    """The tags of a field, blanks and comments aside."""
    parts = re.sub(r"\([^()]*\)|\s+", "", value).split(";")
    return Counter(part for part in parts if part)


def fields(made: bytes) -> dict[bytes, str]:
    return {found.name: made[found.value_start : found.end].decode() for found in iter_fields(made)}


def validated() -> tuple[int, list[str]]:
    """How many of the suite's messages are judged as it says, and which are not."""
    right, wrong = 0, []
    for scenario in scenarios("arc-draft-validation-tests.yml"):
        look_up = dns_of(scenario.get("txt-records") or {})
        for name, case in scenario["tests"].items():
            found = dkim.arc_verify(crlf(case["message"]), dnsfunc=look_up)[0]
            if (found or b"none").decode().lower() == (case["cv"] or "none").lower():
                right += 1
            else:
                wrong.append(name)
    return right, wrong


@needs_suite
def test_every_chain_of_the_suite_is_judged_as_it_says() -> None:
    """M15: 171 of 171, by the library that we chose."""
    assert validated() == (171, [])


@needs_suite
def test_a_verifier_that_believes_every_signature_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(dkim, "RSASSA_PKCS1_v1_5_verify", lambda *_: True)
    assert validated()[1]


@needs_suite
def test_every_message_of_the_suite_is_sealed_as_it_says() -> None:
    """17 of 17: the message signature to the letter; results without comments, so the seal over them is verified."""
    right = 0
    for scenario in scenarios("arc-draft-sign-tests.yml"):
        signer = Signer(scenario["sel"], DkimAlgorithm.RSA, scenario["privatekey"].encode())
        look_up = dns_of(scenario["txt-records"])
        for name, case in scenario["tests"].items():
            raw = crlf(case["message"])
            signed = [each.encode() for each in case["sig-headers"].split(":")]
            made = arc_set(
                raw, scenario["domain"], signer, case["srv-id"], names=signed, at_s=int(case["t"]), standardize=True
            )
            found = fields(made)
            assert tags(found.get(b"arc-message-signature", "")) == tags(case["AMS"]), name
            assert tags(found.get(b"arc-authentication-results", "")) == tags(case["AAR"]), name
            if made:
                expected = None if "cv=fail" in case["AS"] else b"pass"
                assert dkim.arc_verify(made + raw, dnsfunc=look_up)[0] == expected, name
            right += 1
    assert right == 17


# -- our own forwards ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealing(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    """Services of a host whose own domain has a key."""
    services = make_services(directory_uri, shard_uris, redis_url, EIDER_HOSTNAME=HOST, EIDER_FORWARD_DOMAIN=HOST)
    tenant_id, _ = make_tenant(services)
    services.domains.create(OPERATOR, tenant_id, HOST)
    for key in services.dkim_keys.list_of(tenant_id) or [services.dkim_keys.create(OPERATOR, tenant_id, HOST)]:
        services.dkim_keys.activate(OPERATOR, tenant_id, key.id)
    yield services
    services.close()


@pytest.fixture(scope="module")
def dns(sealing: MailServices) -> Dns:
    """What the world sees of the keys of the host's domain."""
    tenant_id = sealing.placement.directory.domains.owner_of(HOST)
    assert tenant_id is not None
    return dns_of({key.record_name: key.record_value for key in sealing.dkim_keys.list_of(tenant_id)})


def sent_on(services: MailServices, *found: str) -> tuple[bytes, bytes]:
    """A message as it came, and as it is sent on."""
    user = make_user(services)
    services.users.set_settings(OPERATOR, user.user_id, {"targets": ("home@elsewhere.test",)})
    raw = mail(user.address, *found)
    take(services, raw, user.address)
    return raw, content(services, queued(services, user)[0])


def test_what_our_filter_found_is_sealed_over_the_untouched_message(sealing: MailServices, dns: Dns) -> None:
    raw, sent = sent_on(sealing, f"Authentication-Results: {HOST}; spf=pass smtp.mailfrom=bob@outside.test; arc=none")
    assert sent.endswith(raw)
    assert dkim.arc_verify(sent, dnsfunc=dns)[0] == b"pass"
    found = fields(sent)
    assert "spf=pass" in found[b"arc-authentication-results"]
    assert "cv=none" in found[b"arc-seal"]
    for changed in (sent.replace(b"hello", b"hullo"), sent.replace(b"spf=pass", b"spf=none", 1)):
        assert dkim.arc_verify(changed, dnsfunc=dns)[0] == b"fail"


def test_a_chain_that_our_filter_validated_is_continued(sealing: MailServices, dns: Dns) -> None:
    _, once = sent_on(sealing, f"Authentication-Results: {HOST}; spf=pass smtp.mailfrom=bob@outside.test")
    user = make_user(sealing)
    sealing.users.set_settings(OPERATOR, user.user_id, {"targets": ("home@elsewhere.test",)})
    take(sealing, f"Authentication-Results: {HOST}; arc=pass\r\n".encode() + once, user.address)
    twice = content(sealing, queued(sealing, user)[0])
    assert len(re.findall(rb"^ARC-Seal:", twice, re.MULTILINE)) == 2
    assert dkim.arc_verify(twice, dnsfunc=dns)[0] == b"pass"


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([], id="nobody-looked"),
        pytest.param(["Authentication-Results: other.test; spf=pass smtp.mailfrom=a@b.test"], id="somebody-elses-word"),
        pytest.param([f"Authentication-Results: {HOST}; arc=pass"], id="a-chain-that-is-not-there"),
        pytest.param(
            [f"Authentication-Results: {HOST}; spf=pass smtp.mailfrom=a@b.test", "ARC-Seal: i=1; nonsense"],
            id="nonsense",
        ),
    ],
)
def test_what_cannot_be_sealed_goes_on_without(sealing: MailServices, found: list[str]) -> None:
    raw, sent = sent_on(sealing, *found)
    assert sent.endswith(raw)
    assert b"ARC-Message-Signature" not in sent


def test_a_host_without_key_seals_nothing(services: MailServices) -> None:
    own = services.settings.hostname
    raw, sent = sent_on(services, f"Authentication-Results: {own}; spf=pass smtp.mailfrom=bob@outside.test")
    assert sent.endswith(raw)
    assert b"ARC-" not in sent
