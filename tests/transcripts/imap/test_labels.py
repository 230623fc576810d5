r"""X-GM-LABELS as Gmail documents it: labels are the other mailboxes of a message; no message goes for want of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import monitoring

from mailcore import fault
from mailcore.model.flags import FlagSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.label_changes import LabelChanges
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user
from tests.transcripts.imap.dialogue import Imap


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    fault.install({})


def subjects(services: MailServices, user: MadeUser, name: str) -> list[bytes]:
    """What is in a mailbox, by subject."""
    view = services.mailboxes.open(user.user_id, name)
    oids = [view.message_oid(row) for row in range(view.exists)]
    contents = services.content.open_many(user.user_id, oids)
    return [b"".join(found.read()).partition(b"\r\n")[0].removeprefix(b"Subject: ") for found in contents]


def places(imap: Imap, subject: bytes) -> list[str]:
    """In which mailboxes a message lies, once for each copy."""
    services, user = imap.services, imap.user
    return [
        entry.name
        for entry in services.mailboxes.tree(user.user_id)
        for found in subjects(services, user, entry.name)
        if found == subject
    ]


def messages(*names: bytes) -> list[bytes]:
    return [b"Subject: %b\r\n\r\n%b\r\n" % (name, name) for name in names]


def test_labels_are_told_added_and_taken_away(imap: Imap) -> None:
    imap.append(*messages(b"a", b"b"))
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a1 FETCH 1:2 (X-GM-LABELS)
        S: * 1 FETCH (X-GM-LABELS ())
        S: * 2 FETCH (X-GM-LABELS ())
        S: a1 OK FETCH completed
        C: a2 STORE 1 +X-GM-LABELS (Work "two words" \Sent)
        S: * 1 FETCH (X-GM-LABELS (\Sent Work "two words"))
        S: a2 OK STORE completed
        C: a3 STORE 1 +X-GM-LABELS (Work)
        S: * 1 FETCH (X-GM-LABELS (\Sent Work "two words"))
        S: a3 OK STORE completed
        C: a4 UID STORE 2 +X-GM-LABELS.SILENT Work
        S: a4 OK STORE completed
        C: a5 UID FETCH 1:* (FLAGS X-GM-LABELS)
        S: * 1 FETCH (UID 1 FLAGS () X-GM-LABELS (\Sent Work "two words"))
        S: * 2 FETCH (UID 2 FLAGS () X-GM-LABELS (Work))
        S: a5 OK FETCH completed
        C: a6 FETCH 2 (X-GM-LABELS UID BODY.PEEK[HEADER.FIELDS (SUBJECT)] RFC822.SIZE)
        S: * 2 FETCH (UID 2 RFC822.SIZE 17 X-GM-LABELS (Work) BODY[HEADER.FIELDS (SUBJECT)] {14}
        S: Subject: b
        S:
        S: )
        S: a6 OK FETCH completed
        C: a7 FETCH 2 (X-GM-LABELS BODY.PEEK[TEXT])
        S: * 2 FETCH (X-GM-LABELS (Work) BODY[TEXT] {3}
        S: b
        S: )
        S: a7 OK FETCH completed
        C: a8 UID STORE 1 -X-GM-LABELS ("two words" \Sent)
        S: * 1 FETCH (UID 1 X-GM-LABELS (Work))
        S: a8 OK STORE completed
        C: a9 LIST "" "two words" RETURN (SUBSCRIBED STATUS (MESSAGES))
        S: * LIST (\HasNoChildren \Subscribed) "/" "two words"
        S: * STATUS "two words" (MESSAGES 0)
        S: a9 OK LIST completed
        """)
    assert places(imap, b"a") == ["INBOX", "Work"]
    assert subjects(imap.services, imap.user, "Work") == [b"a", b"b"]
    imap.clients[""].run("SELECT Work")
    imap.transcript(r"""
        C: b1 FETCH 1 (X-GM-LABELS)
        S: * 1 FETCH (X-GM-LABELS (\Inbox))
        S: b1 OK FETCH completed
        """)


def test_replacing_leaves_the_mailbox_itself_alone(imap: Imap) -> None:
    imap.append(*messages(b"a"))
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a1 STORE 1 X-GM-LABELS (one two \Starred)
        S: * 1 FETCH (X-GM-LABELS (one two \Starred))
        S: * 1 FETCH (UID 1 FLAGS (\Flagged))
        S: a1 OK STORE completed
        C: a2 STORE 1 X-GM-LABELS (two three \Important)
        S: * 1 FETCH (X-GM-LABELS (three two \Important))
        S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Important)
        S: * OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft $Important \*)] Flags permitted
        S: * 1 FETCH (UID 1 FLAGS ($Important))
        S: a2 OK STORE completed
        C: a3 STORE 1 X-GM-LABELS ()
        S: * 1 FETCH (X-GM-LABELS ())
        S: * 1 FETCH (UID 1 FLAGS ())
        S: a3 OK STORE completed
        """)
    assert places(imap, b"a") == ["INBOX"]


def test_who_takes_the_last_label_away_archives(imap: Imap) -> None:
    imap.append(*messages(b"a", b"b", b"c"))
    imap.sign_in("1", select="INBOX")
    imap.sign_in("2", select="INBOX")
    imap.transcript(r"""
        C1: a1 STORE 2 +X-GM-LABELS (kept)
        S1: * 2 FETCH (X-GM-LABELS (kept))
        S1: a1 OK STORE completed
        C1: a2 STORE 1:2 -X-GM-LABELS (\Inbox)
        S1: a2 OK STORE completed
        C2: b1 NOOP
        S2: * 1 EXPUNGE
        S2: * 1 EXPUNGE
        S2: b1 OK …
        C1: a3 NOOP
        S1: * 1 EXPUNGE
        S1: * 1 EXPUNGE
        S1: a3 OK …
        C1: a4 UID STORE 3 -X-GM-LABELS.SILENT ("\\Inbox")
        S1: * 1 EXPUNGE
        S1: a4 OK STORE completed
        """)
    assert [places(imap, name) for name in (b"a", b"b", b"c")] == [["Archive"], ["kept"], ["Archive"]]
    imap.clients["1"].run("SELECT Archive")
    imap.clients["2"].take()
    imap.transcript(r"""
        C1: c1 STORE 1 -X-GM-LABELS (Archive)
        S1: * 1 FETCH (X-GM-LABELS ())
        S1: c1 OK STORE completed
        C1: c2 STORE 1 +X-GM-LABELS (\Inbox)
        S1: * 1 FETCH (X-GM-LABELS (\Inbox))
        S1: c2 OK STORE completed
        C1: c3 UID STORE 1 -X-GM-LABELS (Archive)
        S1: * 1 EXPUNGE
        S1: c3 OK STORE completed
        """)
    assert places(imap, b"a") == ["INBOX"]


def test_trash_and_spam_move_and_a_copy_in_them_keeps_nothing(imap: Imap) -> None:
    imap.append(*messages(b"a", b"b", b"c"))
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a1 UID STORE 1 +X-GM-LABELS.SILENT (one two)
        S: a1 OK STORE completed
        C: a2 UID STORE 1 +X-GM-LABELS (\Trash)
        S: * 1 EXPUNGE
        S: a2 OK STORE completed
        C: a3 UID STORE 2 X-GM-LABELS (\Junk)
        S: * 1 EXPUNGE
        S: a3 OK STORE completed
        C: a4 UID COPY 3 Trash
        S: a4 OK …
        C: a5 UID STORE 3 -X-GM-LABELS (\Inbox)
        S: * 1 EXPUNGE
        S: a5 OK STORE completed
        """)
    assert [places(imap, name) for name in (b"a", b"b", b"c")] == [["Trash"], ["Junk"], ["Archive", "Trash"]]
    imap.clients[""].run("SELECT Trash")
    imap.transcript(r"""
        C: b1 UID STORE 1 -X-GM-LABELS (\Trash)
        S: * 1 EXPUNGE
        S: b1 OK STORE completed
        """)
    assert places(imap, b"a") == ["Archive"]


def test_names_are_those_of_the_session(imap: Imap) -> None:
    imap.append(*messages(b"a"))
    client = imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a1 STORE 1 +X-GM-LABELS (B&APw-ro)
        S: * 1 FETCH (X-GM-LABELS (B&APw-ro))
        S: a1 OK STORE completed
        C: a2 SEARCH X-GM-LABELS B&APw-ro
        S: * SEARCH 1
        S: a2 OK SEARCH completed
        C: a3 STORE 1 +X-GM-LABELS (B&-&)
        S: a3 NO [CANNOT] Not a mailbox name
        C: a4 STORE 1 +X-GM-LABELS (\Nonsense)
        S: a4 BAD unknown system label
        C: a5 STORE 1 +X-GM-LABELS
        S: a5 BAD space expected
        """)
    client.run("ENABLE UTF8=ACCEPT")
    answer = client.ask('b STORE 1 +X-GM-LABELS ("Grün")\r\n'.encode())
    assert answer.splitlines()[0] == '* 1 FETCH (X-GM-LABELS ("Büro" "Grün"))'.encode()


def test_searching(imap: Imap) -> None:
    imap.append(*messages(b"a", b"b", b"c"), NewMessage(messages(b"d")[0], FlagSet(4)))
    client = imap.sign_in(select="INBOX")
    client.run("STORE 2:3 +X-GM-LABELS (Work)")
    imap.transcript(r"""
        C: a1 SEARCH X-GM-LABELS Work
        S: * SEARCH 2 3
        S: a1 OK SEARCH completed
        C: a2 SEARCH NOT X-GM-LABELS "Work" NOT X-GM-LABELS "\\Starred"
        S: * SEARCH 1
        S: a2 OK SEARCH completed
        C: a3 UID SEARCH OR X-GM-LABELS "\\Inbox" X-GM-LABELS nowhere
        S: * SEARCH 1 2 3 4
        S: a3 OK SEARCH completed
        C: a4 SEARCH X-GM-LABELS "\\Sent"
        S: * SEARCH
        S: a4 OK SEARCH completed
        C: a5 SORT (REVERSE SUBJECT) UTF-8 X-GM-LABELS Work
        S: * SORT 3 2
        S: a5 OK SORT completed
        """)


def test_unchanged_since_leaves_what_others_changed(imap: Imap) -> None:
    """RFC 7162 §3.1.3."""
    imap.append(*messages(b"a", b"b"))
    imap.sign_in(select="INBOX")
    client = imap.clients[""]
    told = re.search(rb"STATUS INBOX .HIGHESTMODSEQ (\d+)", client.run("STATUS INBOX (HIGHESTMODSEQ)"))
    assert told
    modseq = int(told[1])
    client.run("STORE 1 +FLAGS.SILENT (\\Flagged)")
    answer = client.ask(b"b UID STORE 1:2 (UNCHANGEDSINCE %d) -X-GM-LABELS (\\Inbox)\r\n" % modseq)
    assert b"b OK [MODIFIED 1] Conditional STORE failed" in answer
    assert (places(imap, b"a"), places(imap, b"b")) == (["INBOX"], ["Archive"])


def test_read_only_and_gone(imap: Imap) -> None:
    imap.append(*messages(b"a", b"b"))
    imap.sign_in("1", select="INBOX")
    other = imap.sign_in("2", select="INBOX")
    other.run("STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.run("EXPUNGE")
    imap.clients["1"].take()
    answer = imap.clients["1"].ask(b"a STORE 1:2 +X-GM-LABELS (x)\r\n")
    assert b"* 2 FETCH (X-GM-LABELS (x))" in answer
    assert b"a NO [EXPUNGEISSUED]" in answer
    other.run("EXAMINE INBOX")
    assert other.ask(b"b STORE 1 +X-GM-LABELS (x)\r\n").startswith(b"b NO [NOPERM]")
    assert other.ask(b"b FETCH 1 X-GM-LABELS\r\n").startswith(b"* 1 FETCH (X-GM-LABELS (x))")


# -- two at once ---------------------------------------------------------------------------------


def _race(imap: Imap) -> list[str]:
    """Two sessions take away each other's last label: each finds the other one still there."""
    imap.append(*messages(b"a"))
    first = imap.sign_in("1", select="INBOX")
    second = imap.sign_in("2", select="INBOX")
    first.run("STORE 1 +X-GM-LABELS (one)")
    once: list[bool] = []

    def meanwhile() -> None:
        if not once:
            once.append(True)
            second.run("UID STORE 1 -X-GM-LABELS (\\Inbox)")

    fault.install({"labels.before_expunge": meanwhile})
    first.run("UID STORE 1 -X-GM-LABELS (one)")
    assert once
    return places(imap, b"a")


def test_two_who_take_away_each_others_last_label_lose_nothing(imap: Imap) -> None:
    assert _race(imap) == ["Archive"]


def test_who_does_not_look_again_would_be_seen(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: nor marks what it takes away."""
    monkeypatch.setattr(LabelChanges, "_mark", lambda *_, **__: None)
    monkeypatch.setattr(LabelChanges, "_bring_back", lambda *_: None)
    assert _race(imap) == []


def test_who_expunges_without_a_mark_is_seen_by_the_second_look(imap: Imap) -> None:
    """Another's EXPUNGE of the last copy, just when the label goes that it was left for."""
    imap.append(*messages(b"a"))
    first, second = imap.sign_in("1", select="INBOX"), imap.sign_in("2", select="INBOX")
    first.run("STORE 1 +X-GM-LABELS (one)")

    def meanwhile() -> None:
        fault.install({})
        second.run("STORE 1 +FLAGS (\\Deleted)")
        second.run("EXPUNGE")

    fault.install({"labels.before_expunge": meanwhile})
    first.run("UID STORE 1 -X-GM-LABELS (one)")
    assert places(imap, b"a") == ["Archive"]


def _archived(imap: Imap) -> list[str]:
    imap.append(*messages(b"a"))
    imap.sign_in(select="INBOX").run("UID STORE 1:* -X-GM-LABELS (\\Inbox)")
    return places(imap, b"a")


def test_the_last_label_expunged_would_be_seen(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    assert _archived(imap) == ["Archive"]
    monkeypatch.setattr(LabelChanges, "_bring_back", lambda *_: None)
    monkeypatch.setattr(LabelChanges, "_archive", lambda _self, _chosen, _leaving, lonely: (None, lonely))
    imap.services.messages.expunge(
        imap.user.user_id, OPERATOR, imap.services.mailboxes.find(imap.user.user_id, "Archive").id, None, False
    )
    assert _archived(imap) == []


def test_discarding_what_another_archives_meanwhile_leaves_it_there(imap: Imap) -> None:
    imap.append(*messages(b"a"))
    first = imap.sign_in("1", select="INBOX")
    second = imap.sign_in("2", select="INBOX")
    first.run("STORE 1 +X-GM-LABELS (one)")
    move = imap.services.messages.move

    def later(*arguments: object, **named: object) -> object:
        imap.services.messages.__dict__.pop("move", None)
        second.run("UID STORE 1 -X-GM-LABELS (\\Inbox one)")
        return move(*arguments, **named)  # type: ignore[arg-type]

    imap.services.messages.__dict__["move"] = later
    first.run("UID STORE 1 +X-GM-LABELS (\\Trash)")
    assert places(imap, b"a") == ["Archive"]


# -- others' mailboxes, encryption ----------------------------------------------------------------


def test_in_a_shared_mailbox_only_what_one_may_see_and_do(services: MailServices) -> None:
    tenant = make_tenant(services)
    fred, ann = (Imap(services, make_user(services, tenant=tenant)) for _ in range(2))
    owner = fred.sign_in()
    fred.append(*messages(b"a"), mailbox="INBOX")
    for name in ("Team", "Secret"):
        services.mailboxes.create(fred.user.user_id, OPERATOR, name)
    owner.run("SELECT INBOX")
    owner.run("STORE 1 +X-GM-LABELS (Team Secret)")
    for name, rights in (("Team", "lrswite"), ("Archive", "lr")):
        owner.run(f"SETACL {name} {ann.user.address} {rights}")
    guest = ann.sign_in()
    shared = f"Shared/{fred.user.address}"
    guest.run(f"SELECT {shared}/Team")
    assert b"X-GM-LABELS ())" in guest.run("FETCH 1 X-GM-LABELS")
    owner.run(f"SETACL INBOX {ann.user.address} lrswite")
    assert b"X-GM-LABELS (\\Inbox))" in guest.run("FETCH 1 X-GM-LABELS")
    assert guest.ask(b"x STORE 1 +X-GM-LABELS (\\Inbox)\r\n").startswith(b"* 1 FETCH (X-GM-LABELS (\\Inbox))")
    assert b"x NO [NOPERM]" in guest.ask(b"x STORE 1 +X-GM-LABELS (Own)\r\n")
    assert b"x NO [NONEXISTENT]" in guest.ask(f"x STORE 1 +X-GM-LABELS ({shared}/New)\r\n".encode())
    guest.run(f"UID STORE 1 -X-GM-LABELS ({shared}/Team)")
    assert places(fred, b"a") == ["INBOX", "Secret"]
    owner.run("STORE 1 X-GM-LABELS ()")
    guest.run(f"SELECT {shared}/INBOX")
    assert b"x NO [NOPERM]" in guest.ask(b"x STORE 1 -X-GM-LABELS (\\Inbox)\r\n"), "the archive takes nothing from her"
    assert places(fred, b"a") == ["INBOX"]
    for client in (owner, guest):
        client.close()


def test_a_mailbox_that_encrypts_is_a_label_of_encrypted_mail_alone(imap: Imap) -> None:
    import pysequoia

    user, services = imap.user, imap.services
    key = str(pysequoia.Tsk.generate("Zoe <zoe@example.org>").extract_certificate())
    services.mailboxes.create(user.user_id, OPERATOR, "Vault")
    services.mailboxes.set_options(user.user_id, OPERATOR, "Vault", encrypts=True)
    services.encryptions.set(OPERATOR, user.user_id, {"pgp_key": key})
    sealed = b"Subject: b\r\nContent-Type: multipart/encrypted; boundary=x\r\n\r\n--x--\r\n"
    imap.append(*messages(b"a"), sealed)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a1 STORE 1 +X-GM-LABELS (Vault)
        S: a1 NO [CANNOT] Not a value that can be set
        C: a2 STORE 2 +X-GM-LABELS (Vault)
        S: * 2 FETCH (X-GM-LABELS (Vault))
        S: a2 OK STORE completed
        """)
    assert (places(imap, b"a"), places(imap, b"b")) == (["INBOX"], ["INBOX", "Vault"])


class Asked(monitoring.CommandListener):
    """How often the database is asked."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.count += event.command_name in {"find", "aggregate", "getMore"}

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


def test_all_messages_of_a_command_are_asked_for_at_once(directory_uri: str, shard_uris: dict[str, Any]) -> None:
    asked = Asked()
    monitoring.register(asked)
    services = make_services(directory_uri, shard_uris)
    monitoring._LISTENERS.command_listeners.remove(asked)
    imap = Imap(services, make_user(services))
    imap.fill(40)
    client = imap.sign_in(select="INBOX")
    client.run("STORE 1:40 +X-GM-LABELS.SILENT (one two three)")
    client.run("STORE 1:20 +X-GM-LABELS.SILENT (four \\Sent)")

    def cost(command: str) -> int:
        before = asked.count
        answer = client.run(command)
        assert b"one" in answer
        return asked.count - before

    client.run("FETCH 1 X-GM-LABELS")
    assert cost("FETCH 1 X-GM-LABELS") == cost("FETCH 1:40 X-GM-LABELS") <= 4
    assert cost("UID FETCH 1:* (UID X-GM-LABELS FLAGS)") <= 4
    client.close()
    services.close()


def test_it_is_not_announced(imap: Imap) -> None:
    """Clients that hear X-GM-EXT-1 expect all of Gmail (decision 31)."""
    assert b"X-GM" not in imap.sign_in().run("CAPABILITY")
