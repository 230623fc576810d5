"""`eider dkim`: records to publish, never the private key."""

from __future__ import annotations

import re

import pytest
from bson import ObjectId

from mailcore.model.dkim import DkimAlgorithm
from mailcore.services.outbound.dkim_private_keys import new_key
from tests.cli.conftest import Eider


@pytest.fixture
def tenant(eider: Eider) -> str:
    """A tenant whose domain is its name with `.test`."""
    name = str(ObjectId())
    eider("tenant", "create", name, "--region", "eu")
    eider("domain", "create", f"{name}.test", "--tenant", name)
    return name


def test_a_key_from_made_to_gone(eider: Eider, tenant: str) -> None:
    of = ("--tenant", tenant)
    made = eider("dkim", "create", f"{tenant}.test", "--selector", "s1", *of)
    assert re.fullmatch(rf"s1\._domainkey\.{tenant}\.test\. TXT v=DKIM1; k=rsa; p=[\w+/=]+\n", made.out)
    private = new_key(DkimAlgorithm.ED25519)
    taken = eider(
        "dkim", "create", f"{tenant}.test", "--key", "-", "--now", *of, stdin=private.private_key.reveal_text()
    )
    assert f"k=ed25519; p={private.public_key}" in taken.out
    listed = eider("dkim", "list", *of).out
    key_id = re.search(r"^([0-9a-f]{24})  .* s1 +rsa +pending +not seen in DNS$", listed, re.MULTILINE)
    assert key_id is not None
    assert re.search(r" ed25519 +active +not seen", listed)
    assert made.out in listed
    assert private.private_key.reveal_text() not in listed
    assert eider("dkim", "activate", key_id[1], *of).status == 0
    assert eider("dkim", "delete", key_id[1], *of).status == 0
    assert key_id[1] not in eider("dkim", "list", *of).out


def test_what_is_refused_is_one_line(eider: Eider, tenant: str) -> None:
    for arguments in (
        ("create", "elsewhere.test"),
        ("delete", str(ObjectId())),
        ("create", f"{tenant}.test", "--selector", "_"),
    ):
        refused = eider("dkim", *arguments, "--tenant", tenant)
        assert refused.status == 1
        assert len(refused.err.splitlines()) == 1
