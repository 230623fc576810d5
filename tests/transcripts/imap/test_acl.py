"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS, and what rights do to every other command (RFC 4314)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mailcore.model.flags import FlagSet
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.rights import ALL_RIGHTS
from mailcore.services import MailServices
from mailcore.services.mailboxes import access
from mailcore.services.mailboxes.access import Access
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.transcripts.imap.dialogue import Client, Imap


@dataclass
class Shared:
    """Fred's mailbox Team with two messages, and Ann of the same tenant, each signed in."""

    services: MailServices
    fred: Imap
    ann: Imap
    owner: Client
    guest: Client
    name: str

    def grant(self, rights: str) -> None:
        """Let Ann have these rights on Team."""
        self.owner.run(f"SETACL Team {self.ann.user.address} {rights}")

    def refused(self, command: str, code: str = "NOPERM") -> bool:
        """Whether Ann is refused a command."""
        return f"x NO [{code}] ".encode() in self.guest.ask(f"x {command}\r\n".encode())


@pytest.fixture
def shared(services: MailServices) -> Iterator[Shared]:
    tenant = make_tenant(services)
    fred, ann = (Imap(services, make_user(services, tenant=tenant)) for _ in range(2))
    services.mailboxes.create(fred.user.user_id, OPERATOR, "Team")
    fred.append(
        NewMessage(b"Subject: one\r\n\r\nfirst\r\n", FlagSet(0, ("$Work",))),
        NewMessage(b"Subject: two\r\n\r\nsecond\r\n"),
        mailbox="Team",
    )
    made = Shared(services, fred, ann, fred.sign_in(), ann.sign_in(), f"Shared/{fred.user.address}/Team")
    yield made
    for client in (*fred.clients.values(), *ann.clients.values()):
        client.close()


def test_lists_are_kept(shared: Shared) -> None:
    """RFC 4314 §3."""
    fred, ann = shared.fred.user.address, shared.ann.user.address
    shared.fred.transcript(rf"""
        C: A001 GETACL Team
        S: * ACL Team {fred} lrswipkxteacd
        S: A001 OK GETACL completed
        C: A002 SETACL Team {ann} lrswi
        S: A002 OK SETACL completed
        C: A003 SETACL Team {ann} +cd
        S: A003 OK SETACL completed
        C: A004 SETACL Team {ann.upper()} -xt
        S: A004 OK SETACL completed
        C: A005 GETACL Team
        S: * ACL Team {fred} lrswipkxteacd {ann} lrswikecd
        S: A005 OK GETACL completed
        C: A006 DELETEACL Team {ann}
        S: A006 OK DELETEACL completed
        C: A007 GETACL Team
        S: * ACL Team {fred} lrswipkxteacd
        S: A007 OK GETACL completed
        C: A008 LISTRIGHTS Team {ann}
        S: * LISTRIGHTS Team {ann} "" l r s w i p k x t e a
        S: A008 OK LISTRIGHTS completed
        C: A009 LISTRIGHTS Team {fred}
        S: * LISTRIGHTS Team {fred} lrswipkxteacd
        S: A009 OK LISTRIGHTS completed
        C: A010 MYRIGHTS Team
        S: * MYRIGHTS Team lrswipkxteacd
        S: A010 OK MYRIGHTS completed
        """)


def test_what_cannot_be_set(shared: Shared) -> None:
    ann, fred = shared.ann.user.address, shared.fred.user.address
    shared.fred.transcript(f"""
        C: a SETACL Team {ann} lq
        S: a NO [CANNOT] Not a value that can be set
        C: b SETACL Team {fred} lr
        S: b NO [NOPERM] Not allowed
        C: c SETACL Team nobody@example.com lr
        S: c NO [NONEXISTENT] No such thing
        C: d SETACL Team anyone lr
        S: d NO [NONEXISTENT] No such thing
        C: e SETACL Team -{ann} lr
        S: e NO [NONEXISTENT] No such thing
        C: f SETACL Nowhere {ann} lr
        S: f NO [NONEXISTENT] No such mailbox
        C: g SETACL Team "" lr
        S: g BAD identifier expected
        """)


def test_nobody_of_another_tenant_gets_in(shared: Shared) -> None:
    """W20: whatever is asked for, and even if a list names them."""
    stranger = Imap(shared.services, make_user(shared.services))
    assert shared.owner.ask(f"a SETACL Team {stranger.user.address} lr\r\n".encode()).startswith(b"a NO [NONEXISTENT]")
    client = stranger.sign_in()
    for command in (f'SELECT "{shared.name}"', f'MYRIGHTS "{shared.name}"', f'STATUS "{shared.name}" (MESSAGES)'):
        assert client.ask(f"a {command}\r\n".encode()).startswith(b"a NO [NONEXISTENT] ")
    client.close()


def _stranger_reads(shared: Shared, stranger: MadeUser, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(MailboxEntry, "rights_of", lambda _self, _user: ALL_RIGHTS)
    place = access.Place(
        shared.fred.user.user_id, shared.services.mailboxes.find(shared.fred.user.user_id, "Team").name
    )
    client = Imap(shared.services, stranger).sign_in()
    try:
        shared.services.mailboxes.open(place.owner_id, place.name, client.connection.session.actor)
    except Exception:
        return False
    finally:
        client.close()
    return True


def test_tenants_mixed_up(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the tenant is asked for behind the list too."""
    stranger = make_user(shared.services)
    assert not _stranger_reads(shared, stranger, monkeypatch)
    monkeypatch.setattr(Access, "same_tenant", lambda _self, _one, _other: True)
    assert _stranger_reads(shared, stranger, monkeypatch)


def test_shared_mailboxes_are_listed(shared: Shared) -> None:
    """RFC 4314 §4: l; RFC 8440: MYRIGHTS; RFC 2342: another namespace."""
    assert b"Shared" not in shared.guest.run('LIST "" "*"')
    shared.grant("r")
    assert b"Shared" not in shared.guest.run('LIST "" "*"')
    shared.grant("lr")
    shared.guest.run(f'SUBSCRIBE "{shared.name}"')
    fred = shared.fred.user.address
    shared.ann.transcript(rf"""
        C: a LIST "" "Shared/*"
        S: * LIST (\NonExistent \Noselect \HasChildren) "/" Shared/{fred}
        S: * LIST (\HasNoChildren) "/" {shared.name}
        S: a OK LIST completed
        C: b LIST "" "Shared/%/%" RETURN (SUBSCRIBED MYRIGHTS STATUS (MESSAGES))
        S: * LIST (\HasNoChildren \Subscribed) "/" {shared.name}
        S: * MYRIGHTS {shared.name} lr
        S: * STATUS {shared.name} (MESSAGES 2)
        S: b OK LIST completed
        C: c LSUB "" "Shared*"
        S: * LSUB () "/" {shared.name}
        S: c OK LSUB completed
        C: d LIST "" "Drafts" RETURN (MYRIGHTS)
        S: * LIST (\HasNoChildren \Drafts) "/" Drafts
        S: * MYRIGHTS Drafts lrswipkxteacd
        S: d OK LIST completed
        """)


def test_without_any_right_there_is_nothing(shared: Shared) -> None:
    """RFC 4314 §6: that a mailbox exists is not told."""
    name = f'"{shared.name}"'
    for command in (
        f"SELECT {name}", f"EXAMINE {name}", f"STATUS {name} (MESSAGES)", f"DELETE {name}", f"MYRIGHTS {name}",
        f"GETACL {name}", f"RENAME {name} {name[:-1]}x\"", f"GETQUOTAROOT {name}", f"CREATE {name[:-1]}/sub\"",
        f"SETACL {name} {shared.ann.user.address} lr",
    ):  # fmt: skip
        assert shared.refused(command, "NONEXISTENT"), command
    shared.guest.run("SELECT INBOX")
    assert shared.guest.ask(f"a APPEND {name} {{3+}}\r\nabc\r\n".encode()).startswith(b"a NO [TRYCREATE]")


READ_ONLY = "lr"


def test_reading(shared: Shared) -> None:
    r"""r lets SELECT, FETCH, SEARCH and COPY away from it; without s nothing becomes \Seen."""
    shared.grant(READ_ONLY)
    answer = shared.guest.run(f'SELECT "{shared.name}"')
    assert b"* 2 EXISTS" in answer
    assert b"[READ-ONLY]" in answer
    assert b"first" in shared.guest.run("FETCH 1 BODY[TEXT]")
    assert b"* SEARCH 2" in shared.guest.run("SEARCH TEXT second")
    assert b"FLAGS ($Work)" in shared.guest.run("FETCH 1 FLAGS")
    for command in (r"STORE 1 +FLAGS (\Seen)", "EXPUNGE", "MOVE 1 INBOX", "UID EXPUNGE 1"):
        assert shared.refused(command), command
    assert shared.refused(f'COPY 1 "{shared.name}"')
    shared.guest.run("CLOSE")


def test_copies_belong_to_who_copies(shared: Shared) -> None:
    """A copy into one's own mailbox is one's own: it stays when the owner's message and rights go."""
    shared.grant(READ_ONLY)
    shared.guest.run(f'SELECT "{shared.name}"')
    answer = shared.guest.run("COPY 1:2 INBOX")
    assert answer.startswith(b"t OK [COPYUID ")
    assert answer.endswith(b" 1:2 1:2] COPY completed\r\n")
    shared.owner.run("SELECT Team")
    shared.owner.run(r"STORE 1:* +FLAGS (\Deleted)")
    shared.owner.run("EXPUNGE")
    shared.owner.run(f"DELETEACL Team {shared.ann.user.address}")
    answer = shared.guest.run("SELECT INBOX")
    assert b"* 2 EXISTS" in answer
    assert b"$Work" in shared.guest.run("FETCH 1 FLAGS")
    assert b"second" in shared.guest.run("FETCH 2 BODY[]")
    ann = shared.services.mailboxes.open(shared.ann.user.user_id, "INBOX")
    oids = ann.message_oids.tobytes()
    assert len(shared.services.content.items(shared.ann.user.user_id, [oids[:12], oids[12:]])) == 2


@pytest.mark.parametrize(
    ("rights", "stored", "left"),
    [("lrs", rb"\Seen", b"(\\Seen $Work)"), ("lrt", rb"\Deleted", b"(\\Deleted $Work)"),
     ("lrw", rb"\Flagged $New", b"(\\Flagged $Work $New)")],
)  # fmt: skip
def test_flags_that_may_be_changed(shared: Shared, rights: str, stored: bytes, left: bytes) -> None:
    r"""RFC 4314 §4, STORE: s for \Seen, t for \Deleted, w for the others; the rest is left alone."""
    shared.grant(rights)
    assert b"[READ-WRITE]" in shared.guest.run(f'SELECT "{shared.name}"')
    everything = r"\Seen \Deleted \Flagged $New"
    assert b"FLAGS " + left in shared.guest.run(f"STORE 1 +FLAGS ({everything})")
    others = everything.replace(stored.decode(), "").strip()
    for flag in others.split():
        if flag.encode() not in stored:
            assert shared.refused(f"STORE 1 +FLAGS ({flag})"), flag
    answer = shared.guest.run("STORE 1 FLAGS ()")
    assert b"FLAGS ()" in answer if rights == "lrw" else b"FLAGS ($Work)" in answer


@pytest.mark.parametrize(
    ("rights", "permanent"),
    [("lr", rb"()"), ("lri", rb"()"), ("lrs", rb"(\Seen)"), ("lrt", rb"(\Deleted)"),
     ("lrw", rb"(\Answered \Flagged \Draft $Work \*)"),
     ("lrswt", rb"(\Seen \Answered \Flagged \Deleted \Draft $Work \*)")],
)  # fmt: skip
def test_permanent_flags_are_those_that_may_be_changed(shared: Shared, rights: str, permanent: bytes) -> None:
    """RFC 9051 §7.1: PERMANENTFLAGS lists what the client can change permanently, and no more."""
    shared.grant(rights)
    answer = shared.guest.run(f'SELECT "{shared.name}"')
    assert b"* OK [PERMANENTFLAGS " + permanent + b"] " in answer
    assert rb"* FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Work)" in answer
    shared.owner.run("SELECT Team")
    shared.owner.run("STORE 1 +FLAGS ($More)")
    assert b"[PERMANENTFLAGS " + permanent.replace(b"$Work", b"$Work $More") + b"] " in shared.guest.run("IDLE\r\nDONE")


def test_foreign_keywords_without_room_stay_behind(shared: Shared) -> None:
    """A copy to another user's mailbox is not refused for a keyword that has no room there."""
    shared.grant("lriw")
    shared.owner.run("SELECT Team")
    shared.owner.run("STORE 2 +FLAGS (" + " ".join(f"k{number}" for number in range(55)) + ")")
    shared.ann.append(NewMessage(b"Subject: three\r\n\r\n", FlagSet(0, ("$Work", "Other"))))
    shared.guest.run("SELECT INBOX")
    assert b"[COPYUID " in shared.guest.run(f'COPY 1 "{shared.name}"')
    shared.owner.run("NOOP")
    assert b"* 3 FETCH (FLAGS ($Work))" in shared.owner.run("FETCH 3 FLAGS")


def test_seen_is_the_mailboxs(shared: Shared) -> None:
    r"""\Seen is one flag for all who share the mailbox."""
    shared.grant("lrs")
    shared.guest.run(f'SELECT "{shared.name}"')
    shared.guest.run("FETCH 1 BODY[]")
    shared.owner.run("SELECT Team")
    assert rb"\Seen" in shared.owner.run("FETCH 1 FLAGS")


def test_inserting(shared: Shared) -> None:
    """i lets APPEND and COPY to it; flags need their rights; quota is the owner's."""
    shared.grant("li")
    raw = b"Subject: three\r\n\r\n"
    append = f'a APPEND "{shared.name}" (\\Seen \\Flagged $New) {{{len(raw)}+}}\r\n'.encode() + raw + b"\r\n"
    assert shared.guest.ask(append).startswith(b"a OK [APPENDUID ")
    shared.ann.append(b"Subject: four\r\n\r\n")
    shared.guest.run("SELECT INBOX")
    assert shared.guest.run(f'COPY 1 "{shared.name}"').startswith(b"t OK [COPYUID ")
    assert b"* 1 EXPUNGE" in shared.guest.run(f'MOVE 1 "{shared.name}"')
    shared.owner.run("SELECT Team")
    answer = shared.owner.run("FETCH 3:* (FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])")
    assert answer.count(b"FLAGS ()") == 3
    assert answer.count(b"Subject: four") == 2
    shared.services.users.set_quota(OPERATOR, shared.fred.user.user_id, 10)
    shared.services.placement.forget(shared.fred.user.user_id)
    assert shared.guest.ask(append).startswith(b"a NO [OVERQUOTA]")
    assert shared.refused(f'SELECT "{shared.name}"')


def test_expunging_and_moving_away(shared: Shared) -> None:
    shared.grant("lrte")
    shared.guest.run(f'SELECT "{shared.name}"')
    assert b"* 1 EXPUNGE" in shared.guest.run("MOVE 1 INBOX")
    shared.guest.run(r"STORE 1 +FLAGS (\Deleted)")
    assert b"* 1 EXPUNGE" in shared.guest.run("EXPUNGE")
    assert b"MESSAGES 0" in shared.owner.run("STATUS Team (MESSAGES)")
    assert b"MESSAGES 1" in shared.guest.run("STATUS INBOX (MESSAGES)")


def test_creating_deleting_renaming(shared: Shared) -> None:
    """k and x; what is made below a shared mailbox is shared alike, and the owner's."""
    shared.grant("lr")
    assert shared.refused(f'CREATE "{shared.name}/Sub"')
    assert shared.refused(f'DELETE "{shared.name}"')
    shared.grant("lrk")
    shared.guest.run(f'CREATE "{shared.name}/Sub"')
    assert b"Team/Sub" in shared.owner.run('LIST "" "Team/*"')
    assert b" lrkc\r\n" in shared.guest.run(f'MYRIGHTS "{shared.name}/Sub"')
    assert shared.refused(f'RENAME "{shared.name}/Sub" "{shared.name}/Other"')
    assert shared.refused(f'CREATE "Shared/{shared.fred.user.address}/Top"', "NONEXISTENT")
    shared.owner.run(f"SETACL Team/Sub {shared.ann.user.address} lrkx")
    shared.guest.run(f'RENAME "{shared.name}/Sub" "{shared.name}/Other"')
    assert shared.refused(f'RENAME "{shared.name}/Other" Mine', "CANNOT")
    shared.guest.run(f'DELETE "{shared.name}/Other"')
    assert b"Team/" not in shared.owner.run('LIST "" "*"')


def test_administering(shared: Shared) -> None:
    shared.grant("lr")
    for command in (f'GETACL "{shared.name}"', f'SETACL "{shared.name}" {shared.ann.user.address} lra',
                    f'DELETEACL "{shared.name}" {shared.ann.user.address}',
                    f'LISTRIGHTS "{shared.name}" {shared.ann.user.address}'):  # fmt: skip
        assert shared.refused(command), command
    shared.grant("lra")
    shared.guest.run(f'SETACL "{shared.name}" {shared.ann.user.address} +i')
    assert shared.ann.user.address.encode() + b" lria" in shared.guest.run(f'GETACL "{shared.name}"')
    assert shared.refused(f'SETACL "{shared.name}" {shared.fred.user.address} ""')


def test_rights_end_at_once(shared: Shared) -> None:
    """A session that has the mailbox open is refused its next command."""
    shared.grant("lrswite")
    shared.guest.run(f'SELECT "{shared.name}"')
    shared.grant("l")
    for command in ("FETCH 1 BODY.PEEK[]", "SEARCH ALL", r"STORE 1 +FLAGS (\Seen)", "EXPUNGE", "COPY 1 INBOX"):
        assert shared.refused(command), command
    shared.owner.run(f"DELETEACL Team {shared.ann.user.address}")
    assert shared.refused("FETCH 1 BODY.PEEK[]", "NONEXISTENT")


def test_idling_on_a_shared_mailbox(shared: Shared) -> None:
    """News come; when the right to read is gone, no more."""
    shared.grant("lr")
    shared.guest.run(f'SELECT "{shared.name}"')
    shared.guest.ask(b"a IDLE\r\n")
    shared.fred.append(b"Subject: three\r\n\r\n", mailbox="Team")
    shared.guest.notice()
    assert shared.guest.take() == b"* 3 EXISTS\r\n"
    shared.owner.run(f"DELETEACL Team {shared.ann.user.address}")
    shared.fred.append(b"Subject: four\r\n\r\n", mailbox="Team")
    shared.guest.notice()
    assert shared.guest.take().startswith(b"* BYE ")


def test_rights_not_looked_at(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: it is this one function that refuses."""
    assert shared.refused(f'SELECT "{shared.name}"', "NONEXISTENT")
    monkeypatch.setattr(Access, "rights", lambda *_args: ALL_RIGHTS)
    assert b"* 2 EXISTS" in shared.guest.run(f'SELECT "{shared.name}"')


def test_own_mailboxes_named_shared(imap: Imap) -> None:
    """Only a name with an address in it is another's."""
    client = imap.sign_in()
    client.run("CREATE Shared/Projects")
    assert b"Shared/Projects" in client.run('LIST "" "Shared/*"')
    assert client.ask(b"a CREATE Shared/nobody@example.com/x\r\n").startswith(b"a NO [NONEXISTENT]")
    assert client.ask(f"a SELECT Shared/{imap.user.address}/INBOX\r\n".encode()).startswith(b"a NO [NONEXISTENT]")


def test_quota_root_of_a_shared_mailbox(shared: Shared) -> None:
    """RFC 9208: it is the owner's."""
    shared.grant("lr")
    shared.services.users.set_quota(OPERATOR, shared.fred.user.user_id, 1 << 20)
    shared.services.placement.forget(shared.fred.user.user_id)
    root = f"Shared/{shared.fred.user.address}"
    shared.ann.transcript(f"""
        C: a GETQUOTAROOT {shared.name}
        S: * QUOTAROOT {shared.name} {root}
        S: * QUOTA {root} (STORAGE 1 1024)
        S: a OK GETQUOTAROOT completed
        C: b GETQUOTA {root}
        S: * QUOTA {root} (STORAGE 1 1024)
        S: b OK GETQUOTA completed
        C: c GETQUOTA {root}x
        S: c NO [NONEXISTENT] No such thing
        C: d GETQUOTA Shared
        S: d NO [NONEXISTENT] No such thing
        """)
    shared.owner.run(f"DELETEACL Team {shared.ann.user.address}")
    assert shared.refused(f"GETQUOTA {root}", "NONEXISTENT")
