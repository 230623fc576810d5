"""Attacks through the whole server, each with a look that it arrived, and one that a hole would be seen.

N5 and M1 are in test_hostile.py, N1 to N3 in test_lmtp.py and test_imap_clients.py; M2 and T10 need no server.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import imapclient
import pytest

from mailcore.errors import FlagInvalid, MailboxNameInvalid
from mailcore.imap.wire import mailbox_name, responses
from mailcore.message import body_structure, envelope
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.system import altered_server
from tests.system.servers import RunningServer, environment_of, start
from tests.system.strict_imap import HOST, StrictImap, read_responses
from tests.system.test_hostile import bounded
from tests.transcripts.imap.dialogue import Imap
from tests.unit.message.imap_grammar import GrammarFault

# -- N6: lines and nesting ----------------------------------------------------------------------

HEAVY = {
    "line of 200 kB": b"NOOP " + b"x" * 200_000,
    "60,000 parentheses": b"SEARCH " + b"(" * 60_000,
    "NOT chain": b"SEARCH " + b"NOT " * 15_000 + b"ALL",
    "OR tree": b"SEARCH " + b"OR ALL " * 9_000 + b"ALL",
    "100,000 sets": b"FETCH " + b"1," * 100_000 + b"1 FLAGS",
    "deep part": b"FETCH 1:* (BODY[" + b"1." * 25_000 + b"1])",
    "pattern flood": b'LIST "" (' + b"* " * 20_000 + b"*)",
}
EACH_S = 0.05


def send_what_is_heavy(server: RunningServer, user: MadeUser) -> None:
    """All of it is answered BAD, and the connection goes on."""
    with StrictImap.signed_in(server.port("imap"), user, "INBOX") as client:
        for label, command in HEAVY.items():
            assert client.run(command)[-1].kind == b"BAD", label
            assert client.ok(b"NOOP") == [], label
    with StrictImap.signed_in(server.port("imap"), user, "INBOX") as client:
        client.send(b"a SEARCH" + b" SUBJECT {1+}\r\nx" * 1000 + b"\r\n")
        assert [one.kind for one in client.until(b"a")] == [b"BAD"]
        assert client.read().kind == b"BYE"


def test_heavy_commands_cost_little(mail_server: RunningServer, user: MadeUser) -> None:
    """Attack N6: all are BAD, less than 5 MB more, no RecursionError."""
    with StrictImap.signed_in(mail_server.port("imap"), user, "INBOX") as client:
        client.ok(b"SEARCH (NOT (OR ALL DELETED))")
    with bounded(mail_server, f"{len(HEAVY)} heavy commands", 5 * 1024):
        send_what_is_heavy(mail_server, user)
    assert mail_server.tracebacks() == []


@pytest.mark.soak
def test_heavy_commands_are_refused_in_no_time(mail_server: RunningServer, user: MadeUser) -> None:
    """Attack N6: 50 ms of CPU each, over 20 rounds."""
    before = mail_server.cpu_s()
    for _ in range(20):
        send_what_is_heavy(mail_server, user)
    assert mail_server.cpu_s() - before < EACH_S * len(HEAVY) * 20


def test_nesting_without_limit_would_be_seen(
    services: MailServices, user: MadeUser, directory_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """Negative control: search keys that call themselves as deep as the client likes."""
    environment = environment_of(directory_uri, redis_url, ["imap"])
    launcher = (*altered_server.LAUNCH, "search-depth")
    with start(["imap"], environment, tmp_path, launcher=launcher, tracebacks_expected=True) as server:
        with pytest.raises((AssertionError, EOFError)):
            send_what_is_heavy(server, user)
        assert any("RecursionError" in str(line) for line in server.tracebacks())


# -- N10: response injection --------------------------------------------------------------------

EVIL = [
    b"{5}", b"{5+}", b"x {3}\r\nabc", b"a\r\nb", b"a\rb", b"a\nb", b"a\0b", b'a"b', b'"', b"\\", b'a\\"b', b")", b"(a",
    b"a) BODY[] {10}", b"\r\n* 1 EXPUNGE", b"\r\n* BYE gone", b"NIL", b"~{5}", b"a]b", b"\xff\xfe", "é日本".encode(),
    b"%s%n", b"=?utf-8?q?=0D=0A*_1_EXPUNGE?=", b"=?utf-8?b?Iik=?=", b"\x7f\x1b[2J", b"]] [[", b"a" * 10_000 + b'"',
]  # fmt: skip
FIELDS: list[bytes] = [
    b"Subject: %b", b"From: %b", b"From: %b <a@b.c>", b'From: "%b" <a@b.c>', b"To: <%b>", b"Cc: g:%b;",
    b"Message-ID: %b", b"In-Reply-To: %b", b"Date: %b", b"Content-Type: %b", b"Content-Type: text/%b",
    b'Content-Type: text/plain; name="%b"', b"Content-Type: text/plain; name*=utf-8''%b",
    b"Content-Type: text/plain; %b=x", b"Content-ID: %b",
    b"Content-Description: %b", b'Content-Disposition: attachment; filename="%b"', b"Content-Disposition: %b",
    b"Content-Language: %b", b"Content-Location: %b", b"Content-MD5: %b", b"Content-Transfer-Encoding: %b",
]  # fmt: skip
READ_ALL = (
    b"FETCH %d:%d (UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE BODY RFC822.HEADER"
    b" BODY.PEEK[HEADER.FIELDS (Subject From Content-Type)] BODY.PEEK[1] BODY.PEEK[])"
)


def evil_messages() -> list[bytes]:
    """Each string in each field, alone and within a part."""
    plain = [field % evil + b"\r\n\r\nbody\r\n" for field, evil in itertools.product(FIELDS, EVIL)]
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    parts = [b"".join(b"--b\r\n" + field % evil + b"\r\n\r\nx\r\n" for field in FIELDS) for evil in EVIL]
    return plain + [head + part + b"--b--\r\n" for part in parts]


@pytest.mark.timeout(180)
def test_no_header_makes_a_response_that_reads_otherwise(
    mail_server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Attack N10: two parsers read everything, and stay in step."""
    raws = evil_messages()
    with StrictImap.signed_in(mail_server.port("imap"), user) as client:
        for at in range(0, len(raws), 50):
            batch = raws[at : at + 50]
            for number, raw in enumerate(batch):
                client.send(b"a%d APPEND INBOX {%d+}\r\n%b\r\n" % (number, len(raw), raw))
            for number in range(len(batch)):
                assert client.until(b"a%d" % number)[-1].kind == b"OK"
        client.ok(b"SELECT INBOX")
        for at in range(0, len(raws), 50):
            batch = raws[at : at + 50]
            found = client.ok(READ_ALL % (at + 1, at + len(batch)))
            assert [one.number for one in found] == list(range(at + 1, at + len(batch) + 1))
            assert [one.value[b"BODY[]"] for one in found] == batch, "the attack arrived as it was meant"
        assert client.ok(b"NOOP") == []
    with imapclient.IMAPClient(HOST, mail_server.port("imap"), ssl=False, timeout=60) as other:
        other.login(user.address, user.password)
        other.select_folder("INBOX")
        uids = other.search()
        for at in range(0, len(uids), 100):
            batch = uids[at : at + 100]
            found = other.fetch(batch, ["ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822.SIZE"])
            assert [found[uid][b"RFC822.SIZE"] for uid in batch] == [len(raw) for raw in raws[at : at + 100]]
        assert other.noop()[0].startswith(b"Completed")


def naive_string(value: bytes, **_: object) -> bytes:
    """What a server writes that trusts its input."""
    return b'"' + value + b'"'


def test_header_written_as_it_is_would_be_seen(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the same messages, with strings that are only put in quotes."""
    imap = Imap(services, user)
    monkeypatch.setattr(envelope, "imap_nstring", lambda value: b"NIL" if value is None else naive_string(value))
    monkeypatch.setattr(envelope, "imap_string", naive_string)
    monkeypatch.setattr(body_structure, "imap_string", naive_string)
    monkeypatch.setattr(body_structure, "imap_nstring", lambda value: b"NIL" if value is None else naive_string(value))
    imap.append(b'Subject: a"b\r\n\r\n', b'Content-Description: a"b\r\n\r\n', b"Subject: fine\r\n\r\n")
    client = imap.sign_in(select="INBOX")
    for number, items in ((1, b"ENVELOPE"), (2, b"BODYSTRUCTURE")):
        with pytest.raises(GrammarFault):
            read_responses(client.ask(b"a FETCH %d %b\r\n" % (number, items)))
    assert read_responses(client.ask(b"a FETCH 3 (ENVELOPE BODYSTRUCTURE)\r\n"))[-1].kind == b"OK"


def test_no_mailbox_name_makes_a_response_that_reads_otherwise(
    mail_server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Attack N10; a name arrives as a literal, so nothing of it is lost on the way."""
    made = []
    with StrictImap.signed_in(mail_server.port("imap"), user) as client:
        for evil in EVIL:
            literal = b"{%d+}\r\n%b" % (len(evil), evil)
            done = client.run(b"CREATE " + literal)[-1]
            if any(byte < 32 or byte > 126 for byte in evil) or len(evil) > 255:
                assert (done.kind, done.code) == (b"NO", b"CANNOT"), evil
                assert client.run(b"SELECT " + literal)[-1].kind == b"NO"
                continue
            assert done.kind == b"OK", evil
            made.append(evil)
            client.ok(b"SUBSCRIBE " + literal)
            client.ok(b"SELECT " + literal)
            (status,) = client.ok(b"STATUS " + literal + b" (MESSAGES UIDNEXT)")
            assert status.value == (evil, {b"MESSAGES": 0, b"UIDNEXT": 1})
        listed = {one.value[1] for one in client.ok(b'LIST "" *')}
        assert listed >= set(made)
        assert {one.value[1] for one in client.ok(b'LSUB "" *')} >= set(made)
        returned = client.ok(b'LIST "" * RETURN (STATUS (MESSAGES))')
        assert {one.value[1] for one in returned if one.kind == b"LIST"} == listed
        assert {one.value[0] for one in returned if one.kind == b"STATUS"} == listed
    with imapclient.IMAPClient(HOST, mail_server.port("imap"), ssl=False, timeout=60) as other:
        other.login(user.address, user.password)
        assert {name.encode() for _, _, name in other.list_folders()} == listed
    assert len(made) > 10
    for name in ("a\r\nb", "a\0b", "a\x7fb", "a\u2028b"):
        with pytest.raises(MailboxNameInvalid):
            services.mailboxes.create(user.user_id, OPERATOR, name)


def test_mailbox_name_written_as_it_is_would_be_seen(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    services.mailboxes.create(user.user_id, OPERATOR, 'a"b')
    client = Imap(services, user).sign_in()
    assert read_responses(client.ask(b'a LIST "" *\r\n'))
    monkeypatch.setattr(responses, "string", naive_string)
    with pytest.raises(GrammarFault):
        read_responses(client.ask(b'a LIST "" *\r\n'))


def test_no_keyword_makes_a_response_that_reads_otherwise(
    mail_server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Attack N10: by every door, a keyword is an atom or is refused."""
    with StrictImap.signed_in(mail_server.port("imap"), user) as client:
        assert client.append(b"Subject: x\r\n\r\n").kind == b"OK"
        client.ok(b"SELECT INBOX")
        inbox = services.mailboxes.find(user.user_id, "INBOX").id
        accepted = set()
        for evil in EVIL:
            if b"\n" not in evil and not evil.endswith((b"}", b"+}")):
                done = client.run(b"STORE 1 +FLAGS (" + evil + b")")[-1]
                assert done.kind in {b"OK", b"BAD", b"NO"}, evil
                if done.kind == b"OK":
                    accepted.add(evil)
            try:
                flags = FlagSet(0, (evil.decode("latin-1"),))
                services.messages.store(user.user_id, OPERATOR, inbox, UidSet.of([1]), FlagOperation.ADD, flags)
            except FlagInvalid:
                continue
            accepted.add(evil)
        client.ok(b"NOOP")
        (fetched,) = client.ok(b"FETCH 1 FLAGS")
        assert {name.lower() for name in fetched.value[b"FLAGS"]} == {name.lower() for name in accepted}
        selected = client.ok(b"SELECT INBOX")
        assert accepted <= {name for one in selected if one.kind == b"FLAGS" for name in one.value}
    assert accepted == {b"NIL", b"=?utf-8?b?Iik=?="}


def test_words_of_the_client_come_back_as_words(
    mail_server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Attack N10: tags, unknown commands, charsets, field names, dates beyond the calendar."""
    with StrictImap.signed_in(mail_server.port("imap"), user) as client:
        early, late = b'"01-Jan-0001 00:00:00 +1400"', b'"31-Dec-9999 23:59:60 -1400"'
        for date in (early, late):
            assert client.run(b"APPEND INBOX %b {12+}\r\nSubject: x\r\n" % date)[-1].kind in {b"OK", b"NO", b"BAD"}
        assert client.append(b"Subject: x\r\nA(b: y\r\n\r\n").kind == b"OK"
        client.ok(b"SELECT INBOX")
        assert client.ok(b"FETCH 1:* (INTERNALDATE ENVELOPE)")
        for evil in EVIL:
            literal = b"{%d+}\r\n%b" % (len(evil), evil)
            for command in (
                b"FETCH 1:* BODY.PEEK[HEADER.FIELDS (%b)]", b"FETCH 1:* BODY.PEEK[HEADER.FIELDS.NOT (x %b)]",
                b"SEARCH CHARSET %b ALL", b"SEARCH HEADER %b x", b"SEARCH SUBJECT %b", b'LIST %b ""', b'LIST "" %b',
                b"ID (%b NIL)", b"STATUS %b (MESSAGES)", b"RENAME %b x", b"ENABLE %b", b"SELECT %b", b"XYZZY %b",
            ):  # fmt: skip
                done = client.run(command % literal)[-1]
                assert done.kind in {b"OK", b"NO", b"BAD"}
                if done.kind == b"NO" and command.startswith(b"SELECT"):
                    client.ok(b"SELECT INBOX")
            assert client.ok(b"NOOP") == []
    assert mail_server.tracebacks() == []


# -- W20: names that mean to go elsewhere -------------------------------------------------------

PLAIN_NAMES = [
    b"..", b"../x", b"../../../../../../etc/passwd", b"INBOX/../Sent Mail", b"~root", b"~user/x", b"#shared/x",
    b"#news.comp.mail", b"$HOME", b"`id`", b"C:\\windows", b"a%b", b"a*b", b".", b"...", b"x.lock", b"&-",
]  # fmt: skip
NO_NAMES = [
    b"/etc/passwd", b"a//b", b"//", b"/", b"", b"a\0b", b"a/\0/b", b"&AEE-", b"&AGE-b", b"x&", b"&", b"&AAA-", b"&2D0-",
    b"&!!!-", b"&AOQ-&AOQ-", b"&AOQ", b"&AAo-", b"/".join([b"x"] * 10_000), b"x" * 5_000, b"/" * 10_000,
    "ä".encode(), b"&AOQ-/" * 40 + b"x",
]  # fmt: skip


def quoted(name: bytes) -> bytes:
    return b"{%d+}\r\n%b" % (len(name), name)


def names_of(services: MailServices, user: MadeUser) -> list[str]:
    return [entry.name for entry in services.mailboxes.tree(user.user_id)]


def change_all(client: StrictImap, names: list[bytes]) -> None:
    """Every command that takes a name, on every name, each of which can be had."""
    for name in names:
        client.ok(b"CREATE " + quoted(name))
        assert client.append(b"Subject: x\r\n\r\n", quoted(name)).kind == b"OK"
        client.ok(b"SELECT " + quoted(name))
        client.ok(b"UID COPY 1 " + quoted(name))
        client.ok(b"SUBSCRIBE " + quoted(name))
        client.ok(b"UNSUBSCRIBE " + quoted(name))
        client.ok(b"RENAME " + quoted(name) + b" " + quoted(name + b"-"))
        client.ok(b"RENAME " + quoted(name + b"-") + b" " + quoted(name))


def refuse_all(client: StrictImap, names: list[bytes]) -> None:
    """None of these is a name."""
    for name in names:
        for command in (b"CREATE %b", b"SELECT %b", b"DELETE %b", b"SUBSCRIBE %b", b"RENAME INBOX %b"):
            done = client.run(command % quoted(name))[-1]
            assert (done.kind, done.code) == (b"NO", b"CANNOT"), (name[:80], command, done)
        assert client.append(b"Subject: x\r\n\r\n", quoted(name)).kind == b"NO"


def test_no_name_leads_elsewhere(services: MailServices, directory_uri: str, redis_url: str, tmp_path: Path) -> None:
    """Attack W20: a name is a name of the user's own mailboxes, and touches no file."""
    tenant = make_tenant(services)
    user, colleague = (make_user(services, tenant=tenant) for _ in range(2))
    stranger = make_user(services)
    for other in (colleague, stranger):
        services.mailboxes.create(other.user_id, OPERATOR, "secret")
    before = [names_of(services, other) for other in (colleague, stranger)]
    elsewhere = ["secret", f"../{stranger.address}/secret", f"~{colleague.address}/secret", f"#{stranger.user_id}"]
    environment = environment_of(directory_uri, redis_url, ["imap"])
    launcher = (*altered_server.LAUNCH, "files")
    with (
        start(["imap"], environment, tmp_path, launcher=launcher) as server,
        StrictImap.signed_in(server.port("imap"), user) as client,
    ):
        own = {one.value[1] for one in client.ok(b'LIST "" *')}
        change_all(client, [b"&AOQ-"])
        client.ok(b"DELETE &AOQ-")
        seen = server.events("file")
        assert seen, "opening files is told of"
        change_all(client, PLAIN_NAMES)
        refuse_all(client, NO_NAMES)
        for name in elsewhere:
            for command in (b"SELECT %b", b"STATUS %b (MESSAGES)", b"DELETE %b", b"RENAME %b taken"):
                done = client.run(command % quoted(name.encode()))[-1]
                assert (done.kind, done.code) == (b"NO", b"NONEXISTENT"), (name, done)
        listed = {one.value[1] for one in client.ok(b'LIST "" *') if b"\\NonExistent" not in one.value[0]}
        assert listed == own | set(PLAIN_NAMES)
        assert server.events("file") == seen
    assert [names_of(services, other) for other in (colleague, stranger)] == before


def test_second_spelling_of_a_name_would_be_seen(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: modified UTF-7 that is read without asking whether it is canonical."""
    client = Imap(services, user).sign_in()
    assert b"a NO [CANNOT]" in client.ask(b"a CREATE &AEE-\r\n")
    strict = mailbox_name.decode_utf7

    def lenient(encoded: bytes) -> str:
        try:
            return strict(encoded)
        except MailboxNameInvalid:
            return "".join(mailbox_name._shifted(match[1]) for match in mailbox_name._SHIFTED.finditer(encoded))

    monkeypatch.setattr(mailbox_name, "decode_utf7", lenient)
    assert b"a OK" in client.ask(b"a CREATE &AEE-\r\n")
    assert names_of(services, user).count("A") == 1
