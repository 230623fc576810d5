"""Debian's pebble: an ACME authority for tests, with a resolver that says 127.0.0.1 for every name."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.ports import port_that_stays

START_S = 20.0


@dataclass(frozen=True)
class Authority:
    """Where the authority is, and who signed its own certificate."""

    directory_url: str
    authority_path: Path
    roots_url: str
    """Where it tells who signs what it issues."""

    def root_pem(self) -> str:
        """Return the certificate that what it issues is verified by."""
        context = ssl.create_default_context(cafile=str(self.authority_path))
        with urllib.request.urlopen(self.roots_url, context=context, timeout=START_S) as answer:
            return str(answer.read().decode())


def is_installed() -> bool:
    return shutil.which("pebble") is not None and shutil.which("pebble-challtestsrv") is not None


@contextmanager
def pebble(folder: Path, http_port: int) -> Iterator[Authority]:
    """Run an authority that fetches challenges from `http_port`."""
    api, management, dns, dns_management, tls = (port_that_stays() for _ in range(5))
    signer = trustme.CA()
    own = signer.issue_cert("localhost", "127.0.0.1")
    signer.cert_pem.write_to_path(folder / "signer.pem")
    own.cert_chain_pems[0].write_to_path(folder / "pebble.pem")
    own.private_key_pem.write_to_path(folder / "pebble.key")
    config = {
        "listenAddress": f"127.0.0.1:{api}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "pebble.pem"),
        "privateKey": str(folder / "pebble.key"),
        "httpPort": http_port,
        "tlsPort": tls,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
    resolver = ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{dns_management}"]
    resolver += ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]
    authority = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    environment = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    processes = []
    with (folder / "pebble.log").open("wb") as log:
        try:
            for command in (resolver, authority):
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
            for port in (dns_management, api):
                _wait_open(port, folder / "pebble.log")
            yield Authority(
                f"https://127.0.0.1:{api}/dir", folder / "signer.pem", f"https://127.0.0.1:{management}/roots/0"
            )
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _wait_open(port: int, log_path: Path) -> None:
    ends_at = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < ends_at, log_path.read_text()
            time.sleep(0.05)
        else:
            return
