"""Mailbox names and the tree they form."""

from __future__ import annotations

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import MailboxNameInvalid
from mailcore.model.ids import MailboxId, MailboxName, UidValidity
from mailcore.model.mailbox import MailboxEntry, MailboxTree, SpecialUse, parse_mailbox_name, sorted_entries


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("inbox", "INBOX"),
        ("InBox/sub", "INBOX/sub"),
        ("a/inbox", "a/inbox"),
        ("inboxes", "inboxes"),
        ("ınbox", "ınbox"),
        ("Ente\u0301", "Ent\u00e9"),
        ("日本/語 メール", "日本/語 メール"),
        ("..", ".."),
        ("a" * 255, "a" * 255),
        ("/".join("abcdefgh" * 4), "/".join("abcdefgh" * 4)),
    ],
)
def test_a_name_has_one_form(text: str, name: str) -> None:
    """INBOX is case-insensitive (RFC 9051 §5.1), names are compared in NFC."""
    assert parse_mailbox_name(text) == name
    assert parse_mailbox_name(name) == name


@pytest.mark.parametrize(
    "text",
    ["", "/", "a/", "/a", "a//b", "a\x00b", "a\nb", "a\x7fb", "a\u0085b", "a\u2028b", "a\ud800b", "é" * 128,
     "/".join("a" * 33)],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(MailboxNameInvalid):
        parse_mailbox_name(text)


@given(st.text())
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = parse_mailbox_name(text)
    except MailboxNameInvalid:
        return
    assert parse_mailbox_name(name) == name


def entry(name: str, special_use: SpecialUse | None = None) -> MailboxEntry:
    return MailboxEntry(MailboxId(ObjectId()), MailboxName(name), UidValidity(1), special_use)


def test_a_tree_finds_names_below() -> None:
    entries = sorted_entries(
        map(entry, ["Zebra", "a/b/c/d", "INBOX/x", "INBOX", "a/bc", "Zebra/y", "a/b/c"]),
    )
    tree = MailboxTree(1, 9, entries)
    assert [each.name for each in tree][:2] == ["INBOX", "INBOX/x"]
    assert [each.name for each in tree.below(MailboxName("a/b"))] == ["a/b/c", "a/b/c/d"]
    assert tree.find(MailboxName("a/bc")) in entries
    assert tree.find(MailboxName("a")) is None
    assert tree.find_id(entries[0].id) is entries[0]


def test_a_special_use_is_found() -> None:
    tree = MailboxTree(1, 9, sorted_entries([entry("INBOX"), entry("Gesendet", SpecialUse.SENT)]))
    found = tree.find_special(SpecialUse.SENT)
    assert found is not None
    assert found.name == "Gesendet"
    assert tree.find_special(SpecialUse.JUNK) is None
