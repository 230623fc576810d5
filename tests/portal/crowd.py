"""Many tenants with people: what the services wrote for one is written again for others, but for its names.

Ids and the domain are as long as those they stand in for, so a document stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from mailcore.model.ids import TenantId, UserId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from tests.builders import OPERATOR, PASSWORD

DIRECTORY: Final = ("domains", "addresses", "users", "deleted_users", "send_as")
SHARD: Final = ("mailbox_trees", "mailboxes")
BATCH: Final = 5_000
ID_BYTES: Final = 12
_RAW: Final = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A document, and where in it stand which ids and the domain."""

    written: bytes
    ids: tuple[tuple[int, ObjectId], ...]
    domains: tuple[int, ...]

    def copy(self, ids: dict[ObjectId, bytes], domain: bytes) -> RawBSONDocument:
        made = bytearray(self.written)
        for at, one in self.ids:
            made[at : at + ID_BYTES] = ids[one]
        for at in self.domains:
            made[at : at + len(domain)] = domain
        return RawBSONDocument(bytes(made))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A tenant's people as they are stored."""

    tenant_id: TenantId
    domain: str
    shard: str
    sheets: tuple[tuple[Collection[Any], tuple[Sheet, ...]], ...]
    ids: tuple[ObjectId, ...]

    def write(self, tenants: Iterable[TenantId]) -> list[str]:
        """Store the same people for each of these tenants under a domain of its own; return the domains."""
        domains = [(tenant_id, new_domain()) for tenant_id in tenants]
        maps = [
            ({one: ObjectId().binary for one in self.ids} | {self.tenant_id: tenant_id.binary}, domain.encode())
            for tenant_id, domain in domains
        ]
        for collection, sheets in self.sheets:
            copies = (sheet.copy(ids, domain) for ids, domain in maps for sheet in sheets)
            while batch := list(islice(copies, BATCH)):
                collection.insert_many(batch, ordered=False)
        return [domain for _, domain in domains]


def new_domain() -> str:
    """A name that is as long as any other of these."""
    return f"{ObjectId()}.crowd.test"


def furnish(mail: MailServices, tenant_id: TenantId, users: int) -> str:
    """Make users, the first with a password and an alias, two shared mailboxes, two groups, two deleted users."""
    domain = mail.domains.create(OPERATOR, tenant_id, new_domain()).name
    made = []
    for number in range(users):
        secret = None if number else Secret(PASSWORD)
        made.append(mail.users.create(OPERATOR, f"user{number}@{domain}", secret, f"Person {number}", tenant_id))
    mail.addresses.create(OPERATOR, made[0], f"alias@{domain}")
    mail.addresses.create(OPERATOR, made[0], f"*@{domain}", allow_wildcard=True)
    for number in range(2):
        mail.groups.create(OPERATOR, tenant_id, f"group{number}@{domain}")
        mail.shared_mailboxes.create(OPERATOR, tenant_id, f"shared{number}@{domain}", "Shared", made[:2])
        gone = mail.users.create(OPERATOR, f"gone{number}@{domain}", None, "Gone", tenant_id)
        mail.deleted_users.delete(OPERATOR, gone)
    return domain


def pattern_of(mail: MailServices, tenant_id: TenantId, domain: str) -> Pattern:
    """Read what the services stored for a tenant that was furnished."""
    directory = mail.placement.directory.database
    homes = mail.users.list_of_tenant(tenant_id)
    people = [user.id for user in homes] + [one.user.id for one in mail.deleted_users.list_of_tenant(tenant_id)]
    shard = mail.placement.shard(homes[0].shard)
    found: list[tuple[Collection[Any], list[RawBSONDocument]]] = []
    for name in DIRECTORY:
        query: dict[str, Any] = {"name": domain} if name == "domains" else {"tenant": tenant_id}
        found.append((directory[name], list(directory[name].with_options(_RAW).find(query))))
    for name in SHARD:
        ranges = [{"_id": {"$gte": one.binary, "$lt": one.binary + b"\xff" * 13}} for one in people]
        found.append((shard.hot[name], list(shard.hot[name].with_options(_RAW).find({"$or": ranges}))))
    ids = sorted({one for _, documents in found for document in documents for one in _ids(document)} - {tenant_id})
    sheets = [(where, tuple(_sheet(one.raw, [*ids, tenant_id], domain) for one in some)) for where, some in found]
    return Pattern(tenant_id, domain, shard.name, tuple(sheets), tuple(ids))


def _ids(value: Any) -> Iterator[ObjectId]:
    if isinstance(value, ObjectId):
        yield value
    elif isinstance(value, bytes) and len(value) in {ID_BYTES, 2 * ID_BYTES}:  # keys begin with their owner
        yield from (ObjectId(value[at : at + ID_BYTES]) for at in range(0, len(value), ID_BYTES))
    elif isinstance(value, dict | RawBSONDocument):
        for below in value.values():
            yield from _ids(below)
    elif isinstance(value, list):
        for below in value:
            yield from _ids(below)


def _sheet(raw: bytes | memoryview, ids: list[ObjectId], domain: str) -> Sheet:
    written = bytes(raw)  # the driver hands over either
    found = [(at, one) for one in ids for at in _places(written, one.binary)]
    return Sheet(written, tuple(found), tuple(_places(written, domain.encode())))


def _places(written: bytes, part: bytes) -> Iterator[int]:
    at = written.find(part)
    while at >= 0:
        yield at
        at = written.find(part, at + len(part))


def first_user(mail: MailServices, domain: str) -> UserId:
    """Whoever has a password."""
    return mail.addresses.get(f"user0@{domain}").user_id
