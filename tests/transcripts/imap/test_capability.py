"""CAPABILITY, ID (RFC 2971), NOOP, ENABLE (RFC 5161): in any state; nothing tells who we are in detail (N11)."""

from __future__ import annotations

import re
from pathlib import Path

from mailcore.imap.capabilities import CAPABILITIES
from tests.transcripts.imap.dialogue import Imap


def test_greeting_has_the_capabilities(imap: Imap) -> None:
    client = imap.connect()
    assert client.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    assert client.greeting.endswith(b"] IMAP server ready\r\n")


# one name a line, in the order of the table, with whom it is told to: b(efore), a(fter signing in)
EXPECTED = """
IMAP4rev1 ba
IMAP4rev2 ba
AUTH=PLAIN b
AUTH=LOGIN b
AUTH=OAUTHBEARER b
AUTH=XOAUTH2 b
SASL-IR b
LITERAL- b
LITERAL+ a
ID ba
ENABLE ba
CONDSTORE ba
QRESYNC ba
ESEARCH ba
SEARCHRES ba
PARTIAL ba
WITHIN ba
SAVEDATE ba
OBJECTID ba
PREVIEW ba
SORT ba
SORT=DISPLAY ba
ESORT ba
THREAD=REFERENCES ba
THREAD=ORDEREDSUBJECT ba
INPROGRESS ba
IDLE ba
NOTIFY ba
NAMESPACE ba
CHILDREN ba
LIST-EXTENDED ba
LIST-STATUS ba
STATUS=SIZE ba
SPECIAL-USE ba
CREATE-SPECIAL-USE ba
MULTIAPPEND ba
CATENATE ba
BINARY ba
REPLACE ba
QUOTA ba
QUOTA=RES-STORAGE ba
ACL ba
RIGHTS=texk ba
LIST-MYRIGHTS ba
METADATA ba
COMPRESS=DEFLATE a
UIDPLUS ba
MOVE ba
UNSELECT ba
UTF8=ACCEPT ba
APPENDLIMIT=67108864 ba
"""


def test_capabilities(imap: Imap) -> None:
    imap.connect("1")
    imap.sign_in("2")
    lines = [line.split() for line in EXPECTED.strip().splitlines()]
    before = " ".join(name for name, told in lines if "b" in told)
    after = " ".join(name for name, told in lines if "a" in told)
    imap.transcript(f"""
        C1: a CAPABILITY
        S1: * CAPABILITY {before}
        S1: a OK CAPABILITY completed
        C2: a CAPABILITY
        S2: * CAPABILITY {after}
        S2: a OK CAPABILITY completed
        C2: b CAPABILITY x
        S2: b BAD end of command expected
        """)


def test_every_capability_cites_its_rfc() -> None:
    assert all(capability.rfc.startswith("RFC ") for capability in CAPABILITIES)
    names = [capability.name for capability in CAPABILITIES]
    assert len(names) == len(set(names))


def test_id(imap: Imap) -> None:
    """RFC 2971 §3.1."""
    client = imap.connect()
    imap.transcript("""
        C: a023 ID ("name" "sodr" "version" "19.34" "vendor" "Pink Floyd Music Limited")
        S: * ID ("name" "Eider")
        S: a023 OK ID completed
        C: a024 ID NIL
        S: * ID ("name" "Eider")
        S: a024 OK ID completed
        C: a025 ID ("name" NIL)
        S: * ID ("name" "Eider")
        S: a025 OK ID completed
        C: a026 ID (name x)
        S: a026 BAD …
        C: a027 ID
        S: a027 BAD space expected
        """)
    assert client.connection.session.client_id == {}


def test_noise(imap: Imap) -> None:
    client = imap.connect()
    assert client.ask(b"\r\n") == b"* BAD Tag expected\r\n"
    assert client.ask(b"a\r\n") == b"a BAD Unknown command\r\n"
    assert client.ask(b"a XYZZY\r\n") == b"a BAD Unknown command\r\n"
    assert client.ask(b"* NOOP\r\n") == b"* BAD Tag expected\r\n"
    assert client.ask(b"a noop\n") == b"a OK Completed\r\n"
    assert client.ask(b"GET / HTTP/1.1\r\n") == b"GET BAD Unknown command\r\n"


def test_every_capability_is_documented_and_has_dialogues() -> None:
    """docs/imap.md names each with its RFC, and the file of dialogues that knows it by name or by RFC."""
    here = Path(__file__)
    text = (here.parents[3] / "docs" / "imap.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| .+? \| `(test_\w+\.py)` \|$", text, re.MULTILINE)
    assert [(name, rfc) for name, rfc, _ in rows] == [(each.name, each.rfc) for each in CAPABILITIES]
    for name, rfc, file in rows:
        dialogues = (here.parent / file).read_text(encoding="utf-8")
        number = re.match(r"RFC \d+", rfc)
        assert number is not None
        assert name in dialogues or number[0] in dialogues, (name, file)
