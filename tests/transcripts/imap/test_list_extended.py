"""LIST-EXTENDED (RFC 5258, RFC 9051 §6.3.9), LIST-STATUS (RFC 5819), LIST-MYRIGHTS (RFC 8440): the RFCs' examples."""

from __future__ import annotations

import pytest

from mailcore.services.mailboxes.mailbox_reader import MailboxReader
from mailcore.services.process.offload import InlineOffload
from tests.transcripts.imap.dialogue import Client, Imap


def signed_in(imap: Imap, mailboxes: list[str], subscribed: list[str]) -> Client:
    """A user whose own mailboxes are these besides INBOX, and whose subscriptions are these."""
    client = imap.sign_in()
    user_id = imap.user.user_id
    for name in ("INBOX", "Sent Mail", "Drafts", "Trash", "Junk", "Archive"):
        imap.services.mailboxes.unsubscribe(user_id, client.connection.session.actor, name)
    for name in mailboxes:
        client.run(f'CREATE "{name}"')
    for name in subscribed:
        client.run(f'SUBSCRIBE "{name}"')
    return client


FRUIT = ["Fruit", "Fruit/Apple", "Fruit/Banana", "Tofu", "Vegetable", "Vegetable/Broccoli", "Vegetable/Corn"]


def test_selected_by_subscription(imap: Imap) -> None:
    """Examples 2, 4 to 6: what is only subscribed is told by selection, never by a return option."""
    signed_in(imap, FRUIT, ["inbox", "Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli"])
    subscribed = r"""
        S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
        S: * LIST (\HasNoChildren \Subscribed) "/" Fruit/Banana
        S: * LIST (\NonExistent \Noselect \HasNoChildren \Subscribed) "/" Fruit/Peach
        S: * LIST (\HasChildren \Subscribed) "/" Vegetable
        S: * LIST (\HasNoChildren \Subscribed) "/" Vegetable/Broccoli
        """
    imap.transcript('C: A02 LIST (SUBSCRIBED) "" "*"' + subscribed + "S: A02 OK LIST completed")
    imap.transcript('C: A05 LIST (REMOTE SUBSCRIBED subscribed) "" "*"' + subscribed + "S: A05 OK LIST completed")
    imap.transcript(r"""
        C: A03 LIST () "" "?%"
        S: A03 OK LIST completed
        C: A04 LIST (REMOTE) "" (F% T%f%) RETURN (CHILDREN)
        S: * LIST (\HasChildren) "/" Fruit
        S: * LIST (\HasNoChildren) "/" Tofu
        S: A04 OK LIST completed
        C: A06 LIST (REMOTE) "" "Fruit*" RETURN (SUBSCRIBED)
        S: * LIST (\HasChildren) "/" Fruit
        S: * LIST (\HasNoChildren) "/" Fruit/Apple
        S: * LIST (\HasNoChildren \Subscribed) "/" Fruit/Banana
        S: A06 OK LIST completed
        """)


def test_parents_of_what_is_selected(imap: Imap) -> None:
    """Examples 8 and 9: with CHILDINFO, but only where not all that it stands for is listed itself."""
    names = ["foo2/bar1", "foo2/bar2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2", "eps2/mamba", "qux2/bar2"]
    client = signed_in(imap, ["foo2", "baz2", *names], names)
    imap.transcript(r"""
        C: D03 LIST (RECURSIVEMATCH SUBSCRIBED) "" "*2"
        S: * LIST (\HasNoChildren \Subscribed) "/" baz2/bar2
        S: * LIST (\HasNoChildren \Subscribed) "/" baz2/bar22
        S: * LIST (\HasNoChildren \Subscribed) "/" baz2/bar222
        S: * LIST (\HasChildren \Subscribed) "/" eps2 ("CHILDINFO" ("SUBSCRIBED"))
        S: * LIST (\HasChildren) "/" foo2 ("CHILDINFO" ("SUBSCRIBED"))
        S: * LIST (\HasNoChildren \Subscribed) "/" foo2/bar2
        S: * LIST (\HasNoChildren \Subscribed) "/" qux2/bar2
        S: D03 OK LIST completed
        C: D04 LIST (RECURSIVEMATCH SUBSCRIBED) "" "q%"
        S: * LIST (\NonExistent \Noselect \HasChildren) "/" qux2 ("CHILDINFO" ("SUBSCRIBED"))
        S: D04 OK LIST completed
        C: D05 LIST (SUBSCRIBED SPECIAL-USE RECURSIVEMATCH) "" "%"
        S: D05 OK LIST completed
        """)
    client.run("CREATE Deep/Bin")
    client.run('SETMETADATA Deep/Bin (/private/specialuse "\\\\Junk")')
    imap.transcript(r"""
        C: D06 LIST (SPECIAL-USE RECURSIVEMATCH) "" ("Deep" "Junk")
        S: * LIST (\NonExistent \Noselect \HasChildren) "/" Deep ("CHILDINFO" ("SPECIAL-USE"))
        S: D06 OK LIST completed
        """)


def test_an_empty_pattern_asks_for_the_root_in_the_basic_form_only(imap: Imap) -> None:
    """RFC 5258 §3."""
    imap.sign_in()
    imap.transcript(r"""
        C: a1 LIST "" ""
        S: * LIST (\Noselect) "/" ""
        S: a1 OK LIST completed
        C: a2 LIST () "" ""
        S: a2 OK LIST completed
        C: a3 LIST "" ("")
        S: a3 OK LIST completed
        C: a4 LIST "" "" RETURN (CHILDREN)
        S: a4 OK LIST completed
        C: a5 LIST "" ("" INBOX inbox IN%)
        S: * LIST (\HasNoChildren) "/" INBOX
        S: a5 OK LIST completed
        """)


def test_what_is_returned_besides(imap: Imap) -> None:
    """RFC 5819 §2, RFC 8440: neither is told of what is no mailbox."""
    imap.fill(2, deleted={1})
    client = imap.sign_in()
    client.run("CREATE foo/bar")
    imap.transcript(r"""
        C: a1 LIST "" (INBOX foo) RETURN (MYRIGHTS STATUS (MESSAGES DELETED) SPECIAL-USE)
        S: * LIST (\HasNoChildren) "/" INBOX
        S: * MYRIGHTS INBOX …
        S: * STATUS INBOX (MESSAGES 2 DELETED 1)
        S: * LIST (\NonExistent \Noselect \HasChildren) "/" foo
        S: a1 OK LIST completed
        """)


@pytest.mark.parametrize(
    "arguments",
    [
        '(XYZZY) "" "*"',
        '"" "*" RETURN (XYZZY)',
        '(RECURSIVEMATCH) "" "*"',
        '(RECURSIVEMATCH REMOTE) "" "*"',
        '"" ()',
        '"" "*" RETURN (STATUS)',
        '"" "*" RETURN (STATUS ())',
        '"" "*" RETURN',
    ],
)
def test_what_is_not_known_is_a_fault(imap: Imap, arguments: str) -> None:
    assert imap.sign_in().ask(f"a LIST {arguments}\r\n".encode()).startswith(b"a BAD ")


def test_counting_what_is_deleted_reads_what_is_needed_and_lets_others_run(
    imap: Imap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty mailboxes and those known already are not read; between two others have their turn."""
    for mailbox in ("Drafts", "Junk", "Trash"):
        imap.fill(2, {1}, mailbox)
    client = imap.sign_in()
    steps: list[str] = []
    refresh = MailboxReader.refresh
    monkeypatch.setattr(MailboxReader, "refresh", lambda *given: steps.append("read") or refresh(*given))
    monkeypatch.setattr(InlineOffload, "pause", lambda _self: steps.append("pause"))
    imap.services.mailboxes.forget(imap.user.user_id, imap.services.mailboxes.find(imap.user.user_id, "Junk").id)
    answer = client.run('LIST "" "*" RETURN (STATUS (DELETED))')
    assert answer.count(b"(DELETED 1)") == 3
    assert answer.count(b"(DELETED 0)") == 3
    assert steps.count("read") <= 3
    assert steps.count("pause") >= 3
    steps.clear()
    client.run('LIST "" "*" RETURN (STATUS (DELETED))')
    assert "read" not in steps
