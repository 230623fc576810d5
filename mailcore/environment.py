"""The environment of a process: variables read as what they stand for, with every problem noted."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mailcore.model.peers import Network
from mailcore.model.secret import Secret


class Environment:
    """Variables, and what is wrong with those that were asked for: one line each, in `problems`."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """Return a variable without the space around it; "" where it is not set."""
        return self.variables.get(name, "").strip()

    def entries(self, name: str) -> list[str]:
        """Return the parts of a list with commas, without those that are empty."""
        return [part for part in map(str.strip, self.text(name).split(",")) if part]

    def flag(self, name: str) -> bool:
        """Return whether a variable is 1; not set is 0."""
        text = self.text(name)
        if text not in {"", "0", "1"}:
            self.problems.append(f"{name} is 0 or 1")
        return text == "1"

    def number(self, name: str, least: int, most: int, what: str = "a number") -> int:
        """Return a number; 0 where it is not set."""
        text = self.text(name)
        if not text:
            return 0
        if not text.isdecimal() or not least <= int(text) <= most:
            self.problems.append(f"{name} is {what} between {least} and {most}")
            return 0
        return int(text)

    def secret(self, name: str) -> Secret | None:
        """Return what nobody is to read in a log."""
        text = self.text(name)
        return Secret(text) if text else None

    def web_address(self, name: str) -> str | None:
        """Return a URL by HTTP or HTTPS."""
        url = self.text(name)
        if url and not re.match(r"https?://[^/\s]+", url):
            self.problems.append(f"{name} must begin with https:// or http://")
        return url or None

    def file(self, name: str) -> bytes | None:
        """Return what the file holds whose path a variable has."""
        path = self.text(name)
        if not path:
            return None
        try:
            return Path(path).read_bytes()
        except OSError as error:
            self.problems.append(f"{name}: cannot read {path}: {error.strerror}")
            return None

    def endpoints(self, name: str) -> Iterator[tuple[str, int]]:
        """Yield hosts and ports of a list of HOST:PORT; an IPv6 address may stand in brackets."""
        for entry in self.entries(name):
            host, separator, port = entry.rpartition(":")
            host = host.removeprefix("[").removesuffix("]")
            if not separator or not host or not port.isdecimal() or int(port) > 65535:
                self.problems.append(f"{name}: {entry!r} is not HOST:PORT")
                continue
            yield host, int(port)

    def networks(self, name: str) -> tuple[Network, ...]:
        """Return a list of networks and single addresses."""
        networks = []
        for entry in self.entries(name):
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self.problems.append(f"{name}: {entry!r} is not an address or network")
        return tuple(networks)
