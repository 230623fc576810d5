"""`python -m infra.devstack.outside`: the rest of the world, for a development stack.

Its resolver names our own exchanger for every domain that a tenant here has proven, and for all others one host that
takes everything; what it got lies in the folder, one file for each message. DKIM keys of tenants are published as they
are made. Records of any domain can be written through the interface of PowerDNS, with the key `development`. A
certificate authority signs for hosts that lead to us, and a range service knows a few stolen passwords.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import dns.exception
import dns.resolver
import stripe

from infra.devstack.outside.acme.orders import Reach
from infra.devstack.outside.acme.server import AcmeServer
from infra.devstack.outside.development import DevelopmentDns, KeptZones
from infra.devstack.outside.leaked_passwords import KNOWN, RangeService
from infra.devstack.outside.mail_exchanger import MailExchanger, Taken
from infra.devstack.outside.stripe import API_KEY
from infra.devstack.outside.stripe.server import StripeServer
from infra.devstack.outside.zones_api import ZonesApi
from infra.devstack.servers import DNS_API_KEY, OUTSIDE_HOST
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings
from portal.billing import catalogue


def keep_in(folder: Path, taken: Taken) -> None:
    """Write a message down under a number of its own, with what the envelope said above it."""
    folder.mkdir(parents=True, exist_ok=True)
    head = [f"X-Outside-Mail: {taken.mail}", *(f"X-Outside-Rcpt: {path}" for path in taken.recipients)]
    name = f"{taken.at:.6f}.eml"
    (folder / name).write_bytes("".join(f"{line}\r\n" for line in head).encode() + taken.message)


def payment_provider(folder: Path, host: str) -> StripeServer:
    """Return the local Stripe: its clock is the machine's, and it tells the portal what happens."""
    return StripeServer(
        host,
        int(os.environ["OUTSIDE-STRIPE_PORT"]),
        endpoint=f"{os.environ['EIDER_PORTAL_URL']}/hooks/stripe",
        kept_in=folder / "stripe.json",
        now=int(time.time()),
        is_ticking=True,
    )


def web_of(resolver: DevelopmentDns) -> Reach:
    """Return who says where the port 80 of a name is: what leads to us leads to the process `hosts`."""
    host, _, port = resolver.address.rpartition(":")
    asked = dns.resolver.Resolver(configure=False)
    asked.nameservers, asked.port = [host], int(port)

    def reach(name: str) -> tuple[str, int] | None:
        try:
            addresses = {str(one) for one in asked.resolve(name, "A")}
        except dns.exception.DNSException:
            return None
        return (host, int(os.environ["OUTSIDE_HOSTS_PORT"])) if OUTSIDE_HOST in addresses else None

    return reach


def main() -> int:
    """Serve until SIGTERM."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: told.set())
    folder = Path(os.environ["OUTSIDE_FOLDER"])
    host, _, port = os.environ["EIDER_DNS_SERVERS"].rpartition(":")
    services = connect(MailSettings.from_environment(os.environ))
    resolver = DevelopmentDns(services, host, int(port), is_resolver=True)
    ports = dict(entry.split(":") for entry in os.environ["EIDER_OUTGOING_PORTS"].split(","))
    name_server = DevelopmentDns(services, OUTSIDE_HOST, int(ports["53"]), is_resolver=False)
    folder.mkdir(parents=True, exist_ok=True)
    zones = KeptZones(folder / "zones.json", resolver, name_server)
    api_port = urlsplit(os.environ["EIDER_POWERDNS_URL"]).port
    api = ZonesApi(zones, DNS_API_KEY, OUTSIDE_HOST, api_port or 0)
    exchanger = MailExchanger(OUTSIDE_HOST, int(ports["25"]))
    exchanger.on_taken = lambda taken: keep_in(folder, taken)
    with ExitStack() as world:
        for part in (resolver, name_server, api, exchanger):
            world.enter_context(part)
        port_of = {name: int(os.environ[f"OUTSIDE-{name.upper()}_PORT"]) for name in ("acme", "passwords")}
        world.enter_context(AcmeServer(folder, web_of(resolver), OUTSIDE_HOST, port_of["acme"]))
        world.enter_context(RangeService(*KNOWN, host=OUTSIDE_HOST, port=port_of["passwords"]))
        payments = world.enter_context(payment_provider(folder, host))
        catalogue.ensure(stripe.StripeClient(API_KEY, base_addresses={"api": payments.url}))
        told.wait()
    services.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
