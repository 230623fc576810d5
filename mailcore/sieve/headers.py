"""The header as scripts see it: decoded values by name, each decoded once and when first asked for."""

from __future__ import annotations

import re

from mailcore.message.addresses import parse_addresses
from mailcore.message.encoded_words import decode_header
from mailcore.message.headers import unfold

_FIELD = re.compile(rb"\n([!-9;-~]++)[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+)")


class Headers:
    """The fields of one header; never changes, so that recipients of a message share it."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        """Up to and with its blank line."""
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in _FIELD.findall(b"\n" + raw):
            self._values.setdefault(name.lower(), []).append(value)
        self._texts: dict[bytes, tuple[str, ...]] = {}
        self._addresses: dict[bytes, tuple[tuple[str, ...], ...]] = {}

    def has(self, name: bytes) -> bool:
        """Whether there is a field of that lower-case name."""
        return name in self._values

    def values(self, name: bytes) -> list[bytes]:
        """The values of the fields of that name as they were written, line ends and all, in order."""
        return self._values.get(name, [])

    def texts(self, name: bytes) -> tuple[str, ...]:
        """The same unfolded, decoded and without blanks around (RFC 5228 §5.7)."""
        texts = self._texts.get(name)
        if texts is None:
            texts = tuple(decode_header(unfold(value)) for value in self.values(name))
            self._texts[name] = texts
        return texts

    def addresses(self, name: bytes) -> tuple[tuple[str, ...], ...]:
        """The addresses of each of these fields: local-part@domain, without names and groups (RFC 5228 §5.1)."""
        addresses = self._addresses.get(name)
        if addresses is None:
            addresses = tuple(tuple(each.address for each in parse_addresses(value)) for value in self.values(name))
            self._addresses[name] = addresses
        return addresses
