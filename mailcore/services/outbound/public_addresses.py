"""Which addresses may be spoken to where somebody outside could have chosen them: public ones, and none of our own."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from mailcore.settings import OutgoingSettings

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def objection(settings: OutgoingSettings, address: str) -> str | None:
    """Return why an address must not be spoken to; None if it may."""
    ip = literal(address)
    if ip is None:
        return "not an address"
    if any(ip in network for network in settings.allowed):
        return None
    for each in (ip, *_inside(ip)):
        if not each.is_global or each.is_multicast or each.is_reserved or each.is_unspecified:
            return "not a public address"
        if any(each in network for network in settings.own) or _is_of_this_machine(each):
            return "an address of our own"
    return None


def literal(text: str) -> IpAddress | None:
    """Return an address in its usual form; decimal, octal and short ones are none."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _inside(ip: IpAddress) -> list[IpAddress]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return []
    found: list[IpAddress] = [each for each in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if each is not None]
    if ip in NAT64 or int(ip) >> 32 == 0:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return found


def _is_of_this_machine(ip: IpAddress) -> bool:
    """Whether one could listen at an address: then it is this machine's."""
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ip), 0))
        except OSError:
            return False
    return True
