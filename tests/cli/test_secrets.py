"""`eider sealing`, `eider cert` and `eider sign-ins`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from bson import ObjectId

from infra.devstack.endpoints import Endpoints
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from tests.builders import SEALING_KEYS, make_services, make_user
from tests.cli.conftest import Eider


def test_a_new_key_takes_over(
    eider: Eider,
    stack: Endpoints,
    fresh_uri: Callable[[str, str], str],
    shard_uris: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a directory of its own: the keys of the others stay."""
    uri = fresh_uri(stack.mongo.directory, "sealing_cli")
    make_services(uri, shard_uris).close()
    monkeypatch.setenv("MONGO_URI", uri)
    eider("tenant", "create", str(ObjectId()), "--region", "eu")
    before = eider("sealing", "status")
    assert before.status == 0
    assert "no value is left under a key older than 1" in before.out
    monkeypatch.setenv("EIDER_SEALING_KEYS", f"{SEALING_KEYS},2:{base64.b64encode(b'2' * 32).decode()}")
    assert "no value is left" not in eider("sealing", "status").out
    after = eider("sealing", "rotate")
    assert "no value is left under a key older than 2" in after.out
    monkeypatch.setenv("EIDER_SEALING_KEYS", SEALING_KEYS)
    assert eider("sealing", "status").status == 1, "the old key alone opens nothing any more"


def test_certificates_come_and_go(eider: Eider, tmp_path: Path) -> None:
    name = f"mail.{ObjectId()}.test"
    leaf = trustme.CA().issue_cert(name)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(chain)
    leaf.private_key_pem.write_to_path(key)
    assert "certificate added; it ends on" in eider("cert", "add", str(chain), str(key)).out
    listed = eider("cert", "list").out
    assert name in listed
    assert "PRIVATE" not in listed
    assert eider("cert", "add", str(chain), str(chain)).status == 1
    assert eider("cert", "add", str(tmp_path / "none"), str(key)).err.startswith("eider: cannot read")
    assert "EIDER_ACME_DIRECTORY is not set" in eider("cert", "request", name).err
    assert eider("cert", "delete", name).out == "1 certificates removed, 0 orders withdrawn\n"
    assert eider("cert", "delete", name).status == 1


def test_an_order_is_listed_and_withdrawn(eider: Eider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIDER_ACME_DIRECTORY", "https://127.0.0.1:9/dir")
    name = f"mail.{ObjectId()}.test"
    assert eider("cert", "request", name, f"www.{name}").status == 0
    assert f"on order: {name} www.{name}: next" in eider("cert", "list").out
    assert "wildcard" in eider("cert", "request", f"*.{name}").err
    assert eider("cert", "delete", f"www.{name}").out == "0 certificates removed, 1 orders withdrawn\n"


def test_sign_ins_are_listed_page_by_page(eider: Eider, directory_uri: str, shard_uris: dict[str, Any]) -> None:
    services = make_services(directory_uri, shard_uris)
    user = make_user(services)
    for address in ("192.0.2.1", "192.0.2.2"):
        services.authentication.login(user.address, Secret(user.password), Protocol.IMAP, address)
    services.close()
    first = eider("sign-ins", user.address, "--limit", "1").out.splitlines()
    assert "accepted  imap" in first[1]
    rest = eider("sign-ins", user.address, "--before", first[-1].split()[-1]).out.splitlines()
    assert {line.split()[-1] for line in (first[1], rest[1])} == {"192.0.2.1", "192.0.2.2"}
    assert len(rest) == 2
