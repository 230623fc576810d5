"""A WebAuthn authenticator and its browser, in which every field may be told to lie."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url as b64

UP, UV, AT = 1, 4, 64


@dataclass
class Authenticator:
    """One key pair; `create` and `get` answer options as `PublicKeyCredential.toJSON()` would."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: os.urandom(32))
    count: int = 0

    def create(self, options: Any, origin: str, **lies: Any) -> dict[str, Any]:
        client_data = _client_data("webauthn.create", options.challenge, origin, lies)
        point = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
        credential_id = lies.get("credential_id", self.id)
        attested = bytes(16) + len(credential_id).to_bytes(2) + credential_id + lies.get("cose", cbor2.dumps(cose))
        data = self._data(lies.get("rp_id", options.rp.id), lies.get("flags", UP | UV | AT), lies) + attested
        statement = lies.get("statement", {})
        if statement == "self":
            signed = data + hashlib.sha256(client_data).digest()
            statement = {"alg": -7, "sig": self._sign(signed, lies)}
        attestation = cbor2.dumps({"fmt": lies.get("fmt", "none"), "attStmt": statement, "authData": data})
        return self._credential(lies, clientDataJSON=client_data, attestationObject=attestation)

    def get(self, options: Any, origin: str, **lies: Any) -> dict[str, Any]:
        self.count += 1
        client_data = _client_data("webauthn.get", options.challenge, origin, lies)
        data = self._data(lies.get("rp_id") or options.rp_id, lies.get("flags", UP | UV), lies)
        signature = lies.get("signature") or self._sign(data + hashlib.sha256(client_data).digest(), lies)
        more = {"userHandle": lies["user_handle"]} if "user_handle" in lies else {}
        return self._credential(lies, clientDataJSON=client_data, authenticatorData=data, signature=signature, **more)

    def _data(self, rp_id: str, flags: int, lies: dict[str, Any]) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + lies.get("count", self.count).to_bytes(4)

    def _sign(self, data: bytes, lies: dict[str, Any]) -> bytes:
        return lies.get("key", self.key).sign(data, ec.ECDSA(hashes.SHA256()))

    def _credential(self, lies: dict[str, Any], **response: bytes) -> dict[str, Any]:
        name = b64(lies.get("raw_id", self.id))
        encoded = {part: b64(value) for part, value in response.items()}
        return {"id": name, "rawId": name, "type": lies.get("kind", "public-key"), "response": encoded}


def _client_data(kind: str, challenge: bytes, origin: str, lies: dict[str, Any]) -> bytes:
    fields = {"type": kind, "challenge": b64(challenge), "origin": origin, "crossOrigin": False}
    return json.dumps(fields | lies.get("client", {})).encode()
