"""Records as the text of a zone file (RFC 1035 §5.1), whole or one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

STRING_OCTETS: Final = 255
"""One character-string holds no more (RFC 1035 §3.3); longer texts are cut into several."""


def quoted(text: str) -> str:
    """Return a TXT value as quoted strings."""
    raw = text.encode("utf-8")
    pieces = [raw[at : at + STRING_OCTETS] for at in range(0, len(raw), STRING_OCTETS)] or [b""]
    return " ".join(f'"{_escaped(piece)}"' for piece in pieces)


def _escaped(piece: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in b'"\\' else chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}"
        for octet in piece
    )


def rdata(kind: str, value: str) -> str:
    """Return a value as it stands in a zone file."""
    return quoted(value) if kind == "TXT" else value


def lines(records: Iterable[tuple[str, str, int, str]]) -> str:
    """Return one line for each (name, type, TTL in seconds, value), names absolute."""
    return "".join(f"{name}. {ttl_s} IN {kind} {rdata(kind, value)}\n" for name, kind, ttl_s, value in records)


def zone_file(domain: str, records: Iterable[tuple[str, str, int, str]]) -> str:
    """Return records to be put into a domain's zone, in a form that every name server and most DNS hosts read."""
    return f"; records for {domain}\n$ORIGIN {domain}.\n{lines(records)}"
