"""One message to 50 recipients with 50 sets of rules, handed to the LMTP server: each copy lands as the table says."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailcore.model.filter import (
    Condition,
    Match,
    Part,
    Query,
    RuleAction,
    RuleContent,
    RuleReply,
    Verdict,
    of_tenant,
    of_user,
)
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxName
from mailcore.model.outbound import Reason
from mailcore.services import MailServices
from mailcore.services.inbound.programs import Programs
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user
from tests.system.servers import RunningServer, environment_of, start

HOST = "127.0.0.1"
IDENT = "4TABLE1"
REVERSE_PATH = "bounce+7@news.outside.test"
MESSAGE = b"""From: =?utf-8?q?Ann_=C3=84?= <ann@news.outside.test>\r
To: everyone@lists.outside.test\r
Cc: Carol <carol@other.test>\r
Subject: =?utf-8?q?Rechnung_M=C3=A4rz?= 2026-77\r
Date: Tue, 03 Mar 2026 10:00:00 +0000\r
Message-ID: <table@news.outside.test>\r
List-Id: Weekly <weekly.news.outside.test>\r
X-Tracker: abc-123\r
X-Rspamd-Queue-Id: 4TABLE1\r
X-Spamd-Result: default: False [5.50 / 15.00]\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/html; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
<p>Your <b>invoice</b> of 77&nbsp;=E2=82=AC</p>\r
--b\r
Content-Type: application/pdf; name=invoice.pdf\r
Content-Disposition: attachment; filename=invoice.pdf\r
Content-Transfer-Encoding: base64\r
\r
JVBERi0xLjQK\r
--b--\r
"""
ALL = Query()
SEEN = RuleAction(seen=True)
Flags = frozenset[str]
NOTHING: Flags = frozenset()


class Box:
    """One recipient being set up."""

    def __init__(self, services: MailServices, user: MadeUser) -> None:
        self.services = services
        self.user = user
        self.owner = of_user(user.user_id)

    def rule(self, query: Query = ALL, into: str | None = None, **more: Any) -> Any:
        """Add a rule; `into` names the mailbox, the rest is of the action or of the rule."""
        of_rule = {name: more.pop(name) for name in ("stops", "is_disabled") if name in more}
        if into is not None:
            more["mailbox_id"] = self.services.mailboxes.find(self.user.user_id, into).id
        content = RuleContent(query, RuleAction(**more), **of_rule)
        return self.services.filters.create(OPERATOR, self.owner, content).id

    def when(self, into: str | None = None, /, *, any_of: bool = False, **query: Any) -> None:
        """Add a rule that files into Archive what is like the query."""
        self.rule(Query(any_of=any_of, **query), into=into or "Archive")

    def check(self, part: Part, match: Match, value: str = "", header: str = "", *, negated: bool = False) -> None:
        """Add a rule that files into Archive what fulfils a condition."""
        self.when(conditions=(Condition(part, match, value, header, negated),))

    def script(self, text: str) -> None:
        """Let a script have its say."""
        self.services.scripts.put(OPERATOR, self.user.user_id, "main", text)
        self.services.scripts.activate(OPERATOR, self.user.user_id, "main")

    def settings(self, **changes: Any) -> None:
        """Change settings of the user."""
        self.services.users.set_settings(OPERATOR, self.user.user_id, changes)

    def listed(self, verdict: Verdict) -> None:
        """Put the sender's domain on a list for the user's tag."""
        tag = f"tag-{self.user.user_id}"
        self.settings(tags=(tag,))
        self.services.domain_access.put(OPERATOR, self.user.tenant_id, tag, verdict, "news.outside.test")

    def mailbox(self, name: str) -> None:
        """Make a mailbox."""
        self.services.mailboxes.create(self.user.user_id, OPERATOR, name)


@dataclass(frozen=True)
class Row:
    """One recipient: what it has set up, and what must become of the message."""

    name: str
    set_up: Callable[[Box], object]
    mailboxes: dict[str, Flags] = field(default_factory=lambda: {"INBOX": NOTHING})
    forwards: frozenset[str] = NOTHING
    code: int = 250
    tenant: str = "plain"


INBOX: dict[str, Flags] = {"INBOX": NOTHING}
ARCHIVE: dict[str, Flags] = {"Archive": NOTHING}
JUNK: dict[str, Flags] = {"Junk": NOTHING}
READ: dict[str, Flags] = {"INBOX": frozenset({"\\Seen"})}
NOWHERE: dict[str, Flags] = {}
OUT = "out@far.example"


def _gone(box: Box) -> None:
    box.mailbox("Gone")
    box.when("Gone")
    box.services.mailboxes.delete(box.user.user_id, OPERATOR, "Gone")


def _renamed(box: Box) -> None:
    box.mailbox("Old")
    box.when("Old")
    box.services.mailboxes.rename(box.user.user_id, OPERATOR, "Old", "New/Name")


def _reordered(box: Box) -> None:
    first, second = box.rule(into="Trash"), box.rule(into="Archive")
    box.services.filters.set_order(OPERATOR, box.owner, [second, first])


def _several(*steps: Callable[[Box], object]) -> Callable[[Box], None]:
    def set_up(box: Box) -> None:
        for step in steps:
            step(box)

    return set_up


FAILING = "discard; " + "".join(f'redirect "{number}@far.example";' for number in range(9))
TABLE = [
    Row("nothing", lambda box: None),
    Row("sender", lambda box: box.when(sender="ann@NEWS"), ARCHIVE),
    Row("sender's name", lambda box: box.when(sender="ann ä"), ARCHIVE),
    Row("sender not", lambda box: box.when(sender="bob@"), INBOX),
    Row("copied", lambda box: box.when(recipients="carol@other"), ARCHIVE),
    Row("own address, by the envelope", lambda box: box.when(recipients=box.user.address), ARCHIVE),
    Row("subject decoded", lambda box: box.when(subject="MÄRZ 2026"), ARCHIVE),
    Row("list", lambda box: box.when(list_id="weekly.news"), ARCHIVE),
    Row("text of HTML", lambda box: box.when(text="your invoice of 77"), ARCHIVE),
    Row("text not", lambda box: box.when(text="<b>"), INBOX),
    Row("attachments", lambda box: box.when(has_attachments=True), ARCHIVE),
    Row("no attachments", lambda box: box.when(has_attachments=False), INBOX),
    Row("larger", lambda box: box.when(larger_than=500), ARCHIVE),
    Row("smaller", lambda box: box.when(smaller_than=500), INBOX),
    Row("header is", lambda box: box.check(Part.HEADER, Match.IS, "ABC-123", "x-tracker"), ARCHIVE),
    Row("header exists", lambda box: box.check(Part.HEADER, Match.EXISTS, header="X-Tracker"), ARCHIVE),
    Row("header not there", lambda box: box.check(Part.HEADER, Match.EXISTS, header="X-No", negated=True), ARCHIVE),
    Row("header regex", lambda box: box.check(Part.HEADER, Match.REGEX, "^[a-c]+-[0-9]{3}$", "X-Tracker"), ARCHIVE),
    Row("regex not", lambda box: box.check(Part.SUBJECT, Match.REGEX, "^2026"), INBOX),
    Row("wildcards", lambda box: box.check(Part.SUBJECT, Match.WILDCARDS, "rechnung*2026-??"), ARCHIVE),
    Row("reverse path", lambda box: box.check(Part.REVERSE_PATH, Match.IS, REVERSE_PATH), ARCHIVE),
    Row("any of", lambda box: box.when(any_of=True, sender="nobody", subject="rechnung"), ARCHIVE),
    Row("all of", lambda box: box.when(sender="nobody", subject="rechnung"), INBOX),
    Row("score over", lambda box: box.rule(Query(score_over=5.0), spam=True), JUNK),
    Row("score under", lambda box: box.rule(Query(score_under=5.0), spam=True), INBOX),
    Row("spam level", lambda box: box.settings(spam_level=40), JUNK),
    Row("not spam all the same", _several(
        lambda box: box.settings(spam_level=0), lambda box: box.rule(Query(is_spam=True), spam=False)), INBOX),
    Row("spam, but filed", _several(lambda box: box.rule(spam=True), lambda box: box.rule(into="Archive")), ARCHIVE),
    Row("listed as spam", lambda box: box.listed(Verdict.BLOCK), JUNK),
    Row("listed as none", _several(
        lambda box: box.listed(Verdict.ALLOW), lambda box: box.services.users.set_settings(
            OPERATOR, box.user.user_id, {"spam_level": 0})), INBOX),
    Row("deleted", lambda box: box.rule(delete=True), NOWHERE),
    Row("filed, then deleted", _several(
        lambda box: box.rule(into="Archive"), lambda box: box.rule(delete=True)), NOWHERE),
    Row("the first place counts", _several(
        lambda box: box.rule(into="Archive"), lambda box: box.rule(into="Trash")), ARCHIVE),
    Row("in another order", _reordered, ARCHIVE),
    Row("stopped", _several(
        lambda box: box.rule(seen=True, stops=True), lambda box: box.rule(delete=True)), READ),
    Row("disabled", lambda box: box.rule(delete=True, is_disabled=True), INBOX),
    Row("flags and keywords", _several(
        lambda box: box.rule(flagged=True, flags=FlagSet(0, ("$Work",))),
        lambda box: box.rule(into="Archive", seen=True)), {"Archive": frozenset({"\\Seen", "\\Flagged", "$Work"})}),
    Row("forwarded", lambda box: box.rule(targets=(OUT,)), INBOX, frozenset({OUT})),
    Row("forwarded by two", _several(
        lambda box: box.rule(targets=(OUT, "b@far.example")), lambda box: box.rule(targets=("OUT@far.example",))),
        INBOX, frozenset({OUT, "b@far.example"})),
    Row("forwarded and deleted", lambda box: box.rule(targets=(OUT,), delete=True), NOWHERE, frozenset({OUT})),
    Row("mailbox gone", _gone, INBOX),
    Row("mailbox renamed", _renamed, {"New/Name": NOTHING}),
    Row("script", lambda box: box.script(
        'require ["fileinto", "mailbox", "imap4flags"]; addflag "$L"; fileinto :create "Made/Here";'),
        {"Made/Here": frozenset({"$L"})}),
    Row("script discards", lambda box: box.script("discard;"), NOWHERE),
    Row("script refuses", lambda box: box.script('require "ereject"; ereject "not here";'), NOWHERE, code=550),
    Row("script fails", lambda box: box.script(FAILING), INBOX),
    Row("rules before the script", _several(
        lambda box: box.rule(seen=True), lambda box: box.rule(Query(sender="ann"), into="Archive"),
        lambda box: box.script("discard;")), {"Archive": frozenset({"\\Seen"})}),
    Row("script in two mailboxes", _several(
        lambda box: box.rule(flagged=True),
        lambda box: box.script('require "fileinto"; fileinto "Archive"; keep;')),
        {"Archive": frozenset({"\\Flagged"}), "INBOX": frozenset({"\\Flagged"})}),
    Row("tenant's rules first", lambda box: box.rule(into="Archive"), {"Archive": frozenset({"$Tenant"})},
        tenant="with rules"),
    Row("tenant's rules have the last word", lambda box: box.rule(delete=True), {"Legal": NOTHING},
        tenant="with a last word"),
]  # fmt: skip


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture(scope="module")
def server(
    directory_uri: str, redis_url: str, services: MailServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    environment = environment_of(directory_uri, redis_url, ["lmtp"], EIDER_VERDICT_PEERS="127.0.0.0/8")
    with start(["lmtp"], environment, tmp_path_factory.mktemp("rules")) as server:
        yield server


def make_tenants(services: MailServices) -> dict[str, Any]:
    """A tenant without rules, one with a rule that goes on, one with a rule that stops."""
    tenants = {name: make_tenant(services) for name in ("plain", "with rules", "with a last word")}
    keyword = RuleContent(ALL, RuleAction(flags=FlagSet(0, ("$Tenant",))))
    services.filters.create(OPERATOR, of_tenant(tenants["with rules"][0]), keyword)
    legal = RuleContent(Query(subject="rechnung"), RuleAction(mailbox_name=MailboxName("Legal")), stops=True)
    services.filters.create(OPERATOR, of_tenant(tenants["with a last word"][0]), legal)
    return tenants


def found(services: MailServices, user: MadeUser) -> dict[str, Flags]:
    """Where a user has a copy, and with which flags; two copies in one mailbox are a fault."""
    places = {}
    for entry in services.mailboxes.tree(user.user_id):
        view = services.mailboxes.refresh(user.user_id, entry.id)
        assert view.exists <= 1, entry.name
        if view.exists:
            places[str(entry.name)] = frozenset(view.flag_names(int(view.flags[0])))
    return places


def forwarded(services: MailServices, user: MadeUser) -> list[str]:
    """Whom copies are sent on to, each as often as it is."""
    entries = services.outbound.list_of_user(user.user_id)
    return sorted(
        recipient.address for entry in entries if entry.reason is Reason.FORWARD for recipient in entry.recipients
    )


def hand_over(
    server: RunningServer,
    users: list[MadeUser],
    message: bytes = MESSAGE,
    ident: str = IDENT,
    reverse_path: str = REVERSE_PATH,
) -> list[int]:
    """Send a message in one transaction; return the code for each recipient."""
    client = smtplib.LMTP(HOST, server.port("lmtp"), timeout=60)
    try:
        client.ehlo("mx.outside.test")
        assert client.docmd("XFORWARD", f"IDENT={ident}")[0] == 250
        assert client.docmd("MAIL", f"FROM:<{reverse_path}>")[0] == 250
        for user in users:
            assert client.docmd("RCPT", f"TO:<{user.address}>")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(message + b".\r\n")
        return [client.getreply()[0] for _ in users]
    finally:
        client.close()


def deviations(services: MailServices, users: list[MadeUser], codes: list[int]) -> list[str]:
    """What is not as the table says."""
    faults = []
    for row, user, code in zip(TABLE, users, codes, strict=True):
        expected = (row.code, row.mailboxes, sorted(row.forwards))
        seen = (code, found(services, user), forwarded(services, user))
        if seen != expected:
            faults.append(f"{row.name}: {seen}, not {expected}")
    return faults


def test_each_copy_lands_as_the_table_says(server: RunningServer, services: MailServices) -> None:
    """And the same transaction again, whose answers were lost, changes nothing (P3)."""
    assert len(TABLE) == len({row.name for row in TABLE}) == 50
    tenants = make_tenants(services)
    users = [make_user(services, tenant=tenants[row.tenant]) for row in TABLE]
    for row, user in zip(TABLE, users, strict=True):
        row.set_up(Box(services, user))
    for _ in range(2):
        assert deviations(services, users, hand_over(server, users)) == []
    told = services.placement.shard("a").hot["events"], services.placement.shard("b").hot["events"]
    ours = {"kind": "filter.failed", "user": {"$in": [user.user_id for user in users]}}
    failed = [event["user"] for events in told for event in events.find(ours)]
    assert failed == [user.user_id for row, user in zip(TABLE, users, strict=True) if row.name == "script fails"]


def test_rules_that_nobody_asks_would_be_seen(
    server: RunningServer, services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control, by the service in this process."""
    from tests.services.inbound_mail import take

    users = [make_user(services) for _ in range(2)]
    for user in users:
        Box(services, user).when(sender="ann@")
    assert take(services, MESSAGE, users[0].address) == [None]
    assert found(services, users[0]) == ARCHIVE
    monkeypatch.setattr(Programs, "__bool__", lambda _: False)
    assert take(services, MESSAGE, users[1].address) == [None]
    assert found(services, users[1]) == INBOX


def test_a_rule_answers_the_sender_once_and_never_a_list(server: RunningServer, services: MailServices) -> None:
    """RFC 3834 §2."""
    user = make_user(services)
    Box(services, user).rule(reply=RuleReply("We have it.", "Received"))
    named = MESSAGE.replace(b"everyone@lists.outside.test", user.address.encode())
    assert hand_over(server, [user], named, reverse_path="ann@news.outside.test") == [250]
    assert services.outbound.list_of_user(user.user_id) == []
    personal = named.replace(b"List-Id", b"X-List").replace(b"4TABLE1", b"4TABLE2").replace(b"<table", b"<other")
    for ident in ("4TABLE2", "4TABLE3"):
        again = personal.replace(b"4TABLE2", ident.encode())
        assert hand_over(server, [user], again, ident, "ann@news.outside.test") == [250]
    (entry,) = services.outbound.list_of_user(user.user_id)
    assert (entry.reason, entry.reverse_path) == (Reason.AUTOREPLY, "")
    assert [recipient.address for recipient in entry.recipients] == ["ann@news.outside.test"]
    content = b"".join(services.outbound.content(user.user_id, entry.id).read())
    assert b"Subject: Received" in content
    assert b"We have it." in content
