"""The domain name system of a development stack: whatever is asked for is there, and can be changed.

Every domain that could be registered is delegated to one name server here, whose records are kept in the folder and
changed through the interface of PowerDNS (`zones_api`). Where a domain has none, its MX and its DKIM keys are what the
directory says, so that the demo works without anybody's doing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from infra.devstack.outside.dns_server import DnsServer, Records, Unsure
from infra.devstack.servers import DKIM_ZONE, OUR_EXCHANGER, OUTSIDE_HOST, SPF_NAME, WEB_HOST
from mailcore.errors import MailError
from mailcore.services import MailServices
from portal.domains.names import registrable

EXCHANGER = "mx.outside.test"
NAME_SERVER = "ns.outside.test"

log = logging.getLogger(__name__)


class DevelopmentDns(DnsServer):
    """Knows what the directory knows, and what was written; a resolver, or the name server of every domain."""

    def __init__(self, services: MailServices, host: str, port: int, *, is_resolver: bool) -> None:
        super().__init__(host, port, None if is_resolver else [""])
        self._services = services
        for name, kind, text in (
            (EXCHANGER, "A", OUTSIDE_HOST),
            (NAME_SERVER, "A", OUTSIDE_HOST),
            (WEB_HOST, "A", OUTSIDE_HOST),
            (SPF_NAME, "TXT", '"v=spf1 ip4:127.0.0.0/8 -all"'),
        ):
            self.add(name, kind, text)

    def _texts(self, name: str, kind: str) -> Sequence[str]:
        found = super()._texts(name, kind)
        if found:
            return found
        if kind == "NS" and registrable(name) == name:
            return (f"{NAME_SERVER}.",)
        try:
            return self._of_directory(name, kind)
        except MailError as error:
            log.warning("outside.directory_away", extra={"reason": type(error).__name__})
            raise Unsure from error

    def _of_directory(self, name: str, kind: str) -> Sequence[str]:
        if kind == "TXT" and name.endswith(f".{DKIM_ZONE}"):
            selector, _, domain = name.removesuffix(f".{DKIM_ZONE}").partition(".")
            return self._key(f"{selector}._domainkey.{domain}", domain)
        if kind == "TXT" and "._domainkey." in name and (name, "CNAME") not in self.records:
            return self._key(name, name.partition("._domainkey.")[2])
        if kind != "MX" or "." not in name or name.startswith(("_", "mta-sts.")) or self._is_written(name):
            return ()
        is_ours = self._services.domains.is_verified(name)
        return (f"10 {OUR_EXCHANGER if is_ours else EXCHANGER}.",)

    def _is_written(self, domain: str) -> bool:
        """Whether somebody wrote records for a domain: then nothing is made up for it."""
        return any(f".{name}".endswith(f".{domain}") for name, _ in list(self.records))

    def _key(self, record_name: str, domain: str) -> Sequence[str]:
        """Return the record of a DKIM key, in strings of up to 255 octets."""
        owner = self._services.placement.directory.domains.owner_of(domain)
        keys = self._services.dkim_keys.list_of(owner, domain) if owner is not None else []
        values = [key.record_value for key in keys if key.record_name == record_name]
        return [" ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255)) for value in values]


class KeptZones:
    """Every zone there may be, in the records of both servers and in a file."""

    def __init__(self, path: Path, *servers: DnsServer) -> None:
        self._path = path
        self._servers = servers
        if path.is_file():
            for name, kind, texts in json.loads(path.read_text(encoding="utf-8")):
                self._put(name, kind, texts)

    def records(self, zone: str) -> dict[tuple[str, str], Records] | None:
        """Return the records of a zone; None if there can be none of that name."""
        if registrable(zone) != zone:
            return None
        known = self._servers[0].records.items()
        return {key: texts for key, texts in known if f".{key[0]}".endswith(f".{zone}")}

    def put(self, zone: str, name: str, kind: str, texts: Sequence[str]) -> None:  # noqa: ARG002  one server has all
        """Let a name have these records of a type, and no others of it; none: none of it."""
        self._put(name, kind, texts)
        kept = [[*key, list(texts)] for key, texts in self._servers[0].records.items() if not callable(texts)]
        self._path.write_text(json.dumps(kept), encoding="utf-8")

    def _put(self, name: str, kind: str, texts: Sequence[str]) -> None:
        for server in self._servers:
            if texts:
                server.add(name, kind, *texts)
            else:
                server.records.pop((name, kind), None)
