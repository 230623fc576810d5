"""Ports for servers that listen on them only later, or that are killed and started again there."""

from __future__ import annotations

import random
import socket

from infra.devstack.datafolder import PORT_RANGE, is_free

_claims: list[socket.socket] = []


def port_that_stays() -> int:
    """Return a free port of 127.0.0.1 that nobody else takes as long as this process lives.

    It is below the ports that the kernel gives to whoever connects, or listens on port 0, also while nobody listens
    there; and it is claimed among all stacks of the machine, as they claim theirs.
    """
    for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0eider-port-{port}")
        except OSError:
            claim.close()
            continue
        if is_free(port):
            _claims.append(claim)
            return port
        claim.close()
    raise AssertionError(f"no port of {PORT_RANGE} is free")
