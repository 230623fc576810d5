"""Labels changed by many at once through two processes: whatever they do, no message goes for want of a label."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from mailcore.services import MailServices
from tests.builders import MadeUser, make_user
from tests.system.servers import RunningServer, environment_of
from tests.system.strict_imap import StrictImap
from tests.system.test_many_sessions import SEED, processes

LABELS = (rb"\Inbox", b"one", b"two", b"Archive")
NAMES = ("INBOX", "one", "two", "Archive")
MESSAGES = 5


@pytest.fixture
def servers(
    services: MailServices, directory_uri: str, redis_url: str, tmp_path: Path
) -> Iterator[Sequence[RunningServer]]:
    with processes(environment_of(directory_uri, redis_url, ["imap"]), tmp_path) as running:
        yield running


def _change_labels(port: int, user: MadeUser, seed: str, operations: int, done: Counter[bytes]) -> None:
    """Take labels away and add some, in one mailbox after the other, whatever is there."""
    chance = random.Random(seed)
    with StrictImap.signed_in(port, user) as client:
        for _ in range(operations):
            client.ok(b"SELECT " + chance.choice(NAMES).encode())
            change = b"-X-GM-LABELS (%b)" % b" ".join(chance.sample(LABELS, chance.randrange(1, 4)))
            if chance.random() < 0.4:
                change = b"+X-GM-LABELS (%b)" % chance.choice(LABELS)
            uid = chance.randrange(1, 2 * MESSAGES)
            done[client.run(b"UID STORE %d:%d %b" % (uid, uid + 2, change))[-1].kind] += 1


def _places(port: int, user: MadeUser) -> dict[bytes, list[str]]:
    found: dict[bytes, list[str]] = {b"m%d" % number: [] for number in range(MESSAGES)}
    with StrictImap.signed_in(port, user) as client:
        for name in NAMES:
            selected = client.ok(b"SELECT " + name.encode())
            if next(one.number for one in selected if one.kind == b"EXISTS"):
                for response in client.ok(b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
                    subject = response.value[b"BODY[HEADER.FIELDS (SUBJECT)]"].split()[1]
                    found[subject].append(name)
    return found


def test_no_message_is_lost_whoever_takes_which_label_away(
    servers: Sequence[RunningServer], services: MailServices
) -> None:
    user = make_user(services)
    port = servers[0].port("imap")
    with StrictImap.signed_in(port, user) as client:
        for name in NAMES[1:3]:
            client.ok(b"CREATE " + name.encode())
        for number in range(MESSAGES):
            raw = b"Subject: m%d\r\n\r\nx\r\n" % number
            client.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(raw), raw))
        client.ok(b"SELECT INBOX")
        client.ok(b"STORE 1:* +X-GM-LABELS (one two)")
    done: Counter[bytes] = Counter()
    with ExitStack() as stack:
        for number in range(6):
            thread = threading.Thread(target=_change_labels, args=(port, user, f"{SEED}/{number}", 25, done))
            thread.start()
            stack.callback(thread.join)
    places = _places(port, user)
    assert done.total() == 150, (SEED, done)
    assert set(done) <= {b"OK", b"NO"}
    assert done[b"OK"] > 100, (SEED, done)
    assert all(places.values()), (SEED, places)
