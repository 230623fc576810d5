"""`endpoints.json`: what the stack offers and where, for tests, tools and people."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from infra.devstack.datafolder import write_json
from infra.devstack.faults import StackFault

FILE_NAME = "endpoints.json"


@dataclass(frozen=True, slots=True)
class ShardUris:
    """Where one shard's two sets are, each URI with its database."""

    hot: str
    cold: str


@dataclass(frozen=True, slots=True)
class MongoUris:
    """Where mail and its directory are."""

    directory: str
    shards: dict[str, ShardUris]


@dataclass(frozen=True, slots=True)
class Pids:
    """The processes by name."""

    servers: dict[str, int] = field(default_factory=dict)
    databases: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user that the demo made; the password is for this data folder alone."""

    address: str
    password: str
    tenant: str
    id: str


@dataclass(frozen=True, slots=True)
class DemoMember:
    """Who owns the demo's organisation in the portal; the password is for this data folder alone."""

    email: str
    password: str
    organisation: str


@dataclass(frozen=True, slots=True)
class DemoStaff:
    """A member of staff whom the demo made; password and seed of the codes are for this data folder alone."""

    email: str
    password: str
    totp_seed: str
    """Base32, as an authenticator app takes it (RFC 6238)."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Everything another program needs to talk to a running stack."""

    mongo: MongoUris
    postgres: str
    redis: str
    host: str = "127.0.0.1"
    ports: dict[str, int] = field(default_factory=dict)
    pids: Pids = field(default_factory=Pids)
    sealing_keys: str = ""
    api_token: str | None = None
    users: list[DemoUser] = field(default_factory=list)
    members: list[DemoMember] = field(default_factory=list)
    staff: list[DemoStaff] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Replace the file by these endpoints; only this user may read it, for it holds passwords."""
        write_json(path, dataclasses.asdict(self), mode=0o600)

    @classmethod
    def read(cls, path: Path) -> Endpoints:
        """Read the endpoints of a running stack.

        Raises:
            StackFault: no such file, or not one of ours.
        """
        try:
            value = json.loads(path.read_text())
            shards = {name: ShardUris(**uris) for name, uris in value["mongo"]["shards"].items()}
            return cls(
                mongo=MongoUris(value["mongo"]["directory"], shards),
                postgres=value["postgres"],
                redis=value["redis"],
                host=value["host"],
                ports=value["ports"],
                pids=Pids(**value["pids"]),
                sealing_keys=value["sealing_keys"],
                api_token=value["api_token"],
                users=[DemoUser(**user) for user in value["users"]],
                members=[DemoMember(**member) for member in value.get("members", [])],
                staff=[DemoStaff(**one) for one in value.get("staff", [])],
            )
        except FileNotFoundError:
            raise StackFault(f"{path} is missing: no stack runs there; start one with `make run`") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StackFault(f"{path} is not an endpoints file ({error!r}): start the stack anew") from None
