"""The demo's messages: plain and HTML, attachments, threads, several scripts and charsets.

Made here so that they may be shared freely; the same list every time, dates aside.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

PICTURE_SIDE = 220
MINUTES_APART = 47


@dataclass(frozen=True, slots=True)
class Note:
    """What one message says, before it has a sender and a date."""

    subject: str
    text: str
    charset: str = "utf-8"
    html: bool = False
    attach: str = ""
    answers: int | None = None  # index of the note that it answers


NOTES = (
    Note("Welcome to Eider", "Hello,\n\nyour mailbox works. This message came in by LMTP.\n\nEider\n", html=True),
    Note("Lunch on Thursday?", "Shall we meet at noon, by the harbour?\n\nA.\n"),
    Note("Re: Lunch on Thursday?", "> Shall we meet at noon?\n\nGladly. I bring the maps.\n", answers=1),
    Note("Übersicht für März", "Schöne Grüße,\nanbei die Übersicht für März.\n", charset="iso-8859-1", attach="csv"),
    Note("Réunion déplacée à mardi", "Bonjour,\n\nla réunion est déplacée à mardi, 14 h. À bientôt !\n", html=True),
    Note("会議の資料について", "お世話になっております。\n会議の資料をお送りします。\n", charset="iso-2022-jp"),
    Note("Η παραγγελία σας εστάλη", "Καλημέρα,\n\nη παραγγελία σας εστάλη σήμερα.\n", html=True),
    Note("موعد الاجتماع القادم", "مرحبا،\n\nموعد الاجتماع القادم يوم الأحد.\n"),
    Note("अगले सप्ताह की योजना", "नमस्ते,\n\nअगले सप्ताह की योजना संलग्न है।\n", attach="csv"),
    Note("Фотографии с выставки 📷", "Привет!\n\nФотографии с выставки во вложении.\n", charset="koi8-r", attach="png"),
    Note("Handbook, second edition", "It is attached; please read chapter two.\n", html=True, attach="handbook"),
    Note("Re: Re: Lunch on Thursday?", "> Gladly. I bring the maps.\n\nAnd I the coffee ☕\n", answers=2),
)


def messages(to: Address, senders: list[Address], newest_at: datetime) -> Iterator[tuple[Address, bytes]]:
    """Yield (sender, raw message) for one recipient, oldest first."""
    identifiers: list[str] = []
    for number, note in enumerate(NOTES):
        sender = senders[number % len(senders)]
        is_ascii = (to.addr_spec + sender.addr_spec).isascii()
        message = EmailMessage(policy=SMTP if is_ascii else SMTPUTF8)
        message["From"] = sender
        message["To"] = to
        message["Subject"] = note.subject
        message["Date"] = newest_at - timedelta(minutes=MINUTES_APART * (len(NOTES) - number))
        identifiers.append(f"<demo-{number}.{zlib.crc32(to.addr_spec.encode()):08x}@{sender.domain}>")
        message["Message-ID"] = identifiers[-1]
        if note.answers is not None:
            chain = [identifiers[number] for number in _ancestors(note.answers)]
            message["In-Reply-To"] = chain[-1]
            message["References"] = " ".join(chain)
        _fill(message, note)
        yield sender, message.as_bytes()


def _ancestors(answered: int) -> list[int]:
    above = NOTES[answered].answers
    return [*(_ancestors(above) if above is not None else []), answered]


def _fill(message: EmailMessage, note: Note) -> None:
    try:
        note.text.encode(note.charset)
    except UnicodeEncodeError:
        message.set_content(note.text)
    else:
        message.set_content(note.text, charset=note.charset)
    if note.html:
        paragraphs = "".join(f"<p>{line}</p>" for line in note.text.splitlines() if line)
        message.add_alternative(f"<html><body><h1>{note.subject}</h1>{paragraphs}</body></html>", subtype="html")
    if note.attach == "csv":
        rows = "".join(f"{day},{day * 37 % 101}\r\n" for day in range(1, 32))
        message.add_attachment(f"day,visitors\r\n{rows}", subtype="csv", filename="Übersicht März.csv")
    elif note.attach == "png":
        message.add_attachment(picture(), maintype="image", subtype="png", filename="выставка.png")
    elif note.attach == "handbook":
        message.add_attachment(handbook(), maintype="application", subtype="octet-stream", filename="handbook.bin")


def picture() -> bytes:
    """Return a PNG of coloured noise: large enough to be stored apart from its message."""
    noise = random.Random("picture")  # noqa: S311 - the same bytes every time
    rows = b"".join(b"\x00" + noise.randbytes(PICTURE_SIDE * 3) for _ in range(PICTURE_SIDE))

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", PICTURE_SIDE, PICTURE_SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def handbook() -> bytes:
    """Return one and a half megabytes, the same for every recipient: a tenant keeps them once."""
    return random.Random("handbook").randbytes(1_500_000)  # noqa: S311 - the same bytes every time
