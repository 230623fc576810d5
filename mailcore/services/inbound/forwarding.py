"""Sends incoming mail on: untouched but for trace fields on top, under a reverse-path of ours, and never in circles."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Iterator, Sequence

from mailcore import fault
from mailcore.errors import RateExceeded
from mailcore.message.headers import iter_fields
from mailcore.metrics import Tally
from mailcore.model.forward_target import is_url
from mailcore.model.limits import DEFAULT_LIMITS, Spending
from mailcore.model.outbound import SENDING_HOLD, NewOutbound, OutboundRecipient, QueueId, Reason
from mailcore.model.plan import Forward
from mailcore.services.accounts.usage import Usage
from mailcore.services.content.encryption import Encryptions
from mailcore.services.inbound.arc import Arc
from mailcore.services.inbound.arrival import LOOP_MARK, Arrival, compared
from mailcore.services.inbound.srs import Srs
from mailcore.services.outbound.queueing import Queueing
from mailcore.services.trust.system_key import SystemKey
from mailcore.store.placement import Home

log = logging.getLogger(__name__)

FORWARDS = Tally("eider_forwards", "Addresses that mail was to be sent on to, by what became of it")
MARK = b"X-Eider-Loop"
MOST_RECIPIENTS = 500
_UNFIT = re.compile(r'[<>"\\\x00-\x20\x7f]')
"""What a reverse-path of ours has not; a quoted local part is not rewritten."""
KEY_NAME = "forward_key"
"""Of the key for rewritten reverse-paths and for marks."""


class Forwarding:
    """Decides what may be sent on, and queues it."""

    def __init__(
        self, queueing: Queueing, usage: Usage, srs: Srs, arc: Arc, key: SystemKey, encryptions: Encryptions
    ) -> None:
        self._encryptions = encryptions
        self._queueing = queueing
        self._usage = usage
        self._srs = srs
        self._arc = arc
        self._key = key

    def admitted(self, arrival: Arrival, home: Home, address: str, forwards: Sequence[Forward]) -> tuple[Forward, ...]:
        """Return what may be sent on of mail to an address; nothing of what came through here before.

        Three round trips to Redis where there is anything to send on.
        """
        if not forwards:
            return ()
        refused = ""
        if arrival.hops > DEFAULT_LIMITS.received_fields:
            refused = "too_many_hops"
        elif compared(address) in arrival.passed:
            refused = "loop"
        else:
            try:
                self._usage.spend(home.user_id, Spending.FORWARDS, len(forwards))
                self._usage.spend_unasked(home.tenant_id, len(forwards))
            except RateExceeded:
                refused = "too_many"
        if refused:
            FORWARDS.inc(refused, by=len(forwards))
            log.warning("forward.refused", extra={"user": str(home.user_id), "address": address, "reason": refused})
            return ()
        return tuple(forwards)

    def has_landed(self, arrival: Arrival, address: str) -> bool:
        """Whether this very message was kept here for an address before it was sent on, and now came back.

        Only a mark of ours over exactly what lies beneath it says so, and not if somebody resent it by hand.
        """
        if MARK not in arrival.header:
            return False
        for found in iter_fields(arrival.header):
            if found.name.startswith(b"resent-"):
                return False
            if found.name == LOOP_MARK:
                line = arrival.raw[found.start : found.end]
                if hmac.compare_digest(line, self._mark(address, arrival.raw[found.end :], is_kept=True)):
                    return True
        return False

    def send(
        self, arrival: Arrival, home: Home, address: str, key: bytes, forwards: Sequence[Forward], trace: bytes,
        *, is_kept: bool, reason: Reason = Reason.FORWARD, held: str | None = None, of_tenant: bool = False,
    ) -> list[QueueId]:  # fmt: skip
        """Queue a message for everybody it is sent on to, and return by which entries; a repeat queues nothing new.

        It waits there while outgoing mail of who sends it on is held.

        Args:
            arrival: the message.
            home: on whose behalf, and where it is queued.
            address: to which it came.
            key: stands for this delivery.
            forwards: what was admitted.
            trace: the fields of this hop, whole lines.
            is_kept: a copy is committed here.
            reason: API if somebody wants just this message sent on.
            held: why it is to wait if nothing else of the sender does.
            of_tenant: the address is the tenant's, not this user's.

        Raises:
            EncryptionFailed: the user wants it encrypted, and it cannot be.
            StoreUnavailable, StoreFull: not queued, as far as is known; the same call again is safe.
        """
        by_header: dict[bytes | None, list[str]] = {}
        for forward in forwards:
            by_header.setdefault(forward.header, []).append(forward.address)
        came_to = (address,)
        passed_on = without_return_path(trace)
        reverse_path = self.reverse_path(arrival, home, address)
        queue_ids = []
        for header, addresses in by_header.items():
            sent = arrival.raw if header is None else arrival.with_header(header)
            if home.encryption.of_forwarded:
                sent = self._encryptions.encrypt(home.encryption, sent)
            beneath = passed_on + sent
            message = self._mark(address, beneath, is_kept=is_kept) + beneath
            message = self._arc.seal(message) + message
            urls = [each for each in dict.fromkeys(addresses) if is_url(each)]
            ways = [(b"", "", some) for some in batches([each for each in addresses if not is_url(each)])]
            ways += [(each.encode(), each, came_to) for each in urls]
            for number, (mark, via, some) in enumerate(ways):
                new = NewOutbound(
                    user_id=home.user_id,
                    tenant_id=home.tenant_id,
                    reverse_path=reverse_path,
                    forward_paths=tuple(map(OutboundRecipient, some)),
                    message=message,
                    reason=reason,
                    held=held or held_with(home),
                    key=hashlib.sha256(b"forward\0" + key + (mark or bytes([number])) + (header or b"")).digest(),
                    is_utf8=not (reverse_path + "".join(some)).isascii(),
                    header_message_id=arrival.prepared.message_id.decode("ascii", "replace"),
                    via=via,
                    of_tenant=of_tenant,
                )
                queue_ids.append(self._queueing.enqueue(new, arrival.actor))
                fault.hit("forward.after_enqueue")
            FORWARDS.inc("queued", by=len(addresses))
        return queue_ids

    def reverse_path(self, arrival: Arrival, home: Home, address: str) -> str:
        """Return the reverse-path under which a message is sent on: rewritten, else the address that it came to."""
        rewritten = self._srs.rewrite(arrival.reverse_path, home.user_id)
        return address if rewritten is None or _UNFIT.search(rewritten) else rewritten

    def _mark(self, address: str, beneath: bytes, *, is_kept: bool) -> bytes:
        """Return the field that names an address mail came through, and proves over which bytes it was put."""
        form = compared(address)
        what = form.encode() + (b"\0kept\0" if is_kept else b"\0gone\0") + hashlib.sha256(beneath).digest()
        proof = hmac.digest(self._key.get(), b"mark\0" + what, hashlib.sha256)[:16].hex()
        return MARK + b": " + form.encode() + b"; " + proof.encode() + b"\r\n"


def held_with(home: Home) -> str | None:
    """Return why what goes out on somebody's behalf waits, None if it may go."""
    return SENDING_HOLD if home.sending_hold is not None else None


def without_return_path(trace: bytes) -> bytes:
    """Return trace fields without that of final delivery (RFC 5321 §4.4)."""
    return b"".join(trace[found.start : found.end] for found in iter_fields(trace) if found.name != b"return-path")


def batches(addresses: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield addresses, each once, by as many as one queue entry takes."""
    each_once = tuple(dict.fromkeys(addresses))
    for start in range(0, len(each_once), MOST_RECIPIENTS):
        yield each_once[start : start + MOST_RECIPIENTS]
