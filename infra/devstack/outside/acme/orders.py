"""Accounts, orders and proofs of an authority; nothing here knows HTTP or signatures."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from infra.devstack.outside.acme.signer import Signer

FETCH_S: Final = 5
MOST_BYTES: Final = 4096
CHALLENGE_PATH: Final = "/.well-known/acme-challenge/"

Reach = Callable[[str], tuple[str, int] | None]
"""Name -> where its port 80 is; None: the name leads nowhere."""


class Problem(Exception):
    """What is answered instead (RFC 8555 §6.7)."""

    def __init__(self, kind: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.status = kind, detail, status

    def document(self) -> dict[str, Any]:
        """Return it as the protocol writes it."""
        return {"type": f"urn:ietf:params:acme:error:{self.kind}", "detail": self.detail, "status": self.status}


@dataclass(slots=True)
class Proof:
    """An authorization with its only challenge (§7.1.4, §8.3)."""

    name: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    status: str = "pending"
    problem: Problem | None = None


@dataclass(slots=True)
class Order:
    """What somebody wants a certificate for (§7.1.3)."""

    account: str
    proofs: list[Proof]
    chain: bytes | None = None

    @property
    def status(self) -> str:
        """Where it stands."""
        if self.chain is not None:
            return "valid"
        states = {proof.status for proof in self.proofs}
        return "invalid" if "invalid" in states else "ready" if states == {"valid"} else "pending"


class Orders:
    """Everything that the authority knows; accounts outlive it in a file."""

    def __init__(self, signer: Signer, reach: Reach, accounts_path: Path | None = None) -> None:
        self._signer = signer
        self._reach = reach
        self._accounts_path = accounts_path
        self.accounts: dict[str, Mapping[str, Any]] = {}
        """Thumbprint -> public key (JWK)."""
        if accounts_path is not None and accounts_path.is_file():
            self.accounts = json.loads(accounts_path.read_text())
        self._orders: list[Order] = []

    def register(self, thumbprint: str, key: Mapping[str, Any], *, is_only_asked: bool) -> bool:
        """Let a key have an account; return whether that is new.

        Raises:
            Problem: it has none, and that was only asked.
        """
        if thumbprint in self.accounts:
            return False
        if is_only_asked:
            raise Problem("accountDoesNotExist", "this key has no account")
        self.accounts[thumbprint] = key
        if self._accounts_path is not None:
            self._accounts_path.write_text(json.dumps(self.accounts))
        return True

    def open(self, account: str, names: Sequence[str]) -> int:
        """Take an order and return its number.

        Raises:
            Problem: no names, or one that HTTP cannot prove.
        """
        if not names:
            raise Problem("malformed", "an order needs identifiers")
        if any("*" in name or not name.isascii() for name in names):
            raise Problem("rejectedIdentifier", "only names of hosts are certified here")
        self._orders.append(Order(account, [Proof(name.lower()) for name in dict.fromkeys(names)]))
        return len(self._orders) - 1

    def of(self, account: str, number: int) -> Order:
        """Return an order of an account.

        Raises:
            Problem: it has none of that number.
        """
        if not 0 <= number < len(self._orders):
            raise Problem("malformed", "there is no such order", 404)
        if self._orders[number].account != account:
            raise Problem("unauthorized", "that is another account's", 403)
        return self._orders[number]

    def prove(self, account: str, proof: Proof) -> None:
        """Fetch the answer to a challenge where the name leads, once (§8.3)."""
        if proof.status != "pending":
            return
        try:
            self._fetch(proof, f"{proof.token}.{account}")
            proof.status = "valid"
        except Problem as problem:
            proof.status, proof.problem = "invalid", problem

    def finish(self, order: Order, request: bytes) -> None:
        """Sign what an order's names were proven for (§7.4).

        Raises:
            Problem: not proven, or the request (DER) is for other names or not signed by its key.
        """
        if order.status != "ready":
            raise Problem("orderNotReady", f"the order is {order.status}", 403)
        try:
            parsed = x509.load_der_x509_csr(request)
            names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound) as error:
            raise Problem("badCSR", "the request cannot be read") from error
        wanted = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        if not parsed.is_signature_valid or wanted != {proof.name for proof in order.proofs}:
            raise Problem("badCSR", "the request is not for the order's names")
        order.chain = self._signer.sign(sorted(wanted), parsed.public_key())  # type: ignore[arg-type]

    def _fetch(self, proof: Proof, expected: str) -> None:
        place = self._reach(proof.name)
        if place is None:
            raise Problem("dns", f"{proof.name} leads nowhere")
        connection = http.client.HTTPConnection(*place, timeout=FETCH_S)
        try:
            connection.request("GET", CHALLENGE_PATH + proof.token, headers={"Host": proof.name})
            answer = connection.getresponse()
            status, body = answer.status, answer.read(MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise Problem("connection", f"{proof.name} does not answer over HTTP") from error
        finally:
            connection.close()
        if status != 200 or body.strip() != expected.encode():
            raise Problem("unauthorized", f"{proof.name} answered {status}, and not with what was agreed", 403)
