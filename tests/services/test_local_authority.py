"""The certificate authority of `make run`: it looks before it signs, and takes nothing that is not signed for it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest
from acme.jws import JWS
from bson import ObjectId
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from josepy.b64 import b64decode, b64encode
from josepy.jwa import RS256
from josepy.jwk import JWKRSA

from infra.devstack.outside.acme.orders import Orders
from infra.devstack.outside.acme.server import AcmeServer
from infra.devstack.outside.acme.signer import Signer
from mailcore.model.actor import SYSTEM
from mailcore.services import MailServices
from mailcore.services.wiring import connect
from mailcore.settings import AcmeSettings
from tests.builders import OPERATOR, make_settings


@contextmanager
def web(answer: str | None, services: MailServices | None = None) -> Iterator[int]:
    """Port 80 of a host: our services answer, or it says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = services.acme.answer(self.path.rpartition("/")[2]) if services is not None else answer
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write((found or "").encode())

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def ordering(directory: str, authority: AcmeServer) -> Iterator[MailServices]:
    acme = AcmeSettings(authority.url, "ops@example.org", str(authority.signer.root_path))
    worker = connect(replace(make_settings(directory), acme=acme))
    try:
        yield worker
    finally:
        worker.close()


def is_trusted(chain: bytes, name: str, authority: AcmeServer) -> bool:
    root = x509.load_pem_x509_certificate(authority.signer.root_path.read_bytes())
    verifier = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(x509.load_pem_x509_certificates(chain)[0], [])
    except VerificationError:
        return False
    return True


def test_names_that_are_proven_get_a_certificate_and_the_account_outlives_the_authority(
    services: MailServices, directory_uri: str, tmp_path: Path
) -> None:
    names = [f"local-{ObjectId()}.test", f"local-{ObjectId()}.test"]
    asked: list[str] = []
    with web(None, services) as port:

        def reach(name: str) -> tuple[str, int]:
            asked.append(name)
            return "127.0.0.1", port

        with AcmeServer(tmp_path, reach) as authority, ordering(directory_uri, authority) as worker:
            worker.acme.request(OPERATOR, names)
            assert worker.acme.renew_due(SYSTEM) == 1
            assert sorted(asked) == sorted(names)
            found = worker.certificates.for_name(names[0])
            assert found is not None
            assert is_trusted(found.chain_pem, names[1], authority)
            assert not is_trusted(found.chain_pem, "other.test", authority)
            url_port = int(authority.url.split(":")[2].partition("/")[0])
        with AcmeServer(tmp_path, reach, port=url_port) as again, ordering(directory_uri, again) as worker:
            worker.acme.request(OPERATOR, names)
            assert worker.acme.renew_due(SYSTEM) == 1, [order.error for order in worker.acme.list_orders()]


@pytest.mark.parametrize(("leads", "said"), [(False, "leads nowhere"), (True, "answered 200, and not with")])
def test_what_is_not_proven_is_refused_with_the_reason(
    directory_uri: str, tmp_path: Path, leads: bool, said: str
) -> None:
    name = f"refused-{ObjectId()}.test"
    with web("what nobody agreed") as port:
        place = ("127.0.0.1", port) if leads else None
        with AcmeServer(tmp_path, lambda _: place) as authority, ordering(directory_uri, authority) as worker:
            worker.acme.request(OPERATOR, [name])
            assert worker.acme.renew_due(SYSTEM) == 0
            [order] = [one for one in worker.acme.list_orders() if name in one.names]
            assert said in order.error
            assert worker.certificates.for_name(name) is None
            worker.acme.withdraw(OPERATOR, name)


def test_an_answer_that_nobody_fetches_would_be_seen(
    directory_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: an authority that believes everybody."""
    monkeypatch.setattr(Orders, "_fetch", lambda *_: None)
    with pytest.raises(AssertionError):
        test_what_is_not_proven_is_refused_with_the_reason(directory_uri, tmp_path, leads=False, said="leads nowhere")


class Client:
    """Signs what it is told to, right or wrong."""

    def __init__(self, authority: AcmeServer) -> None:
        self.base = authority.url.removesuffix("/dir")
        self.context = create_default_context(cafile=str(authority.signer.root_path))
        self.key = JWKRSA(key=rsa.generate_private_key(65537, 2048))
        self.account: str | None = None

    def nonce(self) -> bytes:
        with urllib.request.urlopen(f"{self.base}/nonce", context=self.context) as answer:
            return b64decode(answer.headers["Replay-Nonce"])

    def post(self, path: str, document: Any = None, nonce: bytes | None = None, url: str | None = None) -> Any:
        """Return (status, document, headers)."""
        payload = b"" if document is None else json.dumps(document).encode()
        signed = JWS.sign(
            payload, key=self.key, alg=RS256, nonce=nonce or self.nonce(), url=url or self.base + path, kid=self.account
        )
        body = signed.json_dumps().encode()
        request = urllib.request.Request(f"{self.base}{path}", body, {"Content-Type": "application/jose+json"})
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:
                return answer.status, json.loads(answer.read() or b"{}"), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["type"].rpartition(":")[2], error.headers

    def register(self) -> None:
        self.account = self.post("/account", {"termsOfServiceAgreed": True})[2]["Location"]


def signing_request(*names: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    made = builder.add_extension(wanted, critical=False).sign(key, hashes.SHA256())
    return b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def test_requests_that_are_not_the_accounts_are_refused(tmp_path: Path) -> None:
    with web(None) as port, AcmeServer(tmp_path, lambda _: ("127.0.0.1", port)) as authority:
        ada, eve = Client(authority), Client(authority)
        assert ada.post("/account", {"onlyReturnExisting": True})[:2] == (400, "accountDoesNotExist")
        ada.register()
        eve.register()
        nonce = ada.nonce()
        wanted = {"identifiers": [{"type": "dns", "value": "a.test"}]}
        status, order, _ = ada.post("/order", wanted, nonce)
        assert (status, order["status"]) == (201, "pending")
        assert ada.post("/order", wanted, nonce)[:2] == (400, "badNonce")
        assert ada.post("/order", wanted, url=f"{ada.base}/other")[:2] == (403, "unauthorized")
        assert ada.post("/order", {"identifiers": [{"type": "dns", "value": "*.a.test"}]})[1] == "rejectedIdentifier"
        path = order["finalize"].removeprefix(ada.base)
        assert ada.post(path, {"csr": signing_request("a.test")})[:2] == (403, "orderNotReady")
        assert eve.post(path, {"csr": signing_request("a.test")})[:2] == (403, "unauthorized")
        eve.account = ada.account
        assert eve.post("/order", wanted)[:2] == (403, "unauthorized"), "her key is not ada's"


def test_a_request_for_other_names_than_were_proven_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Orders, "_fetch", lambda *_: None)
    with AcmeServer(tmp_path, lambda _: None) as authority:
        ada = Client(authority)
        ada.register()
        _, order, _ = ada.post("/order", {"identifiers": [{"type": "dns", "value": "a.test"}]})
        [proof] = [ada.post(url.removeprefix(ada.base))[1] for url in order["authorizations"]]
        ada.post(proof["challenges"][0]["url"].removeprefix(ada.base), {})
        path = order["finalize"].removeprefix(ada.base)
        assert ada.post(path, {"csr": signing_request("bank.test")})[:2] == (400, "badCSR")
        assert ada.post(path, {"csr": "nonsense"})[:2] == (400, "badCSR")
        assert ada.post(path, {"csr": signing_request("a.test")})[1]["status"] == "valid"


def test_keys_stay_between_runs_and_are_nobody_elses(tmp_path: Path) -> None:
    first = Signer(tmp_path).root_path.read_bytes()
    assert Signer(tmp_path).root_path.read_bytes() == first
    assert (tmp_path / "authority.key").stat().st_mode & 0o077 == 0
