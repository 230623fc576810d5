"""The server name a TLS client asks for, read from its first bytes before the handshake (RFC 6066 §3).

Choosing the certificate here, not in OpenSSL's callback, lets the look-up wait for the directory.
"""

from __future__ import annotations

import struct

LONGEST = 16 * 1024


def is_complete(data: bytes) -> bool:
    """Whether `data` holds the whole first handshake message, or something else that will not become one."""
    if len(data) < 9:
        return bool(data) and data[0] != 0x16
    if data[0] != 0x16 or data[5] != 1 or len(data) >= LONGEST:
        return True
    wanted = 4 + int.from_bytes(data[6:9], "big")
    return len(_handshake(data)) >= min(wanted, LONGEST)


def server_name(data: bytes) -> str | None:
    """Return the name, in lower case, or None where there is none or it makes no sense. Never raises."""
    try:
        return _server_name(_handshake(data))
    except (struct.error, IndexError, UnicodeDecodeError):
        return None


def _handshake(data: bytes) -> bytes:
    """Return the content of the handshake records at the beginning of `data`."""
    content = b""
    position = 0
    while position + 5 <= len(data) and data[position] == 0x16:
        length = struct.unpack_from(">H", data, position + 3)[0]
        content += data[position + 5 : position + 5 + length]
        position += 5 + length
    return content


def _server_name(hello: bytes) -> str | None:
    if hello[0] != 1:
        return None
    position = 4 + 2 + 32
    position += 1 + hello[position]
    position += 2 + struct.unpack_from(">H", hello, position)[0]
    position += 1 + hello[position]
    end = position + 2 + struct.unpack_from(">H", hello, position)[0]
    position += 2
    while position + 4 <= end:
        kind, length = struct.unpack_from(">HH", hello, position)
        position += 4
        if kind == 0:
            name_kind, name_length = struct.unpack_from(">BH", hello, position + 2)
            name = hello[position + 5 : position + 5 + name_length]
            return name.decode("ascii").lower() if name_kind == 0 and 0 < len(name) == name_length <= 255 else None
        position += length
    return None
