"""NOTIFY (RFC 5465): two sessions, one that changes things and one that is told, outside any command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.imap.commands import notify as notify_command
from mailcore.imap.notifications import APART_S
from mailcore.model.ids import MailboxName, UserId
from mailcore.model.limits import Limits
from mailcore.services import MailServices
from mailcore.services.mailboxes import notices
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.wiring import connect
from mailcore.store.mailbox.heads import Heads
from tests.builders import OPERATOR, make_tenant, make_user
from tests.transcripts.imap.dialogue import Client, Imap

MESSAGE = NewMessage(
    b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: Re: good morning\r\n\r\nHi\r\n"
)
ALL = "(MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)"


def listening(imap: Imap, groups: str, select: str | None = None, number: str = "1") -> Client:
    """A session that is told of these groups, whose clock says that nothing was told for long."""
    client = imap.sign_in(number, select)
    client.connection.session.clock = iter(range(0, 10**9, 1000)).__next__
    client.run(f"NOTIFY SET {groups}")
    return client


def told(client: Client) -> list[str]:
    """What a session is told now that it may have been woken."""
    client.notice()
    return client.take().decode().splitlines()


def elsewhere(services: MailServices) -> MailServices:
    """Another process, whose notices are lost."""
    return connect(services.settings)


# -- the RFC's examples -------------------------------------------------------------------------


def test_example_of_the_command(imap: Imap) -> None:
    """§3.1, with the events written as its grammar has them."""
    for name, count in (("Lists/Im2000", 0), ("Lists/Lemonade", 2), ("misc", 0)):
        imap.services.mailboxes.create(imap.user.user_id, OPERATOR, name)
        if count:
            imap.fill(count, mailbox=name)
    client = imap.sign_in()
    client.connection.session.clock = iter(range(0, 10**9, 1000)).__next__
    imap.names["fields"] = "body.peek[header.fields (from to subject)]"
    imap.names["both"] = "(MessageNew MessageExpunge)"
    imap.transcript(r"""
        C: b notify set status (selected (MessageNew (uid «fields») MessageExpunge)) (subtree Lists «both»)
        S: * STATUS Lists/Im2000 (UIDVALIDITY … UIDNEXT 1 MESSAGES 0)
        S: * STATUS Lists/Lemonade (UIDVALIDITY … UIDNEXT 3 MESSAGES 2)
        S: b OK NOTIFY completed
        """)
    client.run("SELECT INBOX")
    imap.fill(1, mailbox="Lists/Lemonade")
    assert len(lines := told(client)) == 1
    assert lines[0].startswith("* STATUS Lists/Lemonade (UIDVALIDITY ")
    assert lines[0].endswith(" UIDNEXT 4 MESSAGES 3)")
    imap.append(MESSAGE)
    client.notice()
    assert client.take() == (
        b"* 1 EXISTS\r\n"
        b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (from to subject)] {83}\r\n"
        b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: Re: good morning\r\n\r\n)\r\n"
    )
    imap.fill(1, mailbox="misc")
    assert told(client) == []
    imap.transcript("""
        C: d STATUS misc (UIDNEXT MESSAGES)
        S: * STATUS misc (UIDNEXT 2 MESSAGES 1)
        S: d OK STATUS completed
        C: e notify set (selected (MessageNew (uid) MessageExpunge)) (subtree Lists «both») (mailboxes misc «both»)
        S: e OK NOTIFY completed
        """)
    imap.fill(1, mailbox="misc")
    assert [line.partition("UIDNEXT")[2] for line in told(client)] == [" 3 MESSAGES 2)"]


def test_examples_of_groups_that_overlap(imap: Imap) -> None:
    """§6: what is told of a mailbox is what any group says; the selected one has its own."""
    client = listening(imap, "(mailboxes INBOX (Messagenew messageExpunge)) (personal (SubscriptionChange))")
    other = imap.sign_in("2")
    imap.append(MESSAGE)
    other.run("UNSUBSCRIBE INBOX")
    lines = told(client)
    assert lines[0] == '* LIST (\\HasNoChildren) "/" INBOX'
    assert lines[1].startswith("* STATUS INBOX (")
    client.run(
        "NOTIFY SET (selected (Messagenew (uid flags) messageExpunge))"
        " (personal (MessageNew FlagChange MessageExpunge))"
    )
    client.run("SELECT INBOX")
    other.run("SELECT INBOX")
    other.run("STORE 1 +FLAGS (\\Seen)")
    assert told(client) == []
    client.run("SELECT Drafts")
    other.run("STORE 1 -FLAGS (\\Seen)")
    assert [line.partition("UIDNEXT")[2] for line in told(client)] == [" 2 MESSAGES 1 UNSEEN 1)"]


# -- the selected mailbox -----------------------------------------------------------------------


def test_everything_in_the_selected_mailbox_is_told_at_once(imap: Imap) -> None:
    """§5.1 to §5.3, §6.1.1."""
    imap.fill(2)
    client = listening(imap, "(SELECTED (MessageNew MessageExpunge FlagChange))", "INBOX")
    other = imap.sign_in("2", "INBOX")
    other.run("STORE 2 +FLAGS ($Junk)")
    assert told(client)[-1] == "* 2 FETCH (UID 2 FLAGS ($Junk))"
    imap.append(MESSAGE)
    assert told(client) == ["* 3 EXISTS"]
    other.run("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.run("EXPUNGE")
    assert told(client) == ["* 1 EXPUNGE"]
    client.run("ENABLE QRESYNC")
    other.run("UID STORE 3 +FLAGS.SILENT (\\Deleted)")
    other.run("EXPUNGE")
    assert told(client) == ["* VANISHED 3"]


def test_removals_wait_for_a_command_where_numbers_are_to_stay(imap: Imap) -> None:
    """§6.1.2."""
    imap.fill(2, deleted={1})
    client = listening(imap, "(SELECTED-DELAYED (MessageNew (FLAGS) MessageExpunge FlagChange))", "INBOX")
    imap.services.messages.expunge(imap.user.user_id, OPERATOR, client.connection.session.mailbox.mailbox_id, None)
    assert told(client) == []
    imap.append(MESSAGE)
    assert told(client) == ["* 3 EXISTS", "* 3 FETCH (UID 3 FLAGS ())"]
    imap.transcript("""
        C1: a FETCH 2 UID
        S1: * 2 FETCH (UID 2)
        S1: a OK FETCH completed
        C1: b IDLE
        S1: + idling
        S1: * 1 EXPUNGE
        C1: DONE
        S1: b OK IDLE completed
        """)
    imap.append(MESSAGE)
    imap.transcript("""
        C1: c NOOP
        S1: * 3 EXISTS
        S1: * 3 FETCH (UID 4 FLAGS ())
        S1: c OK Completed
        """)


@pytest.mark.parametrize("enabled", ["CONDSTORE", "QRESYNC"])
def test_new_messages_come_with_their_modseq_once_it_is_enabled(imap: Imap, enabled: str) -> None:
    """RFC 7162 §3.1; it comes once, also where it was asked for."""
    for number, fields in enumerate(("UID FLAGS", "UID FLAGS MODSEQ"), 1):
        groups = f"(SELECTED (MessageNew ({fields}) MessageExpunge FlagChange))"
        client = listening(imap, groups, number=str(number))
        client.run(f"ENABLE {enabled}")
        client.run("SELECT INBOX")
        imap.append(MESSAGE)
        [_, fetched] = told(client)
        assert re.fullmatch(r"\* \d FETCH \(UID \d FLAGS \(\) MODSEQ \(\d+\)\)", fetched), fetched


def test_new_messages_do_not_become_seen(imap: Imap) -> None:
    """§5.2: what the client fetches so, it has not read."""
    client = listening(imap, "(selected (MessageNew (UID BODY[TEXT]) MessageExpunge FlagChange))", "INBOX")
    imap.append(MESSAGE)
    client.notice()
    assert client.take() == b"* 1 EXISTS\r\n* 1 FETCH (UID 1 BODY[TEXT] {4}\r\nHi\r\n)\r\n"
    assert client.run("FETCH 1 FLAGS").startswith(b"* 1 FETCH (FLAGS ())")


@pytest.mark.parametrize("groups", ["SET (selected NONE)", "SET (personal (MailboxName))", "NONE"])
def test_who_wants_to_hear_nothing_keeps_a_snapshot(imap: Imap, groups: str) -> None:
    """§3.1, §5: without SELECTED nothing that others do there is told, not even by NOOP; what the client does is."""
    imap.fill(2)
    client = imap.sign_in("1", "INBOX")
    client.run(f"NOTIFY {groups}")
    imap.append(MESSAGE)
    assert told(client) == []
    imap.transcript("""
        C1: a NOOP
        S1: a OK Completed
        C1: b IDLE
        S1: + idling
        C1: DONE
        S1: b OK IDLE completed
        """)
    client.run("NOTIFY SET (selected (MessageNew MessageExpunge))")
    imap.append(MESSAGE)
    assert told(client) == ["* 4 EXISTS"]


def test_setting_it_tells_what_has_gathered(imap: Imap) -> None:
    """§3.1: it is a NOOP too."""
    client = imap.sign_in("1", "INBOX")
    imap.append(MESSAGE)
    assert client.run("NOTIFY SET (selected (MessageNew MessageExpunge))") == b"* 1 EXISTS\r\nt OK NOTIFY completed\r\n"


def test_a_mailbox_selected_later_is_heard_of(imap: Imap) -> None:
    client = listening(imap, "(selected (MessageNew MessageExpunge))")
    client.run("SELECT Drafts")
    imap.fill(1, mailbox="Drafts")
    assert told(client) == ["* 1 EXISTS"]
    client.run("SELECT INBOX")
    imap.fill(1, mailbox="Drafts")
    assert told(client) == []


def test_flags_are_kept_silent_where_they_were_not_asked_for(imap: Imap) -> None:
    """But for what the client's own FETCH does."""
    imap.fill(2)
    client = listening(imap, "(selected (MessageNew MessageExpunge))", "INBOX")
    imap.sign_in("2", "INBOX").run("STORE 2 +FLAGS (\\Flagged)")
    assert told(client) == []
    assert client.run("NOOP") == b"t OK Completed\r\n"
    assert b"* 1 FETCH (UID 1 FLAGS (\\Seen))" in client.run("UID FETCH 1 BODY[]")


def test_idle_tells_the_same(imap: Imap) -> None:
    """§4."""
    client = listening(
        imap, "(selected (MessageNew (UID) MessageExpunge)) (personal (MessageNew MessageExpunge))", "INBOX"
    )
    client.ask(b"a IDLE\r\n")
    imap.append(MESSAGE)
    imap.fill(1, mailbox="Drafts")
    lines = told(client)
    assert lines[:2] == ["* 1 EXISTS", "* 1 FETCH (UID 1)"]
    assert lines[2].startswith("* STATUS Drafts (")
    assert client.ask(b"DONE\r\n") == b"a OK IDLE completed\r\n"


# -- other mailboxes ----------------------------------------------------------------------------


def test_counters_of_other_mailboxes(imap: Imap) -> None:
    """§5.1 to §5.3: HIGHESTMODSEQ as soon as CONDSTORE is enabled; flags only with it or where \\Seen changes."""
    imap.fill(2, mailbox="Drafts")
    client = listening(imap, "(personal (MessageNew MessageExpunge FlagChange))")
    other = imap.sign_in("2", "Drafts")
    other.run("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert told(client) == []
    client.run("ENABLE CONDSTORE")
    for command, expected in (
        ("STORE 2 +FLAGS.SILENT (\\Seen)", "UIDNEXT 3 MESSAGES 2 UNSEEN 1 HIGHESTMODSEQ 4"),
        ("STORE 2 +FLAGS.SILENT ($x)", "UIDNEXT 3 MESSAGES 2 UNSEEN 1 HIGHESTMODSEQ 5"),
        ("EXPUNGE", "UIDNEXT 3 MESSAGES 1 UNSEEN 0 HIGHESTMODSEQ 6"),
    ):
        other.run(command)
        lines = told(client)
        assert len(lines) == 1
        assert lines[0].startswith("* STATUS Drafts (UIDVALIDITY "), lines
        assert lines[0].endswith(f" {expected})"), lines


def test_what_happened_during_a_command_is_told_before_its_answer(imap: Imap) -> None:
    client = listening(imap, "(personal (MessageNew MessageExpunge))")
    imap.fill(1, mailbox="Drafts")
    answer = client.run("NOOP").decode().splitlines()
    assert answer[0].startswith("* STATUS Drafts (")
    assert len(answer) == 2
    assert told(client) == []


def test_notices_are_told_apart(imap: Imap) -> None:
    """However much happens elsewhere, one read for it in a second."""
    client = imap.sign_in("1")
    now = [0.0]
    client.connection.session.clock = lambda: now[0]
    client.run("NOTIFY SET (personal (MessageNew MessageExpunge))")
    imap.fill(1, mailbox="Drafts")
    assert len(told(client)) == 1
    for mailbox in ("Drafts", "Drafts", "Junk"):
        imap.fill(1, mailbox=mailbox)
        assert told(client) == []
    assert client.deadlines[-1].seconds == APART_S
    now[0] += APART_S
    lines = client.time_out().decode().splitlines()
    assert [line.partition("UIDNEXT")[2] for line in sorted(lines)] == [" 4 MESSAGES 3)", " 2 MESSAGES 1)"]
    assert client.deadlines[-1].seconds > 60
    assert client.time_out().startswith(b"* BYE ")


def test_notices_held_while_idling_hold_up_no_later_ones(imap: Imap) -> None:
    """Each end of IDLE sets the deadline anew."""
    client = imap.sign_in("1")
    now = [0.0]
    client.connection.session.clock = lambda: now[0]
    client.run("NOTIFY SET (personal (MessageNew MessageExpunge))")
    client.ask(b"a IDLE\r\n")
    for expected in (1, 0):
        imap.fill(1, mailbox="Drafts")
        assert len(told(client)) == expected
    assert client.deadlines[-1].seconds == APART_S
    answer = client.ask(b"DONE\r\n").decode().splitlines()
    assert [line[:15] for line in answer] == ["* STATUS Drafts", "a OK IDLE compl"]
    now[0] += APART_S
    imap.fill(1, mailbox="Drafts")
    assert len(told(client)) == 1
    client.ask(b"b IDLE\r\n")
    imap.fill(1, mailbox="Drafts")
    assert told(client) == []
    assert client.time_out().startswith(b"* STATUS Drafts")
    assert client.time_out() == b"* OK Still here\r\n"


def test_one_read_for_all_that_changed(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    client = listening(imap, "(personal (MessageNew MessageExpunge))")
    for mailbox in ("Drafts", "Junk", "Trash", "Archive"):
        imap.fill(1, mailbox=mailbox)
    reads = []
    status = Heads.status
    monkeypatch.setattr(Heads, "status", lambda *arguments: reads.append(1) or status(*arguments))
    assert len(told(client)) == 4
    assert len(reads) == 1


# -- names --------------------------------------------------------------------------------------


def test_names_that_come_go_and_change(imap: Imap) -> None:
    """§5.4: also the parent of what came or went; children of what was renamed are not told."""
    client = listening(imap, "(personal (MailboxName))")
    other = imap.sign_in("2")
    other.run("CREATE NewMailbox")
    assert told(client) == ['* LIST (\\HasNoChildren) "/" NewMailbox']
    other.run("CREATE NewMailbox/child")
    assert told(client) == [
        '* LIST (\\HasChildren) "/" NewMailbox',
        '* LIST (\\HasNoChildren) "/" NewMailbox/child',
    ]
    other.run("RENAME NewMailbox Other")
    assert told(client) == ['* LIST (\\HasChildren) "/" Other ("OLDNAME" (NewMailbox))']
    other.run("DELETE Other/child")
    assert told(client) == [
        '* LIST (\\HasNoChildren) "/" Other',
        '* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" Other/child',
    ]
    other.run("SUBSCRIBE Other")
    assert told(client) == []


def test_subscriptions_that_change(imap: Imap) -> None:
    """§5.5."""
    client = listening(imap, "(personal (SubscriptionChange))")
    other = imap.sign_in("2")
    other.run("CREATE SubscribedMailbox")
    assert told(client) == []
    other.run("SUBSCRIBE SubscribedMailbox")
    assert told(client) == ['* LIST (\\HasNoChildren \\Subscribed) "/" SubscribedMailbox']
    other.run("RENAME SubscribedMailbox Renamed")
    assert told(client) == []
    other.run("UNSUBSCRIBE Renamed")
    assert told(client) == ['* LIST (\\HasNoChildren) "/" Renamed']


def test_own_changes_of_names_are_not_told(imap: Imap) -> None:
    """§5."""
    client = listening(imap, f"(personal {ALL})")
    for command in ("CREATE One", "RENAME One Two", "SUBSCRIBE Two", "DELETE Two"):
        assert client.run(command).count(b"\r\n") == 1, command
    assert told(client) == []


def test_a_new_mailbox_is_heard_of(imap: Imap) -> None:
    client = listening(imap, f"(subtree Lists {ALL})")
    imap.services.mailboxes.create(imap.user.user_id, OPERATOR, "Lists/new")
    imap.fill(2, mailbox="Lists/new")
    lines = told(client)
    assert lines[:2] == [
        '* LIST (\\NonExistent \\Noselect \\HasChildren) "/" Lists',
        '* LIST (\\HasNoChildren) "/" Lists/new',
    ]
    assert [line.partition("UIDNEXT")[2] for line in lines[2:]] == [" 3 MESSAGES 2 UNSEEN 2)"]
    imap.fill(1, mailbox="Lists/new")
    assert len(told(client)) == 1


def test_subscribed_mailboxes_are_found_anew(imap: Imap) -> None:
    """§6.4."""
    client = listening(imap, "(subscribed (MessageNew MessageExpunge))")
    other = imap.sign_in("2")
    other.run("CREATE Work")
    imap.fill(1, mailbox="Work")
    assert told(client) == []
    other.run("SUBSCRIBE Work")
    assert told(client) == []
    imap.fill(1, mailbox="Work")
    assert len(told(client)) == 1
    other.run("UNSUBSCRIBE Work")
    assert told(client) == []
    imap.fill(1, mailbox="Work")
    assert told(client) == []


# -- annotations --------------------------------------------------------------------------------

METADATA = "(personal (MailboxMetadataChange ServerMetadataChange))"


def test_annotations_that_change(imap: Imap) -> None:
    """§5.6, §5.7: their names, also of what is removed."""
    client = listening(imap, METADATA)
    other = imap.sign_in("2")
    other.run('SETMETADATA INBOX (/shared/comment "one" /private/comment "two")')
    assert told(client) == ["* METADATA INBOX /private/comment /shared/comment"]
    other.run('SETMETADATA INBOX (/shared/comment "one" /private/comment "three")')
    assert told(client) == ["* METADATA INBOX /private/comment"]
    other.run("SETMETADATA INBOX (/private/comment NIL)")
    assert told(client) == ["* METADATA INBOX /private/comment"]
    other.run('SETMETADATA "" (/private/vendor "x")')
    assert told(client) == ['* METADATA "" /private/vendor']
    assert client.run('SETMETADATA INBOX (/private/comment "own")').count(b"\r\n") == 1
    other.run('SETMETADATA Drafts (/private/specialuse "\\\\Junk")')
    assert told(client) == ["* METADATA Drafts /private/specialuse", "* METADATA Junk /private/specialuse"]
    client.run("NOTIFY SET (mailboxes Drafts (MailboxMetadataChange))")
    other.run('SETMETADATA "" (/private/vendor "y")')
    other.run('SETMETADATA INBOX (/private/comment "y")')
    other.run('SETMETADATA Drafts (/private/comment "y")')
    assert told(client) == ["* METADATA Drafts /private/comment"]


def annotate_unheard(imap: Imap, client: Client) -> list[str]:
    """What the poll tells of an annotation by a process that could tell nobody."""
    other = elsewhere(imap.services)
    actor = client.connection.session.actor
    place = client.connection.session.place(MailboxName("INBOX"))
    other.metadata.set(imap.user.user_id, actor, place, {"/private/comment": b"x"})
    other.close()
    assert told(client) == []
    imap.services.notices._poll()
    return told(client)


def test_annotations_of_which_nobody_was_told(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll finds them; with it replaced (negative control) nobody does."""
    client = listening(imap, METADATA)
    assert annotate_unheard(imap, client) == ["* METADATA INBOX /private/comment"]
    imap.services.notices._poll()
    assert not client.is_woken
    client.run("SETMETADATA INBOX (/private/comment NIL)")
    monkeypatch.setattr(Notices, "_poll_annotations", lambda *_: None)
    assert annotate_unheard(imap, client) == []


# -- what is lost -------------------------------------------------------------------------------


def lose_notices(imap: Imap, client: Client) -> list[str]:
    """What is told by the poll of changes by a process that could tell nobody."""
    other = elsewhere(imap.services)
    other.messages.append(imap.user.user_id, OPERATOR, "Drafts", [MESSAGE])
    other.mailboxes.create(imap.user.user_id, OPERATOR, "New")
    other.close()
    assert told(client) == []
    imap.services.notices._poll()
    return sorted(line.partition(" (")[0] + line.rpartition('"/"')[2] for line in told(client))


def test_lost_notices_are_made_up_for_by_the_poll(imap: Imap) -> None:
    client = listening(imap, f"(personal {ALL})")
    assert [line[:15] for line in lose_notices(imap, client)] == ["* LIST New", "* STATUS Drafts"]
    imap.services.notices._poll()
    assert not client.is_woken


def test_without_the_poll_they_would_stay_lost(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    client = listening(imap, f"(personal {ALL})")
    monkeypatch.setattr(Notices, "_by_shard", lambda *_: [])
    assert lose_notices(imap, client) == []


def test_notices_of_other_processes_are_heard(imap: Imap) -> None:
    client = listening(imap, f"(personal {ALL})")
    other = elsewhere(imap.services)
    other.messages.append(imap.user.user_id, OPERATOR, "Drafts", [MESSAGE])
    drafts = other.mailboxes.find(imap.user.user_id, "Drafts").id
    other.close()
    user = imap.user.user_id.binary
    imap.services.notices._received(notices._NOTICE.pack(user, drafts.binary, 2, b"somebody"))
    assert told(client)[0].startswith("* STATUS Drafts (")
    imap.services.notices._received(notices._NOTICE.pack(user, notices.NAMES, 1 << 40, b"somebody"))
    assert client.is_woken


def test_what_cannot_be_read_now_is_told_later(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    client = listening(imap, "(personal (MessageNew MessageExpunge))")
    imap.fill(1, mailbox="Drafts")
    with monkeypatch.context() as away:
        away.setattr(Heads, "status", _unavailable)
        assert told(client) == []
    imap.services.notices._poll()
    assert len(told(client)) == 1


def _unavailable(*_: object) -> None:
    raise StoreUnavailable("test")


# -- whose mailboxes ----------------------------------------------------------------------------


@pytest.fixture
def team(services: MailServices) -> Iterator[tuple[Imap, Imap]]:
    """Fred, who has a mailbox Team, and Ann of the same tenant."""
    tenant = make_tenant(services)
    fred, ann = (Imap(services, make_user(services, tenant=tenant)) for _ in range(2))
    services.mailboxes.create(fred.user.user_id, OPERATOR, "Team")
    yield fred, ann
    for client in (*fred.clients.values(), *ann.clients.values()):
        client.close()


def test_shared_mailboxes(team: tuple[Imap, Imap]) -> None:
    """§3.1, §5.4: told with the rights to look up and read, given or taken away as if created or deleted."""
    fred, ann = team
    shared = f"Shared/{fred.user.address}/Team"
    owner = fred.sign_in()
    client = listening(ann, f'(subtree "Shared" {ALL}) (personal {ALL})')
    owner.run(f"SETACL Team {ann.user.address} lr")
    assert f'* LIST (\\HasNoChildren) "/" {shared}' in told(client)
    fred.fill(1, mailbox="Team")
    assert [line.split(" (")[0] for line in told(client)] == [f"* STATUS {shared}"]
    fred.fill(1, mailbox="Drafts")
    assert told(client) == []
    owner.run(f"SETACL Team {ann.user.address} l")
    told(client)
    fred.fill(1, mailbox="Team")
    assert told(client) == []
    answer = client.run(f'NOTIFY SET (mailboxes "{shared}" (MessageNew MessageExpunge))')
    assert answer == f'* LIST (\\NoAccess) "/" {shared}\r\nt OK NOTIFY completed\r\n'.encode()
    client.run(f'NOTIFY SET (subtree "Shared" {ALL})')
    owner.run(f"DELETEACL Team {ann.user.address}")
    assert f'* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" {shared}' in told(client)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "groups",
    [
        "SET",
        "SET ",
        "ADD (personal NONE)",
        "SET (personal)",
        "SET (personal ())",
        "SET (elsewhere NONE)",
        "SET (personal (MessageNew))",
        "SET (personal (MessageExpunge))",
        "SET (personal (FlagChange))",
        "SET (personal (MessageNew (UID) MessageExpunge))",
        "SET (selected (MailboxName))",
        "SET (selected (MessageNew (XYZZY) MessageExpunge))",
        "SET (selected (MessageNew MessageExpunge)) (selected-delayed (MessageNew MessageExpunge))",
        "SET (subtree (MailboxName))",
        "SET STATUS",
        "NONE x",
    ],
)
def test_malformed(imap: Imap, groups: str) -> None:
    assert imap.sign_in().ask(f"a NOTIFY {groups}\r\n".encode()).startswith(b"a BAD ")


@pytest.mark.parametrize("event", ["AnnotationChange", "XYZZY"])
def test_events_that_are_not_told(imap: Imap, event: str) -> None:
    answer = imap.sign_in().ask(f"a NOTIFY SET (personal ({event}))\r\n".encode())
    assert answer == (
        b"a NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
        b" MailboxMetadataChange ServerMetadataChange)] Some of the events are not told\r\n"
    )


def test_more_than_can_be_watched(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """§5.8: refused at first, ended when it becomes too much; from then on as after NOTIFY NONE."""
    monkeypatch.setattr("mailcore.imap.notifications.DEFAULT_LIMITS", Limits(watched_mailboxes=6))
    client = listening(imap, f"(selected (MessageNew MessageExpunge)) (personal {ALL})", "INBOX")
    imap.services.mailboxes.create(imap.user.user_id, OPERATOR, "One too many")
    assert told(client) == ["* OK [NOTIFICATIONOVERFLOW] That is more than can be watched"]
    imap.append(MESSAGE)
    imap.fill(1, mailbox="Drafts")
    assert told(client) == []
    assert client.ask(b"a NOTIFY SET (personal (MessageNew MessageExpunge))\r\n") == (
        b"a NO [NOTIFICATIONOVERFLOW] That is more than can be watched\r\n"
    )
    monkeypatch.setattr(notify_command, "DEFAULT_LIMITS", Limits(watched_mailboxes=2))
    monkeypatch.setattr("mailcore.imap.notifications.DEFAULT_LIMITS", Limits(watched_annotations=0))
    client.run('SETMETADATA INBOX (/private/comment "one")')
    assert b"[NOTIFICATIONOVERFLOW]" in client.ask(f"b NOTIFY SET {METADATA}\r\n".encode())
    assert b"[NOTIFICATIONOVERFLOW]" in client.ask(b"b NOTIFY SET (mailboxes (a b c) (MailboxName))\r\n")


def test_nothing_is_kept_of_a_session_that_ends(imap: Imap) -> None:
    client = listening(imap, f"(selected (MessageNew MessageExpunge)) (personal {ALL})", "INBOX")
    client.run(f"NOTIFY SET (personal {ALL})")
    key = UserId(imap.user.user_id).binary
    assert len(imap.services.notices._watches[key]) == 1
    client.close()
    assert key not in imap.services.notices._watches
    assert key not in imap.services.notices._users
