"""The demo: two tenants with people, and mail for each of them delivered by LMTP."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import ipaddress
import json
import secrets
import smtplib
from email.headerregistry import Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.devstack import demo_mail
from infra.devstack.datafolder import write_json, write_whole
from infra.devstack.endpoints import DemoUser, Endpoints
from infra.devstack.faults import StackFault
from infra.devstack.servers import client_environment

if TYPE_CHECKING:
    from mailcore.services import MailServices

REGION = "dev"
HOSTNAME = "localhost"
CERTIFICATE_DAYS = 3650
LMTP_TIMEOUT_S = 30
PASSWORD_BYTES = 9

PEOPLE = {
    "Harbour Maps": ("harbour.test", {"anna": "Anna Lind", "bo": "Bo Ek", "jürgen": "Jürgen Weiß"}),
    "東雲出版": ("shinonome.test", {"yuki": "雪 東雲", "omar": "عمر حداد", "δάφνη": "Δάφνη Παππά"}),
}
"""Tenant -> its domain, and its people by local part. The first lives on shard a, the second on b."""


def prepare_directory(endpoints: Endpoints) -> None:
    """Make the shards and the servers' certificate known, the first time; needed before a server starts."""
    from mailcore.errors import ShardExists
    from mailcore.model.actor import SYSTEM

    services = _connect(endpoints)
    try:
        for name, uris in endpoints.mongo.shards.items():
            try:
                services.shards.add(SYSTEM, name, REGION, uris.hot, uris.cold)
            except ShardExists:
                services.shards.set_uris(SYSTEM, name, uris.hot, uris.cold)  # its ports may be new
        if services.certificates.certificate(None) is None:
            services.certificates.add(SYSTEM, *_self_signed(), is_default=True)
    finally:
        services.close()


def demo_users(endpoints: Endpoints, kept_in: Path) -> list[DemoUser]:
    """Return the demo's users, creating them and delivering their mail unless that was done before.

    The passwords are written down first, so that a run which was cut off is taken up by the next.
    """
    plan = json.loads(kept_in.read_text()) if kept_in.exists() else _plan()
    write_json(kept_in, plan, mode=0o600)
    if plan["is_done"]:
        return [DemoUser(**user) for user in plan["users"]]
    services = _connect(endpoints)
    try:
        users = _create_people(services, plan["passwords"])
    finally:
        services.close()
    _deliver(endpoints, users)
    write_json(kept_in, {"is_done": True, "users": [dataclasses.asdict(user) for user in users]}, mode=0o600)
    return users


def api_token(endpoints: Endpoints, kept_in: Path) -> str:
    """Return the platform's token for the API, made the first time and for this data folder alone."""
    from mailcore.model.actor import SYSTEM
    from mailcore.model.roles import Role
    from mailcore.model.secret import Secret
    from mailcore.model.token import PLATFORM

    services = _connect(endpoints)
    try:
        known = kept_in.read_text().strip() if kept_in.exists() else ""
        if known and services.tokens.find(Secret(known)) is not None:
            return known
        _, value = services.tokens.create(SYSTEM, PLATFORM, Role.ROOT, "Development stack")
    finally:
        services.close()
    write_whole(kept_in, value.reveal_text() + "\n", mode=0o600)
    return value.reveal_text()


def _plan() -> dict[str, Any]:
    addresses = [f"{local}@{domain}" for domain, people in PEOPLE.values() for local in people]
    return {"is_done": False, "passwords": {address: secrets.token_urlsafe(PASSWORD_BYTES) for address in addresses}}


def _connect(endpoints: Endpoints) -> MailServices:
    from mailcore.services.wiring import connect
    from mailcore.settings import MailSettings

    return connect(MailSettings.from_environment(client_environment(endpoints)))


def _create_people(services: MailServices, passwords: dict[str, str]) -> list[DemoUser]:
    """Create tenants, domains and users; those that an unfinished run created are taken as they are."""
    from mailcore.errors import AddressTaken, DomainTaken, TenantExists
    from mailcore.model.actor import SYSTEM
    from mailcore.model.dkim import DkimAlgorithm
    from mailcore.model.secret import Secret

    users = []
    for shard, (tenant, (domain, people)) in zip(services.shards.list_all(), PEOPLE.items(), strict=True):
        try:
            tenant_id = services.tenants.create(SYSTEM, tenant, REGION, shard.name)
        except TenantExists:
            tenant_id = services.tenants.get_by_name(tenant).id
        with contextlib.suppress(DomainTaken):
            services.domains.create(SYSTEM, tenant_id, domain)
        if not services.dkim_keys.list_of(tenant_id, domain):
            for algorithm in DkimAlgorithm:
                services.dkim_keys.create(SYSTEM, tenant_id, domain, algorithm=algorithm, is_active=True)
        for local_part, name in people.items():
            address = f"{local_part}@{domain}"
            try:
                user_id = services.users.create(SYSTEM, address, Secret(passwords[address]), name, tenant_id)
            except AddressTaken:
                user_id = services.addresses.get(address).user_id
            users.append(DemoUser(address, passwords[address], tenant, str(user_id)))
    return users


def _deliver(endpoints: Endpoints, users: list[DemoUser]) -> None:
    """Deliver every demo message to every user, as an MTA does."""
    names = {f"{local}@{domain}": name for domain, people in PEOPLE.values() for local, name in people.items()}
    everybody = [_person(names[user.address], user.address) for user in users]
    newest_at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    with smtplib.LMTP(endpoints.host, endpoints.ports["lmtp"], local_hostname=HOSTNAME, timeout=LMTP_TIMEOUT_S) as mta:
        mta.ehlo()
        for recipient in everybody:
            senders = [person for person in everybody if person != recipient]
            for sender, raw_message in demo_mail.messages(recipient, senders, newest_at):
                is_ascii = (sender.addr_spec + recipient.addr_spec).isascii()
                options = ["BODY=8BITMIME"] if is_ascii else ["BODY=8BITMIME", "SMTPUTF8"]
                refused = mta.sendmail(sender.addr_spec, [recipient.addr_spec], raw_message, options)
                if refused:
                    raise StackFault(f"the demo's mail was refused: {refused}; the log of lmtp says why")


def _person(name: str, address: str) -> Address:
    local_part, _, domain = address.rpartition("@")
    return Address(name, local_part, domain)


def _self_signed() -> tuple[bytes, bytes]:
    """Return a certificate of its own for localhost and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTNAME)])
    now = dt.datetime.now(dt.UTC)
    addresses = [x509.DNSName(HOSTNAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem
