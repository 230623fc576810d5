"""LIST, LSUB, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS (RFC 9051 §6.3.4 to §6.3.11), NAMESPACE (RFC 2342).

With them CHILDREN (RFC 3348), LIST-EXTENDED (RFC 5258), LIST-STATUS (RFC 5819), STATUS=SIZE (RFC 8438),
SPECIAL-USE and CREATE-SPECIAL-USE (RFC 6154), and names in UTF-8 (RFC 6855).
"""

from __future__ import annotations

from tests.transcripts.imap.dialogue import Imap


def test_list_of_a_new_user(imap: Imap) -> None:
    imap.sign_in()
    imap.transcript(r"""
        C: a1 LIST "" "*"
        S: * LIST (\HasNoChildren) "/" INBOX
        S: * LIST (\HasNoChildren \Archive) "/" Archive
        S: * LIST (\HasNoChildren \Drafts) "/" Drafts
        S: * LIST (\HasNoChildren \Junk) "/" Junk
        S: * LIST (\HasNoChildren \Sent) "/" "Sent Mail"
        S: * LIST (\HasNoChildren \Trash) "/" Trash
        S: a1 OK LIST completed
        C: a2 LIST "" ""
        S: * LIST (\Noselect) "/" ""
        S: a2 OK LIST completed
        C: a3 LIST "" inbox
        S: * LIST (\HasNoChildren) "/" INBOX
        S: a3 OK LIST completed
        C: a4 LIST "" (INBOX Trash)
        S: * LIST (\HasNoChildren) "/" INBOX
        S: * LIST (\HasNoChildren \Trash) "/" Trash
        S: a4 OK LIST completed
        C: a5 NAMESPACE
        S: * NAMESPACE (("" "/")) (("Shared/" "/")) NIL
        S: a5 OK NAMESPACE completed
        """)


def test_hierarchy(imap: Imap) -> None:
    """RFC 3501 §6.3.4, §6.3.5, §6.3.6: parents, children, what is left of them."""
    client = imap.sign_in()
    for name in ("foo", "foo/bar", "foo/bar/baz", "deep/er"):
        client.run(f"CREATE {name}")
    imap.transcript(r"""
        C: a1 LIST "" "foo*"
        S: * LIST (\HasChildren) "/" foo
        S: * LIST (\HasChildren) "/" foo/bar
        S: * LIST (\HasNoChildren) "/" foo/bar/baz
        S: a1 OK LIST completed
        C: a2 LIST "foo/" "%"
        S: * LIST (\HasChildren) "/" foo/bar
        S: a2 OK LIST completed
        C: a3 CREATE foo
        S: a3 NO [ALREADYEXISTS] A mailbox of that name exists
        C: a4 RENAME foo zowie
        S: a4 OK RENAME completed
        C: a5 LIST "" "*o*"
        S: * LIST (\HasChildren) "/" zowie
        S: * LIST (\HasChildren) "/" zowie/bar
        S: * LIST (\HasNoChildren) "/" zowie/bar/baz
        S: a5 OK LIST completed
        C: a6 RENAME nowhere x
        S: a6 NO [NONEXISTENT] No such mailbox
        C: a7 RENAME zowie zowie/x
        S: a7 NO [CANNOT] Not a mailbox name
        C: a8 DELETE nowhere
        S: a8 NO [NONEXISTENT] No such mailbox
        C: a9 DELETE INBOX
        S: a9 NO [CANNOT] This mailbox must stay as it is
        C: b1 CREATE INBOX
        S: b1 NO [ALREADYEXISTS] A mailbox of that name exists
        C: b2 CREATE owatagusiam/
        S: b2 OK [MAILBOXID …] CREATE completed
        C: b3 CREATE owatagusiam/blurdybloop
        S: b3 OK [MAILBOXID …] CREATE completed
        """)


def test_deleted_parent_stays_as_a_name(imap: Imap) -> None:
    client = imap.sign_in()
    client.run("CREATE foo")
    client.run("CREATE foo/bar")
    client.run("DELETE foo")
    imap.transcript(r"""
        C: a1 LIST "" "foo%"
        S: * LIST (\NonExistent \Noselect \HasChildren) "/" foo
        S: a1 OK LIST completed
        C: a2 SELECT foo
        S: a2 NO [NONEXISTENT] No such mailbox
        C: a3 LIST "" "foo/%"
        S: * LIST (\HasNoChildren) "/" foo/bar
        S: a3 OK LIST completed
        """)


def test_subscriptions(imap: Imap) -> None:
    """RFC 3501 §6.3.9: LSUB, and what `%` stops at."""
    client = imap.sign_in()
    for name in ("INBOX", '"Sent Mail"', "Drafts", "Trash", "Junk", "Archive"):
        client.run(f"UNSUBSCRIBE {name}")
    imap.transcript(r"""
        C: a1 LSUB "" "*"
        S: a1 OK LSUB completed
        C: a2 SUBSCRIBE foo/bar/baz
        S: a2 OK SUBSCRIBE completed
        C: a3 SUBSCRIBE inbox
        S: a3 OK SUBSCRIBE completed
        C: a4 LSUB "" "*"
        S: * LSUB () "/" INBOX
        S: * LSUB () "/" foo/bar/baz
        S: a4 OK LSUB completed
        C: a5 LSUB "" "foo/%"
        S: * LSUB (\Noselect) "/" foo/bar
        S: a5 OK LSUB completed
        C: a6 LIST (SUBSCRIBED) "" "*"
        S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
        S: * LIST (\NonExistent \Noselect \HasNoChildren \Subscribed) "/" foo/bar/baz
        S: a6 OK LIST completed
        C: a7 LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"
        S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
        S: * LIST (\NonExistent \Noselect \HasNoChildren) "/" foo ("CHILDINFO" ("SUBSCRIBED"))
        S: a7 OK LIST completed
        C: a8 LIST "" "%" RETURN (SUBSCRIBED CHILDREN)
        S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
        S: * LIST (\HasNoChildren \Archive) "/" Archive
        S: * LIST (\HasNoChildren \Drafts) "/" Drafts
        S: * LIST (\HasNoChildren \Junk) "/" Junk
        S: * LIST (\HasNoChildren \Sent) "/" "Sent Mail"
        S: * LIST (\HasNoChildren \Trash) "/" Trash
        S: a8 OK LIST completed
        C: a9 LIST (RECURSIVEMATCH) "" "*"
        S: a9 BAD RECURSIVEMATCH needs another selection option
        C: b1 UNSUBSCRIBE foo/bar/baz
        S: b1 OK UNSUBSCRIBE completed
        C: b2 LSUB "" "*"
        S: * LSUB () "/" INBOX
        S: b2 OK LSUB completed
        """)


def test_special_use(imap: Imap) -> None:
    """RFC 6154 §5.2, §5.3."""
    imap.sign_in()
    imap.transcript(r"""
        C: a1 LIST (SPECIAL-USE) "" "*"
        S: * LIST (\HasNoChildren \Archive) "/" Archive
        S: * LIST (\HasNoChildren \Drafts) "/" Drafts
        S: * LIST (\HasNoChildren \Junk) "/" Junk
        S: * LIST (\HasNoChildren \Sent) "/" "Sent Mail"
        S: * LIST (\HasNoChildren \Trash) "/" Trash
        S: a1 OK LIST completed
        C: a2 LIST "" "Trash" RETURN (SPECIAL-USE)
        S: * LIST (\HasNoChildren \Trash) "/" Trash
        S: a2 OK LIST completed
        C: a3 CREATE Everything (USE (\All))
        S: a3 NO [USEATTR] This use is not supported
        C: a4 CREATE Old (USE (\Archive))
        S: a4 NO [USEATTR] Another mailbox has this use already
        C: a5 CREATE MyNewMailbox (USE ())
        S: a5 OK [MAILBOXID …] CREATE completed
        """)


def test_list_with_status(imap: Imap) -> None:
    """RFC 5819 §3."""
    imap.fill(2)
    client = imap.sign_in()
    client.run("CREATE foo/bar")
    imap.transcript(r"""
        C: a1 LIST "" (INBOX foo%) RETURN (STATUS (MESSAGES UNSEEN))
        S: * LIST (\HasNoChildren) "/" INBOX
        S: * STATUS INBOX (MESSAGES 2 UNSEEN 2)
        S: * LIST (\NonExistent \Noselect \HasChildren) "/" foo
        S: a1 OK LIST completed
        """)


def test_status(imap: Imap) -> None:
    imap.fill(2)
    imap.sign_in()
    imap.transcript(r"""
        C: a1 STATUS inbox (UIDNEXT MESSAGES UNSEEN RECENT UIDVALIDITY SIZE APPENDLIMIT)
        S: * STATUS INBOX (UIDNEXT 3 MESSAGES 2 UNSEEN 2 RECENT 0 UIDVALIDITY … SIZE 100 APPENDLIMIT 67108864)
        S: a1 OK STATUS completed
        C: a2 STATUS nowhere (MESSAGES)
        S: a2 NO [NONEXISTENT] No such mailbox
        C: a3 STATUS INBOX (XYZZY)
        S: a3 BAD unknown STATUS item
        C: a4 STATUS INBOX ()
        S: a4 BAD …
        C: a5 STATUS INBOX MESSAGES
        S: a5 BAD ( expected
        """)


def test_names_in_any_script(imap: Imap) -> None:
    imap.sign_in()
    imap.transcript(r"""
        C: a1 CREATE &U,BTFw-/&ZeVnLIqe-
        S: a1 OK [MAILBOXID …] CREATE completed
        C: a2 LIST "" "&U,BTFw-*"
        S: * LIST (\NonExistent \Noselect \HasChildren) "/" &U,BTFw-
        S: * LIST (\HasNoChildren) "/" &U,BTFw-/&ZeVnLIqe-
        S: a2 OK LIST completed
        C: a3 CREATE &AEE-
        S: a3 NO [CANNOT] Not a mailbox name
        C: a4 ENABLE UTF8=ACCEPT
        S: * ENABLED UTF8=ACCEPT
        S: a4 OK ENABLE completed
        C: a5 ENABLE UTF8=ACCEPT XYZZY
        S: * ENABLED
        S: a5 OK ENABLE completed
        C: a6 LIST "" "台北/%"
        S: * LIST (\HasNoChildren) "/" "台北/日本語"
        S: a6 OK LIST completed
        C: a7 CREATE "Tom & Jerry"
        S: a7 OK [MAILBOXID …] CREATE completed
        C: a8 CREATE &U,BTFw-
        S: a8 OK [MAILBOXID …] CREATE completed
        C: a9 LIST "" "&*"
        S: * LIST (\HasNoChildren) "/" &U,BTFw-
        S: a9 OK LIST completed
        """)


def test_names_that_try_to_get_out(imap: Imap) -> None:
    """W20: a name is a name; it reaches no file system and no other user."""
    client = imap.sign_in()
    for name in ("../x", "INBOX/../x", "~root", "#shared/x", "a.b"):
        client.run(f'CREATE "{name}"')
        assert name.encode() in client.run(f'LIST "" "{name}"')
    for name in ("/etc/passwd", "a//b", "a/", "x/" * 40 + "x", "x" * 256, "%", "*"):
        answer = client.ask(f'a CREATE "{name}"\r\n'.encode())
        assert answer.startswith((b"a NO [CANNOT]", b"a OK")), answer
    other = Imap(imap.services, imap.user)
    assert other.sign_in().run('LIST "" "*"').count(b"\r\n") == client.run('LIST "" "*"').count(b"\r\n")


def test_renaming_inbox_empties_it(imap: Imap) -> None:
    """RFC 9051 §6.3.6."""
    imap.fill(2)
    imap.sign_in()
    imap.transcript("""
        C: a1 RENAME INBOX Old-mail
        S: a1 OK RENAME completed
        C: a2 STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 0)
        S: a2 OK STATUS completed
        C: a3 STATUS Old-mail (MESSAGES)
        S: * STATUS Old-mail (MESSAGES 2)
        S: a3 OK STATUS completed
        """)


def test_special_uses_are_moved_and_made(imap: Imap) -> None:
    """RFC 6154 §4: /private/specialuse; a use belongs to one mailbox. §3: CREATE with one that is free."""
    client = imap.sign_in()
    client.run("CREATE Bin")
    imap.transcript(r"""
        C: a1 SETMETADATA Bin (/private/specialuse "\\Trash")
        S: a1 OK SETMETADATA completed
        C: a2 LIST "" (Bin Trash)
        S: * LIST (\HasNoChildren \Trash) "/" Bin
        S: * LIST (\HasNoChildren) "/" Trash
        S: a2 OK LIST completed
        C: a3 GETMETADATA Bin /private/specialuse
        S: * METADATA Bin (/private/specialuse "\\Trash")
        S: a3 OK GETMETADATA completed
        C: a4 SETMETADATA Bin (/private/specialuse NIL)
        S: a4 OK SETMETADATA completed
        C: a5 DELETE Trash
        S: a5 OK DELETE completed
        C: a6 CREATE Waste (USE (\Trash))
        S: a6 OK …
        C: a7 LIST (SPECIAL-USE) "" "*a*"
        S: * LIST (\HasNoChildren \Drafts) "/" Drafts
        S: * LIST (\HasNoChildren \Sent) "/" "Sent Mail"
        S: * LIST (\HasNoChildren \Trash) "/" Waste
        S: a7 OK LIST completed
        C: a8 SETMETADATA Bin (/private/specialuse "\\All")
        S: a8 NO [CANNOT] This use cannot be set so
        C: a9 SETMETADATA INBOX (/private/specialuse "\\Junk")
        S: a9 NO [CANNOT] This mailbox must stay as it is
        C: b1 SETMETADATA "" (/private/specialuse "\\Junk")
        S: b1 NO [CANNOT] This use cannot be set so
        """)


def test_inbox_renamed_under_sessions(imap: Imap) -> None:
    """RFC 9051 §6.3.6: the messages go, those below INBOX stay; a session in INBOX sees them go, and new ones come."""
    imap.fill(2)
    imap.sign_in("1", "INBOX")
    other = imap.sign_in("2")
    other.run("CREATE INBOX/below")
    other.run("RENAME INBOX Old")
    imap.transcript(r"""
        C1: a1 NOOP
        S1: * 1 EXPUNGE
        S1: * 1 EXPUNGE
        S1: a1 OK Completed
        C2: b1 LIST "" "INBOX*"
        S2: * LIST (\HasChildren) "/" INBOX
        S2: * LIST (\HasNoChildren) "/" INBOX/below
        S2: b1 OK LIST completed
        """)
    imap.fill(1)
    imap.transcript(r"""
        C1: a2 NOOP
        S1: * 1 EXISTS
        S1: a2 OK Completed
        C1: a3 FETCH 1 UID
        S1: * 1 FETCH (UID 3)
        S1: a3 OK FETCH completed
        C2: b2 RENAME INBOX Old
        S2: b2 NO [ALREADYEXISTS] A mailbox of that name exists
        C2: b3 STATUS INBOX (MESSAGES)
        S2: * STATUS INBOX (MESSAGES 1)
        S2: b3 OK STATUS completed
        """)


def test_a_mailbox_renamed_under_a_session_stays_open(imap: Imap) -> None:
    """What is selected is the mailbox, not its name; a new one of the old name is another."""
    other = imap.sign_in("2")
    other.run("CREATE One")
    imap.fill(2, mailbox="One")
    imap.sign_in("1", "One")
    other.run("RENAME One Two")
    other.run("CREATE One")
    imap.fill(1, mailbox="Two")
    imap.fill(1, mailbox="One")
    imap.transcript(r"""
        C1: a1 NOOP
        S1: * 3 EXISTS
        S1: a1 OK Completed
        C1: a2 STORE 1 +FLAGS.SILENT (\Deleted)
        S1: a2 OK STORE completed
        C1: a3 EXPUNGE
        S1: * 1 EXPUNGE
        S1: a3 OK …
        C2: b1 STATUS Two (MESSAGES)
        S2: * STATUS Two (MESSAGES 2)
        S2: b1 OK STATUS completed
        C2: b2 STATUS One (MESSAGES)
        S2: * STATUS One (MESSAGES 1)
        S2: b2 OK STATUS completed
        """)
