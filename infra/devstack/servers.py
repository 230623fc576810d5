"""The server processes of the Procfile, with the environment that the stack gives them."""

from __future__ import annotations

import dataclasses
import os
import shlex
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from infra.devstack.datafolder import DataFolder, is_free, port_taken
from infra.devstack.endpoints import Endpoints
from infra.devstack.outside.stripe import API_KEY, WEBHOOK_SECRET
from infra.devstack.process import Process

ROOT = Path(__file__).resolve().parent.parent.parent
PROCFILE = ROOT / "Procfile"
START_TIMEOUT_S = 30.0

LISTENS = {
    "imap": {"imap": 1143, "imaps": 1993},
    "pop3": {"pop3": 1110, "pop3s": 1995},
    "managesieve": {"managesieve": 4190},
    "submission": {"submission": 1587, "submissions": 1465},
    "lmtp": {"lmtp": 2424},
    "api": {"api": 8080},
    "lookup": {"lookup": 2425},
    "hosts": {"http": 8081, "https": 8443},
    "web": {"portal": 8000},
    "outside": {
        "outside-dns": 5300,
        "outside-smtp": 2525,
        "outside-names": 5353,
        "outside-zones": 8053,
        "outside-stripe": 12111,
        "outside-acme": 14000,
        "outside-passwords": 8054,
    },
}
"""Process -> the ports it opens, by their name in endpoints.json, with the preferred number."""

CLIENTS_USE = ("imap", "pop3", "managesieve", "submission")
CLIENT_PORTS = {
    "imaps": "imaps",
    "pop3s": "pop3s",
    "submissions": "submissions",
    "submission": "submission",
    "sieve": "managesieve",
}
"""What set-up pages and records call a port -> its name in endpoints.json."""

OUTSIDE = "python -m infra.devstack.outside"
"""What stands for the rest of the world in development: a resolver, and a host that takes mail for every domain."""
OUTSIDE_HOST = "127.9.0.1"
OUTSIDE_NETWORK = "127.9.0.0/16"
OUR_EXCHANGER = "mx.eider.test"
WEB_HOST = "web.eider.test"
SPF_NAME = "_spf.eider.test"
DKIM_ZONE = "dkim.eider.test"
DNS_API_KEY = "development"
"""The token by which any domain's records can be written, as PowerDNS."""
PORTAL_SENDER = "portal@eider.test"
"""The demo's user in whose name the portal sends mail."""

PREFERRED_HEALTH_PORT = 9100


@dataclass(frozen=True, slots=True)
class Server:
    """One server process and the ports that are open once it is ready."""

    process: Process
    ports: dict[str, int]

    def wait_ready(self) -> None:
        """Wait until it takes connections.

        Raises:
            StackFault: it ended, or did not in time.
        """
        self.process.wait_ready(lambda: all(map(_accepts, self.ports.values())), START_TIMEOUT_S)


def describe_servers(folder: DataFolder, endpoints: Endpoints) -> dict[str, Server]:
    """Return every process of the Procfile, ports chosen and checked.

    Raises:
        StackFault: a port is taken.
    """
    servers = {}
    commands = read_procfile(PROCFILE) | {"outside": OUTSIDE}
    outside = {port: folder.port(port, preferred) for port, preferred in LISTENS["outside"].items()}
    public = {port: folder.port(port, number) for name in CLIENTS_USE for port, number in LISTENS[name].items()}
    endpoints = dataclasses.replace(endpoints, ports={**endpoints.ports, **outside, **public})
    for number, (name, command) in enumerate(commands.items()):
        ports = {port: folder.port(port, preferred) for port, preferred in LISTENS.get(name, {}).items()}
        health = folder.port(f"{name}-health", PREFERRED_HEALTH_PORT + number)
        for what, port in {**ports, f"{name}-health": health}.items():
            if not is_free(port):
                raise port_taken(what, port)
        environment = server_environment(endpoints, ports, health)
        if name in {"web", "worker", "outside"}:
            environment["EIDER_PORTAL_URL"] = f"http://localhost:{folder.port('portal', LISTENS['web']['portal'])}"
            environment["EIDER_PORTAL_SENDER"] = PORTAL_SENDER
        if name == "outside":
            environment["OUTSIDE_FOLDER"] = str(folder.path / "outside")
            environment["OUTSIDE_HOSTS_PORT"] = str(folder.port("http", LISTENS["hosts"]["http"]))
        if name == "worker":
            environment["EIDER_ACME_CA"] = str(folder.path / "outside" / "authority.pem")
        process = Process(
            name,
            _expand(command, environment),
            cwd=ROOT,
            log_path=folder.path / "log" / f"{name}.log",
            environment=environment,
        )
        servers[name] = Server(process, ports)
    return servers


def server_environment(endpoints: Endpoints, ports: dict[str, int], health_port: int) -> dict[str, str]:
    """Return the environment from which a server reads its settings."""
    environment = client_environment(endpoints)
    environment["EIDER_HEALTH_LISTEN"] = f"{endpoints.host}:{health_port}"
    for name, port in ports.items():
        environment[f"{name.upper()}_PORT"] = str(port)
        if name != "portal" and not name.startswith("outside"):
            environment[f"EIDER_{name.upper()}_LISTEN"] = f"{endpoints.host}:{port}"
            environment[f"EIDER_{name.upper()}_LOCAL"] = "1"  # passwords without TLS, on loopback
    return environment


def client_environment(endpoints: Endpoints) -> dict[str, str]:
    """Return the environment of a command that works on the stack's data."""
    own_bin = str(Path(sys.executable).parent)
    outside = {}
    if "outside-dns" in endpoints.ports:
        outside = {
            "EIDER_DNS_SERVERS": f"{endpoints.host}:{endpoints.ports['outside-dns']}",
            "EIDER_OUTGOING_ALLOW": OUTSIDE_NETWORK,
            "EIDER_OUTGOING_PORTS": f"25:{endpoints.ports['outside-smtp']},53:{endpoints.ports['outside-names']}",
            "EIDER_MX_HOSTS": OUR_EXCHANGER,
            "EIDER_WEB_HOST": WEB_HOST,
            "EIDER_SPF_INCLUDE": SPF_NAME,
            "EIDER_DKIM_ZONE": DKIM_ZONE,
            "EIDER_REPORT_ADDRESS": "reports@eider.test",
            "EIDER_POWERDNS_URL": f"http://{OUTSIDE_HOST}:{endpoints.ports['outside-zones']}",
            "EIDER_ACME_DIRECTORY": f"https://{OUTSIDE_HOST}:{endpoints.ports['outside-acme']}/dir",
            "EIDER_LEAKED_PASSWORDS_URL": f"http://{OUTSIDE_HOST}:{endpoints.ports['outside-passwords']}",
        }
        if "STRIPE_KEY" not in os.environ:
            outside |= {
                "STRIPE_KEY": API_KEY,
                "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
                "STRIPE_URL": f"http://{endpoints.host}:{endpoints.ports['outside-stripe']}",
            }
    if all(port in endpoints.ports for port in CLIENT_PORTS.values()):
        ports = (f"{name}={endpoints.ports[port]}" for name, port in CLIENT_PORTS.items())
        outside["EIDER_CLIENT_PORTS"] = ",".join(ports)
    return {
        **outside,
        **os.environ,
        "PATH": f"{own_bin}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "MONGO_URI": endpoints.mongo.directory,
        "DATABASE_URL": endpoints.postgres,
        "REDIS_URL": endpoints.redis,
        "EIDER_SEALING_KEYS": endpoints.sealing_keys,
        "EIDER_HOSTNAME": "localhost",
    }


def read_procfile(path: Path) -> dict[str, str]:
    """Return name -> command of each process."""
    lines = (line.partition(":") for line in path.read_text().splitlines() if line.strip() and line[0] != "#")
    return {name.strip(): command.strip() for name, _, command in lines}


def _expand(command: str, environment: dict[str, str]) -> list[str]:
    """Return the words of a command, each `$NAME` replaced, `python` being this one."""
    words = []
    for word in shlex.split(command):
        for name, value in environment.items():
            if f"${name}" in word:
                word = word.replace(f"${name}", value)
        words.append(sys.executable if word == "python" else word)
    return words


def _accepts(port: int) -> bool:
    for host in ("127.0.0.1", OUTSIDE_HOST):
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            continue
        return True
    return False
