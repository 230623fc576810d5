"""Profiles that set a mail account up on Apple's devices, signed with the certificate of the server's name.

The format is that of Apple's "Configuration Profile Reference": a property list with one payload of type
`com.apple.mail.managed`, in a CMS signature (RFC 5652 §5). The device shows the signer and who vouches for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from mailcore.model.access import Scope
from mailcore.model.client_ports import USUAL_PORTS, ClientPorts
from mailcore.model.secret import Secret
from mailcore.services.process.offload import Offload
from mailcore.services.trust.certificates import Certificate, Certificates

MEDIA_TYPE: Final = "application/x-apple-aspen-config"
_NAMESPACE: Final = uuid.UUID("6f0a3d0e-2f0c-5a53-9d0f-0c8a8c2f7c11")
"""Ids are made of what a profile is for, so that installing it again replaces the one before."""


class Incoming(StrEnum):
    """How mail is fetched."""

    IMAP = "EmailTypeIMAP"
    POP3 = "EmailTypePOP"


@dataclass(frozen=True, slots=True)
class MailAccount:
    """What a device is to set up.

    Attributes:
        address: that mail is sent from.
        name: the person's.
        username: to sign in with.
        password: an app password's letters; None: the device asks for it.
        incoming: how mail is fetched.
        sends: whether the password is good for sending too.
        host: the server's name, for reading and sending; None: that of this system.
        title: what the account is called on the device; empty: its address.
        organisation: who offers it.
    """

    address: str
    name: str
    username: str
    password: Secret | None = field(default=None, repr=False)
    incoming: Incoming = Incoming.IMAP
    sends: bool = True
    host: str | None = None
    title: str = ""
    organisation: str = ""


def account_of(name: str, address: str, username: str, letters: Secret, scopes: Collection[Scope]) -> MailAccount:
    """Return the account that an app password opens: read by IMAP where that is in its scopes, else by POP3."""
    opens_all = Scope.ALL in scopes
    by_pop3 = not opens_all and Scope.IMAP not in scopes and Scope.POP3 in scopes
    return MailAccount(
        address,
        name,
        username,
        letters,
        Incoming.POP3 if by_pop3 else Incoming.IMAP,
        sends=opens_all or Scope.SMTP in scopes,
    )


class MobileConfigs:
    """Writes profiles."""

    def __init__(
        self, certificates: Certificates, offload: Offload, hostname: str, ports: ClientPorts = USUAL_PORTS
    ) -> None:
        self._certificates = certificates
        self._offload = offload
        self._hostname = hostname
        self._ports = ports

    def write(self, account: MailAccount) -> bytes:
        """Return the profile of an account; one round trip for the certificate.

        It is signed if there is a certificate for the server's name, or a default one; devices call it unverified else.
        """
        import plistlib  # with XML, for a document that few processes ever write

        host = account.host or self._hostname
        plain = plistlib.dumps(_profile(account, host, self._ports), sort_keys=False)
        certificate = self._certificates.certificate(host)
        if certificate is None:
            return plain
        return self._offload.run(lambda: _signed(plain, certificate))


def _profile(account: MailAccount, host: str, ports: ClientPorts) -> dict[str, Any]:
    title = account.title or account.address
    identifier = f"{'.'.join(reversed(host.split('.')))}.mail.{_id(host, account.address)}"
    return {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": _id(host, account.address, "profile").upper(),
        "PayloadDisplayName": title,
        "PayloadDescription": f"Sets {account.address} up for reading and sending mail",
        "PayloadOrganization": account.organisation or host,
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [_account(account, host, ports, title, identifier)],
    }


def _account(account: MailAccount, host: str, ports: ClientPorts, title: str, identifier: str) -> dict[str, Any]:
    port = ports.imaps if account.incoming is Incoming.IMAP else ports.pop3s
    found: dict[str, Any] = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.account",
        "PayloadUUID": _id(host, account.address, "account").upper(),
        "PayloadDisplayName": title,
        "EmailAccountDescription": title,
        "EmailAccountName": account.name or account.address,
        "EmailAccountType": account.incoming.value,
        "EmailAddress": account.address,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": host,
        "IncomingMailServerPortNumber": port,
        "IncomingMailServerUseSSL": True,
        "IncomingMailServerUsername": account.username,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": host,
        "OutgoingMailServerPortNumber": ports.submissions,
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerUsername": account.username,
        "OutgoingPasswordSameAsIncomingPassword": account.sends,
    }
    if account.password is not None:
        found["IncomingPassword"] = account.password.reveal_text()
        if account.sends:
            found["OutgoingPassword"] = account.password.reveal_text()
    return found


def _signed(content: bytes, certificate: Certificate) -> bytes:
    """Return content within its signature, DER, with the chain that came with the certificate."""
    from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

    leaf, *others = x509.load_pem_x509_certificates(certificate.chain_pem)
    key = load_pem_private_key(certificate.key_pem, password=None)
    assert isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey)
    builder = PKCS7SignatureBuilder().set_data(content).add_signer(leaf, key, hashes.SHA256())
    for other in others:
        builder = builder.add_certificate(other)
    return builder.sign(Encoding.DER, [PKCS7Options.Binary])


def _id(*words: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\n".join(words)))
