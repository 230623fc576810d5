"""The headers that say how a message came here (RFC 5321 §4.4)."""

from __future__ import annotations

import time

from mailcore.smtp.transaction import Origin
from mailcore.smtp.wire.path import Path

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_time(now_s: int) -> str:
    """Return the instant as RFC 5322 §3.3 writes it, in UTC."""
    at = time.gmtime(now_s)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday} {_MONTHS[at.tm_mon - 1]} {at.tm_year}"
        f" {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000"
    )


def received(origin: Origin, hostname: str, transaction_id: str, sole_recipient: str | None, now_s: int) -> bytes:
    """Return the Received header; `for` only where there is one recipient, for the others are not to be named."""
    literal = f"IPv6:{origin.address}" if ":" in origin.address else origin.address
    recipient = f"\r\n\tfor <{sole_recipient}>" if sole_recipient is not None else ""
    return (
        f"Received: from {origin.hello_name} ([{literal}])\r\n"
        f"\tby {hostname} with {origin.with_protocol} id {transaction_id}"
        f"{recipient};\r\n\t{date_time(now_s)}\r\n"
    ).encode()


def return_path(path: Path | None) -> bytes:
    """Return the Return-Path header of final delivery."""
    return f"Return-Path: <{path.address if path is not None else ''}>\r\n".encode()


def delivered_to(address: str) -> bytes:
    """Return the Delivered-To header that names the recipient this copy is for."""
    return f"Delivered-To: {address}\r\n".encode()
