"""One zone at one provider: reads what it holds, and changes it record by record."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import requests
from lexicon.config import ConfigResolver
from lexicon.exceptions import LexiconError

from mailcore.model.secret import Secret
from portal.domains.errors import ProviderFailed
from portal.domains.providers.plan import Change, Held
from portal.domains.providers.table import DnsProvider, Exchangers, Texts
from portal.domains.zone_file import quoted

log = logging.getLogger(__name__)

TARGETS: Final = frozenset({"CNAME", "MX", "SRV"})
"""Types whose values end in a host name."""


class ZoneWriter:
    """Speaks with a provider about one zone.

    Lexicon's own client guesses the zone by a list that it fetches; the zone is known here, so its providers are used
    directly, as that client does.
    """

    def __init__(self, provider: DnsProvider, zone: str, token: Secret, endpoint: str = "") -> None:
        self._provider = provider
        self._zone = zone
        self._token = token
        self._endpoint = endpoint

    def held(self) -> list[Held]:
        """Return what the zone holds of the types that are written there.

        Raises:
            ProviderFailed: it refused, or did not answer.
        """
        with self._connected() as connected:
            records = [record for kind in sorted(self._provider.types) for record in connected.list_records(kind)]
        return [self._read(record) for record in records]

    def write(self, changes: Sequence[Change]) -> None:
        """Make changes one after another, in their order.

        Raises:
            ProviderFailed: it refused, or did not answer; changes before that one are made.
        """
        for change in in_order(changes):
            self.make(change)

    def make(self, change: Change) -> None:
        """Make one change.

        Raises:
            ProviderFailed: it refused, or did not answer.
        """
        with self._connected(change) as connected:
            if change.is_new:
                connected.create_record(change.type, change.name, self._written(change))
            else:
                self._remove(connected, change)

    def _remove(self, connected: Any, change: Change) -> None:
        """Remove what was read as this record: providers have ways of their own with dots, quotes and preferences."""
        wanted = Held(change.name, change.type, change.value)
        for record in connected.list_records(change.type):
            if self._read(record) == wanted:
                if self._provider.removed_by_content:
                    connected.delete_record(None, change.type, change.name, self._written(change))
                else:
                    connected.delete_record(record["id"])

    @contextmanager
    def _connected(self, change: Change | None = None) -> Iterator[Any]:
        options: dict[str, Any] = {"auth_token": self._token.reveal_text()}
        if self._provider.endpoint:
            options["pdns_server"] = self._endpoint
        config: dict[str, Any] = {
            "provider_name": self._provider.name,
            "domain": self._zone,
            "ttl": 3600 if change is None else change.ttl_s,
            self._provider.name: options,
        }
        if change is not None and change.type == "MX" and self._provider.exchangers is Exchangers.APART:
            config["priority"] = change.value.split(" ")[0]
        try:
            module = importlib.import_module(
                self._provider.module or f"lexicon._private.providers.{self._provider.name}"
            )
            connected = module.Provider(ConfigResolver().with_dict(config))  # type: ignore[no-untyped-call]
            connected.authenticate()
            yield connected
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            log.info("dns.provider.refused", extra={"provider": self._provider.name, "status": status})
            raise ProviderFailed(f"{self._provider.label} answered {status}") from error
        except (requests.RequestException, LexiconError, KeyError, ValueError) as error:
            log.info("dns.provider.failed", extra={"provider": self._provider.name, "reason": type(error).__name__})
            raise ProviderFailed(f"{self._provider.label}: {type(error).__name__}") from error

    def _read(self, record: dict[str, Any]) -> Held:
        kind, value = str(record["type"]), str(record["content"])
        if kind == "TXT":
            value = value.strip().strip('"').replace('" "', "").replace('\\"', '"').replace("\\;", ";")
        elif kind in TARGETS:
            value = value.rstrip(".").lower() + "."
        if kind == "MX" and " " not in value:
            value = f"{(record.get('options') or {}).get('mx', {}).get('priority', 10)} {value}"
        return Held(str(record["name"]).rstrip(".").lower(), kind, value)

    def _written(self, change: Change) -> str:
        if change.type == "TXT":
            return quoted(change.value) if self._provider.texts is Texts.QUOTED else change.value
        if change.type == "MX" and self._provider.exchangers is Exchangers.APART:
            return change.value.split(" ")[1]
        return change.value


def in_order(changes: Sequence[Change]) -> list[Change]:
    """Return changes as they are to be made, name by name; what a CNAME cannot stand beside goes before it comes."""
    return sorted(changes, key=lambda change: (change.name, _turn(change, changes)))


def _turn(change: Change, changes: Iterable[Change]) -> int:
    """Removals come last, so that there is always something; where a CNAME comes or goes they come first.

    So do exchangers whose preference alone changes: some providers take the new one for the old, and keep neither.
    """
    if any(each.name == change.name and each.type == "CNAME" for each in changes):
        return int(change.is_new)
    if change.is_new:
        return 1
    return 0 if any(each.is_new and _exchanger(each) == _exchanger(change) for each in changes) else 2


def _exchanger(change: Change) -> tuple[str, str, str]:
    host = change.value.rpartition(" ")[2] if change.type == "MX" else change.value
    return change.name, change.type, host
