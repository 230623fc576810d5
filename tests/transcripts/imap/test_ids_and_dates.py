"""WITHIN (RFC 5032), SAVEDATE (RFC 8514), OBJECTID (RFC 8474), PREVIEW (RFC 8970), Gmail's numbers."""

from __future__ import annotations

import re
import time

from mailcore.services.mailboxes.messages import NewMessage
from tests.transcripts.imap.dialogue import Imap

DAY = 86400


def test_within(imap: Imap) -> None:
    """RFC 5032 §2: counted from the internal date, by the second."""
    now = int(time.time())
    imap.append(*(NewMessage(b"x: y\r\n\r\n", internal_date=now - age) for age in (10 * DAY, 3 * DAY, 60)))
    imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a1 SEARCH UNSEEN YOUNGER 259260
        S: * SEARCH 2 3
        S: a1 OK SEARCH completed
        C: a2 SEARCH OLDER 259100
        S: * SEARCH 1 2
        S: a2 OK SEARCH completed
        C: a3 SEARCH OLDER 4294967295
        S: * SEARCH
        S: a3 OK SEARCH completed
        C: a4 SEARCH YOUNGER 0
        S: a4 BAD number must not be zero
        C: a5 SEARCH OLDER -1
        S: a5 BAD number expected
        """)


def test_savedate(imap: Imap) -> None:
    """RFC 8514 §4: when it came into this mailbox, whatever its internal date."""
    imap.append(NewMessage(b"x: y\r\n\r\n", internal_date=760060800))
    client = imap.sign_in(select="INBOX")
    found = re.search(rb'SAVEDATE "([^"]{26})"\)', client.run("FETCH 1 SAVEDATE"))
    assert found
    saved = time.strptime(found[1].decode().strip(), "%d-%b-%Y %H:%M:%S +0000")
    assert saved.tm_year > 2000
    day = time.strftime("%d-%b-%Y", saved)
    imap.transcript(f"""
        C: a1 SEARCH SAVEDON {day}
        S: * SEARCH 1
        S: a1 OK SEARCH completed
        C: a2 SEARCH SAVEDBEFORE {day}
        S: * SEARCH
        S: a2 OK SEARCH completed
        C: a3 SEARCH SAVEDSINCE {day} SAVEDATESUPPORTED BEFORE 1-Jan-2000
        S: * SEARCH 1
        S: a3 OK SEARCH completed
        """)


def test_object_ids(imap: Imap) -> None:
    """RFC 8474 §4.1 to §5.2: a mailbox keeps its id under another name, a message in another mailbox."""
    imap.append(
        b"Message-ID: <1@x>\r\nSubject: a\r\n\r\n",
        b"Message-ID: <2@x>\r\nReferences: <1@x>\r\n\r\n",
        b"Message-ID: <3@x>\r\n\r\n",
    )
    imap.sign_in()
    imap.transcript("""
        C: a1 CREATE foo
        S: a1 OK [MAILBOXID («foo»)] CREATE completed
        C: a2 RENAME foo bar
        S: a2 OK RENAME completed
        C: a3 STATUS bar (MAILBOXID)
        S: * STATUS bar (MAILBOXID («foo»))
        S: a3 OK STATUS completed
        C: a4 STATUS INBOX (MESSAGES MAILBOXID)
        S: * STATUS INBOX (MESSAGES 3 MAILBOXID («inbox»))
        S: a4 OK STATUS completed
        """)
    assert imap.names["foo"] != imap.names["inbox"]
    assert b"[MAILBOXID (%b)]" % imap.names["inbox"].encode() in imap.clients[""].run("SELECT INBOX")
    imap.transcript("""
        C: b1 FETCH 1:* (EMAILID THREADID X-GM-MSGID X-GM-THRID)
        S: * 1 FETCH (EMAILID («m1») THREADID («t1») X-GM-MSGID «g1» X-GM-THRID «h1»)
        S: * 2 FETCH (EMAILID («m2») THREADID («t1») X-GM-MSGID «g2» X-GM-THRID «h1»)
        S: * 3 FETCH (EMAILID («m3») THREADID («t3») X-GM-MSGID «g3» X-GM-THRID «h3»)
        S: b1 OK FETCH completed
        C: b2 COPY 2 bar
        S: b2 OK …
        C: b3 UID SEARCH EMAILID «m2»
        S: * SEARCH 2
        S: b3 OK SEARCH completed
        C: b4 UID SEARCH THREADID «t1» NOT EMAILID «m2»
        S: * SEARCH 1
        S: b4 OK SEARCH completed
        C: b5 SEARCH OR THREADID nonsense EMAILID T00
        S: * SEARCH
        S: b5 OK SEARCH completed
        C: b6 SEARCH X-GM-MSGID «g3»
        S: * SEARCH 3
        S: b6 OK SEARCH completed
        C: b7 SEARCH X-GM-THRID «h1»
        S: * SEARCH 1 2
        S: b7 OK SEARCH completed
        C: b8 SEARCH EMAILID "a b"
        S: b8 BAD not an object id
        """)
    assert len({imap.names[name] for name in ("m1", "m2", "m3", "g1", "g2", "g3", "t1", "t3", "h1", "h3")}) == 10
    imap.clients[""].run("SELECT bar")
    imap.transcript("""
        C: c1 FETCH 1 (EMAILID THREADID X-GM-MSGID X-GM-THRID)
        S: * 1 FETCH (EMAILID («m2») THREADID («t1») X-GM-MSGID «g2» X-GM-THRID «h1»)
        S: c1 OK FETCH completed
        """)


def test_preview(imap: Imap) -> None:
    """RFC 8970 §3 and §4: the beginning of the text, whether it is waited for or not."""
    imap.append(
        b"Subject: x\r\n\r\nThis is  the\r\nfirst line.\r\n",
        b"Content-Type: text/html\r\n\r\n<style>p{}</style><p>Hello <b>you</b></p>",
        "Content-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode(),
        b"Subject: x\r\n\r\n",
        b"Content-Type: image/png\r\n\r\nxxxx",
        b"Content-Type: text/plain\r\n\r\n" + b"word " * 100,
    )
    client = imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a1 FETCH 1:2 (PREVIEW)
        S: * 1 FETCH (PREVIEW "This is the first line.")
        S: * 2 FETCH (PREVIEW "Hello you")
        S: a1 OK FETCH completed
        C: a2 FETCH 3:5 (PREVIEW (LAZY))
        S: * 3 FETCH (PREVIEW {7}
        S: Grüße)
        S: * 4 FETCH (PREVIEW "")
        S: * 5 FETCH (PREVIEW "")
        S: a2 OK FETCH completed
        C: a3 FETCH 1 PREVIEW (LAZY)
        S: * 1 FETCH (PREVIEW "This is the first line.")
        S: a3 OK FETCH completed
        C: a4 FETCH 1 (PREVIEW (EAGER))
        S: a4 BAD unknown PREVIEW modifier
        C: a5 FETCH 1 (PREVIEW BODY.PEEK[HEADER.FIELDS (SUBJECT)] UID)
        S: * 1 FETCH (UID 1 PREVIEW "This is the first line." BODY[HEADER.FIELDS (SUBJECT)] {14}
        S: Subject: x
        S:
        S: )
        S: a5 OK FETCH completed
        """)
    found = re.search(rb'PREVIEW "([^"]+)"', client.run("FETCH 6 PREVIEW"))
    assert found
    assert len(found[1]) <= 200
    assert b"UNSEEN 6" in client.run("STATUS INBOX (UNSEEN)")


def test_deleted_are_counted(imap: Imap) -> None:
    """RFC 9051 §6.3.11."""
    imap.fill(3, deleted={1, 3})
    imap.sign_in()
    imap.transcript("""
        C: a STATUS INBOX (DELETED MESSAGES)
        S: * STATUS INBOX (DELETED 2 MESSAGES 3)
        S: a OK STATUS completed
        C: b LIST "" (INBOX Trash) RETURN (STATUS (DELETED HIGHESTMODSEQ))
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * STATUS INBOX (DELETED 2 HIGHESTMODSEQ 2)
        S: * LIST (\\HasNoChildren \\Trash) "/" Trash
        S: * STATUS Trash (DELETED 0 HIGHESTMODSEQ 1)
        S: b OK LIST completed
        """)
