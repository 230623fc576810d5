"""One command line: verb and argument (RFC 5321 §2.4, §4.1.1)."""

from __future__ import annotations

import re
from typing import NamedTuple

from mailcore.errors import SyntaxFault

LONGEST_LINE = 4096
"""Octets with CRLF; RFC 5321 §4.5.3.1.4 asks for 512, extensions and long paths for more."""
LONGEST_AUTH_LINE = 12288
"""RFC 4954 §4: what carries a response of SASL, with CRLF."""

_COMMAND = re.compile(rb"([A-Za-z0-9]{1,16})(?:[ \t]+(.*?))?[ \t]*", re.DOTALL)


class CommandLine(NamedTuple):
    """The verb in capitals, and what follows it without white space around."""

    verb: str
    argument: bytes


def parse_command_line(line: bytes) -> CommandLine:
    """Read a line without its CRLF.

    Raises:
        SyntaxFault: no verb, or a NUL, CR or LF within.
    """
    match = _COMMAND.fullmatch(line)
    if match is None or b"\x00" in line or b"\r" in line or b"\n" in line:
        raise SyntaxFault("not a command line")
    return CommandLine(match[1].decode("ascii").upper(), match[2] or b"")
