"""What we sign is verified by rspamd as well, whose DKIM is its own (RSA and Ed25519)."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from socket import AF_INET, SOCK_DGRAM, socket

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from mailcore.model.dkim import DkimAlgorithm, DkimKey
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser
from tests.system import mx

MESSAGE = (
    "From: {0}\r\nTo: bob@else.test\r\nSubject: signed\r\nMessage-ID: <1@own.test>\r\n"
    "Date: Wed, 25 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello\r\n\r\n"
)


@contextmanager
def resolver(records: dict[str, str]) -> Iterator[int]:
    """Answer questions for TXT records on loopback; everything else does not exist."""
    with socket(AF_INET, SOCK_DGRAM) as endpoint:
        endpoint.bind((mx.HOST, 0))

        def serve() -> None:
            while True:
                wire, peer = endpoint.recvfrom(4096)
                if not wire:
                    return
                query = dns.message.from_wire(wire)
                name = query.question[0].name
                answer = dns.message.make_response(query, recursion_available=True)
                text = records.get(name.to_text(omit_final_dot=True).lower())
                if text is None or query.question[0].rdtype.name != "TXT":
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                else:
                    strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
                    answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", strings))
                endpoint.sendto(answer.to_wire(max_size=4096), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = int(endpoint.getsockname()[1])
        try:
            yield port
        finally:
            endpoint.sendto(b"", (mx.HOST, port))
            thread.join()


def symbols(port: int, raw: bytes) -> dict[str, list[str]]:
    """What rspamd found, with what it says of each."""
    request = urllib.request.Request(f"http://{mx.HOST}:{port}/checkv2", raw, {"IP": "192.0.2.1"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)["symbols"]
    return {name: symbol.get("options", []) for name, symbol in found.items()}


@pytest.mark.parametrize("_", [pytest.param(None, marks=mx.NEEDS)], ids=["rspamd"])
def test_both_algorithms_verify_and_a_changed_message_does_not(services: MailServices, user: MadeUser, _: None) -> None:
    domain = user.address.partition("@")[2]
    keys: list[DkimKey] = [
        services.dkim_keys.create(OPERATOR, user.tenant_id, domain, algorithm=algorithm, is_active=True)
        for algorithm in DkimAlgorithm
    ]
    raw = MESSAGE.format(user.address).encode()
    signed = services.dkim.sign(user.tenant_id, domain, raw) + raw
    records = {key.record_name: key.record_value for key in keys}
    with resolver(records) as dns_port, mx.public_folder() as folder, mx.rspamd(folder, dns=dns_port) as ports:
        found = symbols(ports["normal"], signed)
        expected = sorted(f"{domain}:s={key.selector}" for key in keys)
        assert sorted(found.get("R_DKIM_ALLOW", [])) == expected, found
        changed = symbols(ports["normal"], signed.replace(b"Hello", b"Hullo"))
        assert sorted(changed.get("R_DKIM_REJECT", [])) == expected, changed
        assert "R_DKIM_ALLOW" not in changed
