"""Reports on the delivery of a message, for people and programs (RFC 3462, RFC 3464; RFC 6533 beyond ASCII)."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from enum import Enum

from mailcore.message.headers import header_size

LINE: int = 76


class ReportKind(Enum):
    """What a report tells of (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """What became of one recipient.

    Attributes:
        original: ORCPT with its type, None if the sender gave none.
        status: of RFC 3463.
        diagnostic: what the other server answered, "" if it was not asked.
        remote: the server that answered.
        text: what people read, where nobody answered.
    """

    address: str
    kind: ReportKind
    status: str
    original: str | None = None
    diagnostic: str = ""
    remote: str = ""
    text: str = ""
    last_attempt_at: datetime | None = None
    retried_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report says.

    Attributes:
        sender: whom it is for.
        message_id: of the message, in its angle brackets; "" if it has none.
        returned: the message, or its header, as it was sent.
        is_whole: `returned` is all of it.
    """

    reporting_host: str
    sender: str
    at: datetime
    arrived_at: datetime
    queue_id: str
    message_id: str
    recipients: Sequence[ReportedRecipient]
    returned: bytes
    is_whole: bool
    envelope_id: str | None = None


_SUBJECTS = {
    ReportKind.FAILED: "Undelivered mail returned to sender",
    ReportKind.DELAYED: "Your mail is late",
    ReportKind.DELIVERED: "Your mail was delivered",
    ReportKind.RELAYED: "Your mail was passed on",
}
_INTRODUCTIONS = {
    ReportKind.FAILED: "Your message did not reach everybody. These did not get it, and no further try is made:",
    ReportKind.DELAYED: "Your message could not be delivered to everybody yet. You need do nothing: it is tried again.",
    ReportKind.DELIVERED: "Your message was delivered, as you asked to be told.",
    ReportKind.RELAYED: "Your message was passed on to a server that sends no reports of delivery.",
}
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def build_report(report: Report) -> bytes:
    """Return the report as a message with CRLF; its first recipient says what it is about."""
    kind = report.recipients[0].kind
    boundary = f"report-{report.queue_id}-{kind.value}"
    addresses = [report.sender, *(each.address + (each.original or "") for each in report.recipients)]
    is_utf8 = not all(address.isascii() for address in addresses)
    header = [
        ("From", f"Mail Delivery System <mailer-daemon@{report.reporting_host}>"),
        ("To", f"<{report.sender}>"),
        ("Subject", _SUBJECTS[kind]),
        ("Date", format_datetime(report.at)),
        ("Message-ID", f"<{report.queue_id}.{kind.value}.{int(report.at.timestamp())}@{report.reporting_host}>"),
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"'),
    ]
    if report.message_id:
        header.append(("In-Reply-To", report.message_id))
        header.append(("References", report.message_id))
    lines = "".join(f"{name}: {value}\r\n" for name, value in header).encode("utf-8")
    parts = [
        _text_part(_for_people(report, kind)),
        _status_part(report, is_utf8=is_utf8),
        _returned_part(report),
    ]
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return lines + b"\r\n" + body + b"--" + boundary.encode() + b"--\r\n"


def _for_people(report: Report, kind: ReportKind) -> str:
    lines = [_INTRODUCTIONS[kind], ""]
    for each in report.recipients:
        lines.append(f"  {each.address}")
        if each.diagnostic:
            lines.append(f"    {each.remote or 'the other server'} said: {shown(each.diagnostic)}")
        elif each.text:
            lines.append(f"    {shown(each.text)}")
        if each.retried_until is not None:
            lines.append(f"    It is tried until {format_datetime(each.retried_until)}.")
        lines.append("")
    lines.append(f"Your message has the queue id {report.queue_id} here: name it if you ask somebody about it.")
    return "\r\n".join(lines) + "\r\n"


def _text_part(text: str) -> bytes:
    header = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return header + _base64(text.encode())


def _status_part(report: Report, *, is_utf8: bool) -> bytes:
    """The part for programs (RFC 3464 §2); with addresses beyond ASCII that of RFC 6533 §4."""
    fields = [f"Reporting-MTA: dns; {report.reporting_host}"]
    if report.envelope_id is not None:
        fields.append(f"Original-Envelope-Id: {shown(report.envelope_id)}")
    fields.append(f"Arrival-Date: {format_datetime(report.arrived_at)}")
    blocks = ["\r\n".join(fields)]
    for each in report.recipients:
        block = []
        if each.original is not None:
            kind, _, address = each.original.partition(";")
            block.append(f"Original-Recipient: {kind}; {shown(address)}")
        block.append(f"Final-Recipient: {'rfc822' if each.address.isascii() else 'utf-8'}; {each.address}")
        block.append(f"Action: {each.kind.value}")
        block.append(f"Status: {each.status}")
        if each.remote:
            block.append(f"Remote-MTA: dns; {each.remote.partition('[')[0]}")
        if each.diagnostic:
            diagnostic = shown(each.diagnostic)
            if not is_utf8:
                diagnostic = diagnostic.encode("ascii", "replace").decode("ascii")
            block.append(f"Diagnostic-Code: smtp; {diagnostic}")
        if each.last_attempt_at is not None:
            block.append(f"Last-Attempt-Date: {format_datetime(each.last_attempt_at)}")
        if each.retried_until is not None:
            block.append(f"Will-Retry-Until: {format_datetime(each.retried_until)}")
        blocks.append("\r\n".join(block))
    text = "\r\n\r\n".join(blocks) + "\r\n"
    if is_utf8:
        header = b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        return header + text.encode()
    return b"Content-Type: message/delivery-status\r\n\r\n" + text.encode("ascii", "replace")


def _returned_part(report: Report) -> bytes:
    """The message or its header; as it is, for who compares."""
    content = report.returned if report.is_whole else report.returned[: header_size(report.returned)]
    header = content[: header_size(content)]
    if report.is_whole:
        kind = b"message/rfc822" if header.isascii() else b"message/global"
    else:
        kind = b"text/rfc822-headers" if header.isascii() else b"message/global-headers"
    encoding = b"" if content.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"Content-Type: " + kind + b"\r\n" + encoding + b"\r\n" + content


def _base64(data: bytes) -> bytes:
    encoded = base64.b64encode(data)
    return b"".join(encoded[at : at + LINE] + b"\r\n" for at in range(0, len(encoded), LINE))


def shown(text: str) -> str:
    """Return words of others as one line that moves no cursor and begins no field."""
    return _UNSHOWN.sub(" ", text).strip()[:900]
