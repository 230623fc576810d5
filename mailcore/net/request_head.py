"""Where a request ends: heads that another server might read otherwise are refused (RFC 9112 §5, §6.3, §11.2).

What stands before us and takes one request for another than we do lets its clients slip requests into
others' connections.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LENGTH = re.compile(r"[0-9]{1,18}")


def check_head(version: str, fields: Sequence[tuple[str, str]]) -> None:
    """Look at the fields of a request as they came.

    Raises:
        ValueError: its end could be read in two ways, or it is no HTTP of today.
    """
    if version not in {"HTTP/1.0", "HTTP/1.1"}:
        raise ValueError("neither HTTP/1.0 nor HTTP/1.1")
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a field is folded, or is none")
    lengths, codings, hosts = (
        [value.strip() for name, value in fields if name.lower() == wanted]
        for wanted in ("content-length", "transfer-encoding", "host")
    )
    if codings and (lengths or version == "HTTP/1.0" or [coding.lower() for coding in codings] != ["chunked"]):
        raise ValueError("Transfer-Encoding is chunked, once, and goes with no Content-Length")
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise ValueError("Content-Length is one number")
    if len(hosts) > 1 or (not hosts and version == "HTTP/1.1"):
        raise ValueError("there is one Host")
