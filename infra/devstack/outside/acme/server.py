"""ACME over HTTPS: requests that are signed, each with a nonce that works once (RFC 8555 §6)."""

from __future__ import annotations

import json
import secrets
import ssl
import tempfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

from acme.jws import JWS
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.b64 import b64decode, b64encode
from josepy.errors import Error as JoseError
from josepy.jwk import JWK

from infra.devstack.outside.acme.orders import Order, Orders, Problem, Proof, Reach
from infra.devstack.outside.acme.signer import Signer

ALGORITHMS: Final = frozenset({"RS256", "ES256"})
MOST_BYTES: Final = 1 << 17
MOST_NONCES: Final = 10_000

Answer = tuple[int, Any, dict[str, str]]


class AcmeServer:
    """`with` it serves `url`; what it signs is verified by `signer.root_path`.

    Args:
        folder: keeps its key and its accounts.
        reach: where the port 80 of a name is.
    """

    def __init__(self, folder: Path, reach: Reach, host: str = "127.0.0.1", port: int = 0) -> None:
        self.signer = Signer(folder)
        self.orders = Orders(self.signer, reach, folder / "accounts.json")
        self.lock = threading.RLock()
        self._nonces: dict[str, None] = {}
        self._server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"authority": self}))
        self._server.daemon_threads = True
        context = _context(self.signer, host)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._base = f"https://{host}:{self._server.server_address[1]}"
        self.url = f"{self._base}/dir"
        """The directory of its resources (§7.1.1)."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def nonce(self) -> str:
        """Return one that works once."""
        with self.lock:
            made = secrets.token_urlsafe(24)
            self._nonces[made] = None
            while len(self._nonces) > MOST_NONCES:
                del self._nonces[next(iter(self._nonces))]
            return made

    def directory(self) -> dict[str, str]:
        """Return where everything is."""
        paths = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
        return {name: f"{self._base}/{path}" for name, path in paths.items()}

    def post(self, path: str, body: bytes) -> Answer:
        """Answer a signed request.

        Raises:
            Problem: why not.
        """
        account, key, payload = self._verified(path, body)
        with self.lock:
            match path.strip("/").split("/"):
                case ["account"]:
                    return self._register(account, key, payload)
                case ["account", owner] if owner == account:
                    return 200, {"status": "valid"}, {}
                case ["order"]:
                    names = [str(one.get("value", "")) for one in payload.get("identifiers", [])]
                    number = self.orders.open(account, names)
                    place = {"Location": f"{self._base}/order/{number}"}
                    return 201, self._order(number, self.orders.of(account, number)), place
                case [kind, number, *rest] if number.isdecimal() and len(number) < 10:
                    return self._of_order(account, kind, int(number), rest, payload)
        raise Problem("malformed", "there is nothing there", 404)

    def _of_order(self, account: str, kind: str, number: int, rest: list[str], payload: Mapping[str, Any]) -> Answer:
        order = self.orders.of(account, number)
        if kind == "order" and not rest:
            return 200, self._order(number, order), {}
        if kind == "finalize" and not rest:
            self.orders.finish(order, b64decode(str(payload.get("csr", ""))))
            return 200, self._order(number, order), {"Location": f"{self._base}/order/{number}"}
        if kind == "certificate" and not rest and order.chain is not None:
            return 200, order.chain, {}
        if kind in {"proof", "challenge"} and len(rest) == 1 and rest[0].isdecimal():
            at = int(rest[0][:9])
            if at < len(order.proofs):
                if kind == "challenge":
                    self.orders.prove(account, order.proofs[at])
                    up = {"Link": f'<{self._base}/proof/{number}/{at}>;rel="up"'}
                    return 200, self._challenge(number, at, order.proofs[at]), up
                return 200, self._proof(number, at, order.proofs[at]), {}
        raise Problem("malformed", "there is nothing there", 404)

    def _register(self, account: str, key: JWK | None, payload: Mapping[str, Any]) -> Answer:
        if key is None:
            raise Problem("malformed", "an account is asked for with its key")
        is_only_asked = payload.get("onlyReturnExisting") is True
        is_new = self.orders.register(account, key.to_json(), is_only_asked=is_only_asked)
        return 201 if is_new else 200, {"status": "valid"}, {"Location": f"{self._base}/account/{account}"}

    def _verified(self, path: str, body: bytes) -> tuple[str, JWK | None, Mapping[str, Any]]:
        """Return the account that signed, its key if the request bears it, and what was signed (§6.2)."""
        try:
            jws = JWS.json_loads(body.decode())
            header = jws.signature.combined
            given = json.loads(jws.payload or b"{}")
        except (JoseError, ValueError) as error:
            raise Problem("malformed", "that is no signed request") from error
        if header.url != self._base + path or not isinstance(given, dict):
            raise Problem("unauthorized", "that was signed for another address", 403)
        if header.alg is None or header.alg.name not in ALGORITHMS:
            raise Problem("badSignatureAlgorithm", f"one of {', '.join(sorted(ALGORITHMS))}")
        key = header.jwk if header.kid is None else self._key_of(header.kid)
        if key is None or (header.kid is not None and header.jwk is not None) or not jws.verify(key):
            raise Problem("unauthorized", "the signature is not the account's", 403)
        self._spend(b64encode(header.nonce or b"").decode())
        return b64encode(key.thumbprint()).decode(), header.jwk, given

    def _key_of(self, account_url: str) -> JWK:
        known = self.orders.accounts.get(account_url.removeprefix(f"{self._base}/account/"))
        if known is None:
            raise Problem("accountDoesNotExist", "there is no such account")
        key = JWK.from_json(known)
        assert isinstance(key, JWK)
        return key

    def _spend(self, nonce: str) -> None:
        with self.lock:
            if nonce not in self._nonces:
                raise Problem("badNonce", "that nonce was used, or is none of ours")
            del self._nonces[nonce]

    def _order(self, number: int, order: Order) -> dict[str, Any]:
        document: dict[str, Any] = {
            "status": order.status,
            "identifiers": [{"type": "dns", "value": proof.name} for proof in order.proofs],
            "authorizations": [f"{self._base}/proof/{number}/{at}" for at in range(len(order.proofs))],
            "finalize": f"{self._base}/finalize/{number}",
        }
        if order.chain is not None:
            document["certificate"] = f"{self._base}/certificate/{number}"
        return document

    def _proof(self, number: int, at: int, proof: Proof) -> dict[str, Any]:
        return {
            "status": proof.status,
            "identifier": {"type": "dns", "value": proof.name},
            "challenges": [self._challenge(number, at, proof)],
        }

    def _challenge(self, number: int, at: int, proof: Proof) -> dict[str, Any]:
        document: dict[str, Any] = {
            "type": "http-01",
            "url": f"{self._base}/challenge/{number}/{at}",
            "status": proof.status,
            "token": proof.token,
        }
        if proof.problem is not None:
            document["error"] = proof.problem.document()
        return document


def _context(signer: Signer, host: str) -> ssl.SSLContext:
    """Return TLS for the authority itself, with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # the only way in is a file
        file.write(text + signer.sign([host, "localhost"], key.public_key()))
        file.flush()
        context.load_cert_chain(file.name)
    return context


class _Handler(BaseHTTPRequestHandler):
    """One request; every answer bears a new nonce."""

    authority: AcmeServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_HEAD(self) -> None:
        self._send(200, b"", {})

    def do_GET(self) -> None:
        if self.path == "/dir":
            self._send(200, self.authority.directory(), {})
        elif self.path == "/nonce":
            self._send(204, b"", {})
        else:
            self._send(405, Problem("malformed", "ask by POST", 405).document(), {})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            self._send(413, Problem("malformed", "a length is needed, and a small one", 413).document(), {})
            return
        try:
            self._send(*self.authority.post(self.path, self.rfile.read(int(length))))
        except Problem as problem:
            self._send(problem.status, problem.document(), {})

    def _send(self, status: int, document: Any, headers: dict[str, str]) -> None:
        is_json = not isinstance(document, bytes)
        body = json.dumps(document).encode() if is_json else document
        self.send_response(status)
        kind = "application/problem+json" if status >= 400 else "application/json" if is_json else None
        self.send_header("Content-Type", kind or "application/pem-certificate-chain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Replay-Nonce", self.authority.nonce())
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""
