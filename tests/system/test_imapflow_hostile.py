"""imapflow reads what is hostile as imapclient does: messages, flags, mailbox names; none loses step (attack N10)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import imapclient
import pytest
from imapclient.response_types import BodyData

from mailcore.model.flags import FLAGGED, FlagSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser, make_user
from tests.corpus import iter_corpus
from tests.hostile import HOSTILE
from tests.system import altered_server
from tests.system.clients import packages
from tests.system.servers import RunningServer, environment_of, start
from tests.system.strict_imap import HOST, StrictImap

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (packages.FOLDER / "node_modules" / "imapflow").is_dir(),
        reason="imapflow is not installed: run `make test` where npm reaches its registry",
    ),
]

Record = dict[str, Any]
BATCH = 100
DEEP_FOR_IMAPFLOW = 90
FIRST_DATE = 1_700_000_000
ITEMS = ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]", "BODY.PEEK[HEADER]"]
MAILBOXES = [
    'a"b',
    "a\\b",
    "{5}",
    "{3+}",
    "~{5}",
    "(a",
    "b)",
    "NIL",
    "a) BODY[] {10}",
    "%s%n",
    "é日本",
    "a&b",
    "* 1 EXPUNGE",
]
KEYWORDS = ["=?utf-8?b?Iik=?=", "$Work", "a:b", "a=b", "'x'", "<y>", "a}b", "&AOk-", "x" * 64]


def store(services: MailServices, user: MadeUser, raws: Sequence[bytes]) -> None:
    """Each with flags and a date of its own."""
    new = [
        NewMessage(raw, FlagSet(FLAGGED * (number % 2), (KEYWORDS[number % len(KEYWORDS)],)), FIRST_DATE + 977 * number)
        for number, raw in enumerate(raws)
    ]
    for at in range(0, len(new), 20):
        services.messages.append(user.user_id, OPERATOR, "INBOX", new[at : at + 20])


def by_imapflow(server: RunningServer, user: MadeUser) -> tuple[dict[str, Record], list[Record]]:
    """Every mailbox by name, and every message in order, as imapflow understood them.

    Raises:
        ValueError: it lost step: it ended early or in anger, or hung.
    """
    order = {"port": server.port("imap"), "user": user.address, "password": user.password}
    command = [packages.node(), packages.FOLDER / "read.mjs"]
    try:
        done = subprocess.run(
            command, env={"PATH": os.environ["PATH"]}, input=json.dumps(order).encode(), capture_output=True, timeout=90
        )
    except subprocess.TimeoutExpired as late:
        raise ValueError("imapflow hangs") from late
    if done.returncode:
        raise ValueError(done.stderr.decode()[-2000:])
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["mailbox"]: one for one in records if "mailbox" in one}, [one for one in records if "uid" in one]


def by_imapclient(server: RunningServer, user: MadeUser) -> tuple[set[str], Iterator[Record]]:
    """The same of imapclient, in the same words."""
    client = imapclient.IMAPClient(HOST, server.port("imap"), ssl=False, timeout=60)
    client.login(user.address, user.password)
    names = {name for _, _, name in client.list_folders()}
    client.select_folder("INBOX", readonly=True)

    def messages() -> Iterator[Record]:
        uids = client.search()
        for at in range(0, len(uids), BATCH):
            found = client.fetch(uids[at : at + BATCH], ITEMS)
            yield from (record_of(uid, found[uid]) for uid in uids[at : at + BATCH])
        client.logout()

    return names, messages()


def record_of(uid: int, items: dict[bytes, Any]) -> Record:
    envelope = items[b"ENVELOPE"]
    lists = (envelope.from_, envelope.sender, envelope.reply_to, envelope.to, envelope.cc, envelope.bcc)
    return {
        "uid": uid,
        "flags": sorted(flag.decode() for flag in items[b"FLAGS"]),
        "internalDate": items[b"INTERNALDATE"].astimezone(UTC).timestamp(),
        "size": items[b"RFC822.SIZE"],
        "source": hashlib.sha256(items[b"BODY[]"]).hexdigest(),
        "headers": hashlib.sha256(items[b"BODY[HEADER]"]).hexdigest(),
        "subject": text(envelope.subject),
        "messageId": text(envelope.message_id).strip(),
        "inReplyTo": text(envelope.in_reply_to).strip(),
        "addresses": [
            [f"{text(one.mailbox)}@{text(one.host)}" for one in addresses or () if one.host] for addresses in lists
        ],
        "parts": [list(part) for part in parts_of(items[b"BODYSTRUCTURE"])],
        "depth": depth_of(items[b"BODYSTRUCTURE"]),
    }


def text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def parts_of(body: Any) -> Iterator[tuple[str, str, int, int]]:
    """Type, encoding, size and lines of every part, depth first."""
    if body.is_multipart:
        yield f"multipart/{text(body[1]).lower()}", "", 0, 0
        for part in body[0]:
            yield from parts_of(part)
        return
    kind = f"{text(body[0])}/{text(body[1])}".lower()
    is_message = kind == "message/rfc822"
    lines = body[9] if is_message else body[7] if kind.startswith("text/") else 0
    yield kind, text(body[5]).lower(), body[6], lines
    if is_message:
        yield from parts_of(BodyData.create(body[8]))


def depth_of(body: object) -> int:
    """How deep the parentheses are nested."""
    return 1 + max(map(depth_of, body), default=0) if isinstance(body, list | tuple) else 0


def check_sources(messages: list[Record], raws: Sequence[bytes]) -> None:
    """Every message, in order, byte for byte."""
    expected = [(hashlib.sha256(raw).hexdigest(), len(raw)) for raw in raws]
    assert [(one["source"], one["size"]) for one in messages] == expected, "not every message came whole"


def differences(one: Record, other: Record) -> list[str]:
    """What imapflow understood otherwise than imapclient.

    It decodes encoded words. What is nested deeper than it likes it takes for NIL, and reads on.
    """
    found = [name for name in one if one[name] != other[name]]
    if "=?" in other["subject"]:
        found = [name for name in found if name != "subject"]
    if other["depth"] > DEEP_FOR_IMAPFLOW and not one["parts"]:
        found.remove("parts")
    return found


@pytest.mark.timeout(180)
def test_imapflow_and_imapclient_understand_the_same(
    mail_server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Attack N10, promise P2: every item of every hostile message, every keyword, every mailbox name."""
    raws = [raw for one in HOSTILE if not one.is_large and (raw := one.build())]
    raws += [raw for _, raw in iter_corpus() if raw]
    store(services, user, raws)
    for name in MAILBOXES:
        services.mailboxes.create(user.user_id, OPERATOR, name)
    mailboxes, messages = by_imapflow(mail_server, user)
    names, others = by_imapclient(mail_server, user)
    assert mailboxes.keys() == names >= set(MAILBOXES)
    check_sources(messages, raws)
    assert set(mailboxes["INBOX"]["flags"]) >= set(KEYWORDS)
    wrong = {
        one["uid"]: found for one, other in zip(messages, others, strict=True) if (found := differences(one, other))
    }
    assert not wrong


@pytest.mark.timeout(240)
def test_strings_written_as_they_are_would_be_seen(
    services: MailServices, directory_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """Negative control: a server that puts strings in quotes as they are: imapflow cannot read the response."""
    user = make_user(services)
    raws = [b'Subject: a"b (c\r\n\r\nbody\r\n', b"Subject: fine\r\n\r\nbody\r\n"]
    environment = environment_of(directory_uri, redis_url, ["imap"])
    launcher = (*altered_server.LAUNCH, "naive-strings")
    with start(["imap"], environment, tmp_path, launcher=launcher) as server:
        with StrictImap.signed_in(server.port("imap"), user) as client:  # ENVELOPE is made as a message comes in
            for raw in raws:
                assert client.append(raw).kind == b"OK"
        _, messages = by_imapflow(server, user)
    with pytest.raises(AssertionError, match="came whole"):
        check_sources(messages, raws)
