"""GETMETADATA and SETMETADATA (RFC 5464)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.services import MailServices
from tests.builders import make_tenant, make_user
from tests.transcripts.imap.dialogue import Imap


def test_values_of_a_mailbox(imap: Imap) -> None:
    """RFC 5464 §4.2, §4.3: the examples, options in either place."""
    imap.sign_in()
    imap.transcript("""
        C: a SETMETADATA INBOX (/private/comment {33+}
        C: My new comment across
        C: two lines.)
        S: a OK SETMETADATA completed
        C: b SETMETADATA INBOX (/private/comment "My own comment" /shared/Comment "Shared comment")
        S: b OK SETMETADATA completed
        C: c GETMETADATA INBOX /private/comment
        S: * METADATA INBOX (/private/comment "My own comment")
        S: c OK GETMETADATA completed
        C: d GETMETADATA INBOX (/shared/comment /PRIVATE/comment)
        S: * METADATA INBOX (/private/comment "My own comment" /shared/comment "Shared comment")
        S: d OK GETMETADATA completed
        C: e GETMETADATA INBOX (MAXSIZE 1024) (/shared/comment /private/comment)
        S: * METADATA INBOX (/private/comment "My own comment" /shared/comment "Shared comment")
        S: e OK GETMETADATA completed
        C: f SETMETADATA INBOX (/private/comment NIL)
        S: f OK SETMETADATA completed
        C: g GETMETADATA INBOX /private/comment
        S: g OK GETMETADATA completed
        """)


def test_depth_and_size(imap: Imap) -> None:
    """RFC 5464 §4.2.1, §4.2.2."""
    client = imap.sign_in()
    client.run(
        'SETMETADATA INBOX (/private/filters/values/small "SMALLER 5000" /private/filters/values/boss "FROM boss" '
        '/private/filters/values/boss/deep "x" /private/filters/valuesx "no")'
    )
    imap.transcript("""
        C: a GETMETADATA (DEPTH 1) INBOX /private/filters/values
        S: * METADATA INBOX (/private/filters/values/boss "FROM boss" /private/filters/values/small "SMALLER 5000")
        S: a OK GETMETADATA completed
        C: b GETMETADATA INBOX (DEPTH infinity MAXSIZE 9) (/private/filters/values)
        S: * METADATA INBOX (/private/filters/values/boss "FROM boss" /private/filters/values/boss/deep "x")
        S: b OK [METADATA LONGENTRIES 12] GETMETADATA completed
        C: c GETMETADATA INBOX /private/filters/values
        S: c OK GETMETADATA completed
        """)


def test_everything_below_a_root(imap: Imap) -> None:
    """RFC 5464 §4.2.2: of a mailbox and of the server; the roots themselves have no values."""
    client = imap.sign_in()
    client.run('SETMETADATA INBOX (/private/comment "mine" /shared/vendor/x/y "ours")')
    imap.transcript("""
        C: a GETMETADATA (DEPTH infinity) INBOX (/private)
        S: * METADATA INBOX (/private/comment "mine")
        S: a OK GETMETADATA completed
        C: b GETMETADATA (DEPTH infinity) INBOX /shared
        S: * METADATA INBOX (/shared/vendor/x/y "ours")
        S: b OK GETMETADATA completed
        C: c GETMETADATA INBOX (DEPTH 1) (/PRIVATE /shared)
        S: * METADATA INBOX (/private/comment "mine")
        S: c OK GETMETADATA completed
        C: d GETMETADATA INBOX (/private)
        S: d OK GETMETADATA completed
        C: e GETMETADATA (DEPTH infinity) "" (/private /shared)
        S: e OK GETMETADATA completed
        """)
    assert client.ask(b'f SETMETADATA INBOX (/private "x")\r\n').startswith(b"f BAD ")


@pytest.mark.parametrize("name", ["/private/a b", "/private/a(b", "/private/a{3}", "/private/a]"])
def test_names_come_back_as_they_can_be_read(imap: Imap, name: str) -> None:
    """RFC 5464 §5: an entry is an astring, so its name may need quotes."""
    client = imap.sign_in()
    client.run(f'SETMETADATA INBOX ("{name}" "x")')
    assert f'* METADATA INBOX ("{name}" "x")\r\n'.encode() in client.run(f'GETMETADATA INBOX "{name}"')


def test_values_of_the_server(imap: Imap) -> None:
    """RFC 5464 §3, §6.1: private ones are the user's; nobody sets shared ones."""
    imap.sign_in()
    imap.transcript("""
        C: a SETMETADATA "" (/private/vendor/x/y "z")
        S: a OK SETMETADATA completed
        C: b GETMETADATA "" /private/vendor/x/y
        S: * METADATA "" (/private/vendor/x/y "z")
        S: b OK GETMETADATA completed
        C: c SETMETADATA "" (/shared/admin "mailto:me")
        S: c NO [NOPERM] Not allowed
        C: d GETMETADATA Nowhere /shared/comment
        S: d NO [NONEXISTENT] No such mailbox
        """)


def test_any_bytes_come_back(imap: Imap) -> None:
    client = imap.sign_in()
    value = bytes(range(256))
    assert client.ask(b"a SETMETADATA INBOX (/private/x ~{256+}\r\n" + value + b")\r\n").startswith(b"a OK ")
    assert b"(/private/x ~{256}\r\n" + value + b")\r\n" in client.run("GETMETADATA INBOX /private/x")
    client.run('SETMETADATA INBOX (/private/x "")')
    assert b'(/private/x "")' in client.run("GETMETADATA INBOX /private/x")


def test_bounds(imap: Imap) -> None:
    """RFC 5464 §4.3: MAXSIZE, TOOMANY; all or nothing."""
    client = imap.sign_in()
    large = DEFAULT_LIMITS.annotation_bytes + 1
    answer = client.ask(b"a SETMETADATA INBOX (/private/y {%d+}\r\n%b)\r\n" % (large, b"x" * large))
    assert answer.startswith(b"a NO [METADATA MAXSIZE 16384] ")
    names = [f'/private/n{number} "x"' for number in range(DEFAULT_LIMITS.annotations)]
    client.run(f"SETMETADATA INBOX ({' '.join(names)})")
    answer = client.ask(b'b SETMETADATA INBOX (/private/n0 "changed" /private/more "x")\r\n')
    assert answer.startswith(b"b NO [METADATA TOOMANY] ")
    assert b'(/private/n0 "x")' in client.run("GETMETADATA INBOX /private/n0")
    client.run('SETMETADATA INBOX (/private/n0 NIL /private/more "x")')


def test_large_values_have_a_bound_together(imap: Imap) -> None:
    client = imap.sign_in()
    refused = 0
    for number in range(DEFAULT_LIMITS.annotations_bytes // 16000 + 2):
        answer = client.ask(b"a SETMETADATA INBOX (/shared/n%d {16000+}\r\n%b)\r\n" % (number, b"x" * 16000))
        refused += answer.startswith(b"a NO [METADATA TOOMANY] ")
    assert refused


@pytest.mark.parametrize(
    "arguments",
    ["INBOX", "INBOX ()", "INBOX comment", "INBOX /comment", "INBOX /other/comment", "INBOX /private/a*",
     "INBOX /private/", "INBOX /private//a", "INBOX (DEPTH 2) /private/a", "INBOX (SIZE 1) /private/a",
     "INBOX (DEPTH 1 /private/a)", "(DEPTH 1) INBOX (DEPTH 1) /private/a", "INBOX /private/" + "x" * 250],
)  # fmt: skip
def test_malformed(imap: Imap, arguments: str) -> None:
    client = imap.sign_in()
    assert client.ask(f"a GETMETADATA {arguments}\r\n".encode()).startswith(b"a BAD ")
    assert client.ask(b"b SETMETADATA INBOX (/private/a)\r\n").startswith(b"b BAD ")
    assert client.ask(b"c SETMETADATA INBOX /private/a x\r\n").startswith(b"c BAD ")


def test_annotations_follow_a_rename_and_end_with_the_mailbox(imap: Imap) -> None:
    client = imap.sign_in()
    client.run("CREATE One")
    client.run('SETMETADATA One (/shared/comment "x")')
    client.run("RENAME One Two")
    assert b'(/shared/comment "x")' in client.run("GETMETADATA Two /shared/comment")
    client.run("DELETE Two")
    client.run("CREATE Two")
    assert b"comment" not in client.run("GETMETADATA Two /shared/comment").partition(b"t OK")[0]


@pytest.fixture
def pair(services: MailServices) -> Iterator[tuple[Imap, Imap]]:
    """Two users of a tenant."""
    tenant = make_tenant(services)
    users = tuple(Imap(services, make_user(services, tenant=tenant)) for _ in range(2))
    yield users  # type: ignore[misc]
    for user in users:
        for client in user.clients.values():
            client.close()


def test_with_rights(pair: tuple[Imap, Imap]) -> None:
    """RFC 5464 §5.1: what is shared both see, who may write; what is private nobody else."""
    fred, ann = pair
    owner, guest = fred.sign_in(), ann.sign_in()
    name = f"Shared/{fred.user.address}/INBOX"
    owner.run('SETMETADATA INBOX (/private/comment "Fred\'s" /shared/comment "all")')
    assert guest.ask(f"a GETMETADATA {name} /shared/comment\r\n".encode()).startswith(b"a NO [NONEXISTENT] ")
    owner.run(f"SETACL INBOX {ann.user.address} lr")
    answer = guest.run(f"GETMETADATA {name} (/shared/comment /private/comment)")
    assert b'(/shared/comment "all")' in answer
    guest.run(f'SETMETADATA {name} (/private/comment "Ann\'s")')
    assert guest.ask(f'a SETMETADATA {name} (/shared/comment "x")\r\n'.encode()).startswith(b"a NO [NOPERM] ")
    assert b'"Fred\'s"' in owner.run("GETMETADATA INBOX /private/comment")
    assert b'"Ann\'s"' in guest.run(f"GETMETADATA {name} /private/comment")
    owner.run(f"SETACL INBOX {ann.user.address} lrw")
    guest.run(f'SETMETADATA {name} (/shared/comment "both")')
    assert b'"both"' in owner.run("GETMETADATA INBOX /shared/comment")
