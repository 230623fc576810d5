"""Messages that go to a web address: one POST of the message as it is, and what the answer means for the queue."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from mailcore.errors import DestinationForbidden, DnsUnavailable, OutgoingFailed
from mailcore.model.forward_target import TargetUrl
from mailcore.model.outbound import Answer, OutboundEntry
from mailcore.net.outgoing import OutgoingClient
from mailcore.services.content.stored_content import Content

TIMEOUT_S: Final = 60.0
NEVER_TAKEN: Final = frozenset({400, 404, 405, 406, 410, 411, 413, 414, 415, 422, 501})
"""Answers that another try would get again."""
_PLAIN: Final = "@!$&'*+-./=?^_`{|}~"


def post_message(
    client: OutgoingClient, target: TargetUrl, entry: OutboundEntry, recipient: str, content: Content, hostname: str
) -> Answer:
    """Post a message; `Idempotency-Key` is the same for each try, so that who takes it can tell a repeat."""
    fields = {
        "Content-Type": "message/rfc822",
        "User-Agent": f"Eider ({hostname})",
        "Idempotency-Key": entry.id,
        "X-Eider-Queue-Id": entry.id,
        "X-Eider-Sender": quote(entry.reverse_path, safe=_PLAIN),
        "X-Eider-Recipient": quote(recipient, safe=_PLAIN),
    }
    try:
        status = client.post(target, fields, content.read(), entry.size_bytes, timeout_s=TIMEOUT_S)
    except DestinationForbidden as error:
        return Answer(0, "5.4.4", str(error), target.place)
    except DnsUnavailable as error:
        return Answer(0, "4.4.3", f"DNS does not answer: {error}", target.place)
    except OutgoingFailed as error:
        return Answer(0, "4.4.1", str(error), target.place)
    if 200 <= status < 300:
        return Answer(250, "2.0.0", f"HTTP {status}", target.place)
    if 300 <= status < 400:
        return Answer(0, "5.4.4", f"HTTP {status}: redirects are not followed", target.place)
    return Answer(0, "5.3.0" if status in NEVER_TAKEN else "4.3.0", f"HTTP {status}", target.place)
