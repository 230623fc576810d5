"""Which records have to be made and removed at a provider, from what it holds. No I/O.

What stands there and is not ours to judge stays: other texts at the same name, other names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from portal.domains.evaluation.spf import is_spf, merge, our_terms
from portal.domains.records import RecordKind, Wanted
from portal.domains.wanted import TOKEN_PREFIX

_VERSIONS: Final = {
    RecordKind.OWNERSHIP: TOKEN_PREFIX,
    RecordKind.DMARC: "v=dmarc1",
    RecordKind.MTA_STS: "v=stsv1",
    RecordKind.TLS_RPT: "v=tlsrptv1",
    RecordKind.DKIM: "",
}
"""How texts begin that a wanted one takes the place of."""
_BESIDE_CNAME: Final = ("A", "AAAA", "CNAME", "TXT")


@dataclass(frozen=True, slots=True)
class Held:
    """One record at a provider: name in A-labels without final dot, value as in `Wanted`."""

    name: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Change:
    """One record that is made, or removed."""

    is_new: bool
    name: str
    type: str
    value: str
    ttl_s: int = 3600


def plan(wanted: Iterable[Wanted], held: Sequence[Held]) -> tuple[Change, ...]:
    """Return what has to change so that the provider holds what is wanted, name by name."""
    changes: list[Change] = []
    for each in wanted:
        replaced = [record for record in held if record.name == each.name and _is_replaced(each, record)]
        final = _final(each, [record.value for record in replaced if record.type == each.type])
        changes += [
            Change(False, record.name, record.type, record.value)
            for record in replaced
            if record.type != each.type or record.value not in final
        ]
        there = {record.value for record in replaced if record.type == each.type}
        changes += [Change(True, each.name, each.type, value, each.ttl_s) for value in final if value not in there]
    return tuple(dict.fromkeys(changes))


def digest(changes: Sequence[Change]) -> str:
    """Return what tells one plan from another: what is written is what was shown, or nothing."""
    text = json.dumps([asdict(change) for change in changes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_replaced(wanted: Wanted, record: Held) -> bool:
    """Whether a record at the same name gives way to what is wanted there."""
    if wanted.type == "CNAME":
        return record.type in _BESIDE_CNAME
    if record.type == "CNAME":
        return True
    if record.type != wanted.type:
        return False
    if wanted.kind is RecordKind.SPF:
        return is_spf(record.value)
    if wanted.type == "TXT":
        return record.value.lower().startswith(_VERSIONS[wanted.kind])
    return True


def _final(wanted: Wanted, replaced: Sequence[str]) -> tuple[str, ...]:
    """Return the values that are to stand there in the end."""
    if wanted.kind is RecordKind.SPF and replaced:
        return (merge(replaced, our_terms(wanted.values[0])),)
    return wanted.values
