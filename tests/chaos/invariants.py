"""Checks on a quiet system: what was acknowledged is there once and byte for byte, and the store is sound."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

import imapclient

from tests.chaos.ledger import Ledger, Outcome, digest
from tests.chaos.load import HEADER, Load, Login

TRACE_END = b"From: load@sender.example\r\n"


def read_inbox(host: str, port: int, login: Login) -> dict[int, bytes]:
    """Return UID -> raw message of everything in the user's INBOX."""
    with imapclient.IMAPClient(host, port, ssl=False, timeout=30) as client:
        client.login(login.address, login.password)
        client.select_folder("INBOX", readonly=True)
        uids = client.search("ALL")
        messages: dict[int, bytes] = {}
        for start in range(0, len(uids), 200):
            fetched = client.fetch(uids[start : start + 200], ["BODY.PEEK[]", "RFC822.SIZE"])
            for uid, items in fetched.items():
                assert items[b"RFC822.SIZE"] == len(items[b"BODY[]"]), f"RFC822.SIZE of UID {uid}"
                messages[uid] = items[b"BODY[]"]
        assert sorted(messages) == sorted(uids), "SEARCH and FETCH disagree"
        return messages


def check_ledger(host: str, port: int, logins: Iterable[Login], ledger: Ledger, load: Load) -> Counter[str]:
    """Compare every INBOX with the ledger (I1 to I4); return what was counted."""
    assert not load.violations, load.violations[:5]
    counted: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    for login in logins:
        for uid, raw in read_inbox(host, port, login).items():
            original = raw[raw.index(TRACE_END) :]
            ledger_id = _ledger_id(original)
            copies[ledger_id] += 1
            delivery = ledger.deliveries[ledger_id]
            assert delivery.recipient == login.address, f"{ledger_id} lies in a wrong mailbox"
            assert digest(original) == delivery.sha256, f"{ledger_id} came out changed"
            for (address, _, seen_uid), seen_id in load.seen.items():
                if address == login.address and seen_uid == uid:
                    assert seen_id == ledger_id, f"UID {uid} was shown as {seen_id}, is {ledger_id}"
    for delivery in ledger.of_outcome(Outcome.ACKED):
        assert copies[delivery.ledger_id] == 1, f"{delivery.ledger_id}: {copies[delivery.ledger_id]} copies of an acked"
        counted["acked"] += 1
    for delivery in ledger.of_outcome(Outcome.UNKNOWN):
        assert copies[delivery.ledger_id] <= 1, f"{delivery.ledger_id} is there twice"
        counted["unknown"] += 1
    for delivery in ledger.of_outcome(Outcome.REFUSED):
        assert copies[delivery.ledger_id] == 0, f"{delivery.ledger_id} was refused and is there"
        counted["refused"] += 1
    shown = set(load.seen.values())
    missing = shown - set(copies)
    assert not missing, f"shown and gone: {sorted(missing)[:5]}"
    assert counted["acked"], "nothing was acknowledged: the run proves nothing"
    return counted


def longest_gap_s(load: Load, kind: str, since: float, until: float) -> float:
    """Return the longest time in which nothing of that kind (a shard, "imap a") made progress."""
    moments = sorted(moment for moment, what in load.progress if what == kind and since <= moment <= until)
    edges = [since, *moments, until]
    return max(later - earlier for earlier, later in itertools.pairwise(edges))


def _ledger_id(original: bytes) -> str:
    mark = f"{HEADER}: ".encode()
    start = original.index(mark) + len(mark)
    return original[start : original.index(b"\r\n", start)].decode()
