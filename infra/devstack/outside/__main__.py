"""`python -m infra.devstack.outside`: the rest of the world, for a development stack.

Its resolver names our own exchanger for every domain that a tenant here has proven, and for all others one host that
takes everything; what it got lies in the folder, one file for each message. DKIM keys of tenants are published as they
are made.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from infra.devstack.outside.dns_server import DnsServer, Unsure
from infra.devstack.outside.mail_exchanger import MailExchanger, Taken
from infra.devstack.servers import OUR_EXCHANGER, OUTSIDE_HOST
from mailcore.errors import MailError
from mailcore.services import MailServices, connect
from mailcore.settings import MailSettings

EXCHANGER = "mx.outside.test"

log = logging.getLogger(__name__)


class DevelopmentDns(DnsServer):
    """Knows what the directory knows."""

    def __init__(self, services: MailServices, host: str, port: int) -> None:
        super().__init__(host, port)
        self._services = services
        self.add(EXCHANGER, "A", OUTSIDE_HOST)

    def _texts(self, name: str, kind: str) -> Sequence[str]:
        found = super()._texts(name, kind)
        if kind == "TXT" and "._domainkey." in name:
            return self._key(name)
        if found or kind != "MX" or "." not in name or name.startswith(("_", "mta-sts.")):
            return found
        try:
            is_ours = self._services.domains.is_verified(name)
        except MailError as error:
            log.warning("outside.directory_away", extra={"reason": type(error).__name__})
            raise Unsure from error
        return (f"10 {OUR_EXCHANGER if is_ours else EXCHANGER}.",)

    def _key(self, name: str) -> Sequence[str]:
        """Return the record of a DKIM key, in strings of up to 255 octets."""
        domain = name.partition("._domainkey.")[2]
        try:
            owner = self._services.placement.directory.domains.owner_of(domain)
            keys = self._services.dkim_keys.list_of(owner, domain) if owner is not None else []
        except MailError as error:
            log.warning("outside.directory_away", extra={"reason": type(error).__name__})
            raise Unsure from error
        values = [key.record_value for key in keys if key.record_name == name]
        return [" ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255)) for value in values]


def keep_in(folder: Path, taken: Taken) -> None:
    """Write a message down under a number of its own, with what the envelope said above it."""
    folder.mkdir(parents=True, exist_ok=True)
    head = [f"X-Outside-Mail: {taken.mail}", *(f"X-Outside-Rcpt: {path}" for path in taken.recipients)]
    name = f"{taken.at:.6f}.eml"
    (folder / name).write_bytes("".join(f"{line}\r\n" for line in head).encode() + taken.message)


def main() -> int:
    """Serve until SIGTERM."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: told.set())
    folder = Path(os.environ["OUTSIDE_FOLDER"])
    host, _, port = os.environ["EIDER_DNS_SERVERS"].rpartition(":")
    services = connect(MailSettings.from_environment(os.environ))
    dns = DevelopmentDns(services, host, int(port))
    exchanger = MailExchanger(OUTSIDE_HOST, int(os.environ["EIDER_OUTGOING_PORTS"].partition(":")[2]))
    exchanger.on_taken = lambda taken: keep_in(folder, taken)
    with dns, exchanger:
        told.wait()
    services.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
