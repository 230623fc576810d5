"""One message to fifty recipients with fifty different rule sets: each gets what a table says, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailcore.errors import MailError, MessageRejected
from mailcore.message.headers import find_all
from mailcore.model.filter import Condition, Match, Part, Query, RuleAction, RuleContent, RuleReply, of_tenant, of_user
from mailcore.model.filter import Verdict as Listed
from mailcore.model.flags import ANSWERED, FLAGGED, SEEN, FlagSet
from mailcore.model.ids import MailboxName
from mailcore.model.outbound import Reason
from mailcore.model.verdict import Verdict
from mailcore.services import MailServices
from mailcore.services.inbound import inbound
from mailcore.services.inbound.delivery import DeliveryTarget
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.services.inbound_mail import MTA, content, queued
from tests.transcripts.submission.test_content import BCC_FIELD

SENDER = "bob@outside.test"
SPAM = Verdict(score=8.0, is_spam=True)
Set = Callable[[MailServices, MadeUser], None]


@dataclass(frozen=True)
class Expected:
    """What a recipient ends up with: messages by mailbox, flags of the first, and what is queued."""

    boxes: dict[str, int] = field(default_factory=lambda: {"INBOX": 1})
    flags: int = 0
    keywords: tuple[str, ...] = ()
    forwards: tuple[str, ...] = ()
    replies: int = 0
    rejected: str | None = None
    header: bytes | None = None


def rule(query: Query | None = None, *, stops: bool = False, **action: Any) -> Set:
    """One rule of the user; `mailbox` names one that is made for it."""

    def make(services: MailServices, user: MadeUser) -> None:
        named = action.pop("mailbox", None)
        if named is not None:
            entry = next((each for each in services.mailboxes.tree(user.user_id) if each.name == named), None)
            action["mailbox_id"] = entry.id if entry else services.mailboxes.create(user.user_id, OPERATOR, named)
        made = RuleContent(query or Query(), RuleAction(**action), stops=stops)
        services.filters.create(OPERATOR, of_user(user.user_id), made)
        if named is not None:
            action["mailbox"] = named

    return make


def script(text: str) -> Set:
    """The user's active script."""

    def make(services: MailServices, user: MadeUser) -> None:
        services.scripts.put(OPERATOR, user.user_id, "main", text)
        services.scripts.activate(OPERATOR, user.user_id, "main")

    return make


def settings(**changes: Any) -> Set:
    return lambda services, user: services.users.set_settings(OPERATOR, user.user_id, changes)


def tenant_rule(query: Query | None = None, **action: Any) -> Set:
    def make(services: MailServices, user: MadeUser) -> None:
        made = RuleContent(query or Query(), RuleAction(**action))
        services.filters.create(OPERATOR, of_tenant(user.tenant_id), made)

    return make


def listed(verdict: Listed, domain: str = "outside.test") -> Set:
    def make(services: MailServices, user: MadeUser) -> None:
        services.users.set_settings(OPERATOR, user.user_id, {"tags": ("staff",)})
        services.domain_access.put(OPERATOR, user.tenant_id, "staff", verdict, domain)

    return make


def mailbox(name: str) -> Set:
    def make(services: MailServices, user: MadeUser) -> None:
        services.mailboxes.create(user.user_id, OPERATOR, name)

    return make


def gone(name: str) -> Set:
    return lambda services, user: services.mailboxes.delete(user.user_id, OPERATOR, name)


def away(services: MailServices, user: MadeUser) -> None:
    services.autoreplies.set(OPERATOR, user.user_id, {"is_on": True, "text": "away"})


def both(*sets: Set) -> Set:
    def make(services: MailServices, user: MadeUser) -> None:
        for each in sets:
            each(services, user)

    return make


def nothing(_services: MailServices, _user: MadeUser) -> None:
    """No rules at all."""


LIST = Query(list_id="announce.outside")
A, INBOX, JUNK = {"A": 1}, {"INBOX": 1}, {"Junk": 1}
TO_A = 'require "fileinto"; fileinto "A";'
TABLE: dict[str, tuple[Set, Expected]] = {
    "nothing": (nothing, Expected()),
    "by sender": (rule(Query(sender="bob@"), mailbox="A"), Expected(A)),
    "by another sender": (rule(Query(sender="carol@"), mailbox="A"), Expected()),
    "by subject": (rule(Query(subject="QUARTERLY"), mailbox="A"), Expected(A)),
    "by list": (rule(LIST, mailbox="A"), Expected(A)),
    "by text": (rule(Query(text="figures"), mailbox="A"), Expected(A)),
    "by size": (rule(Query(larger_than=10), mailbox="A"), Expected(A)),
    "by another size": (rule(Query(larger_than=1 << 20), mailbox="A"), Expected()),
    "by attachment": (rule(Query(has_attachments=True), mailbox="A"), Expected()),
    "by no attachment": (rule(Query(has_attachments=False), mailbox="A"), Expected(A)),
    "by score": (rule(Query(score_over=1.0), mailbox="A"), Expected()),
    "by header": (
        rule(Query(conditions=(Condition(Part.HEADER, Match.IS, "high", "X-Importance"),)), mailbox="A"),
        Expected(A),
    ),
    "by regex": (
        rule(Query(conditions=(Condition(Part.SUBJECT, Match.REGEX, "^quarter(ly)? fig"),)), mailbox="A"),
        Expected(A),
    ),
    "by wildcards": (
        rule(Query(conditions=(Condition(Part.SUBJECT, Match.WILDCARDS, "quarter*20??"),)), mailbox="A"),
        Expected(A),
    ),
    "any of": (rule(Query(sender="carol@", subject="quarterly", any_of=True), mailbox="A"), Expected(A)),
    "all of": (rule(Query(sender="carol@", subject="quarterly"), mailbox="A"), Expected()),
    "seen": (rule(seen=True), Expected(flags=SEEN)),
    "seen and flagged": (rule(seen=True, flagged=True), Expected(flags=SEEN | FLAGGED)),
    "keywords": (rule(flags=FlagSet(ANSWERED, ("work",))), Expected(flags=ANSWERED, keywords=("work",))),
    "two rules": (both(rule(seen=True), rule(mailbox="A")), Expected(A, SEEN)),
    "the first mailbox": (both(rule(mailbox="A"), rule(mailbox="B")), Expected(A)),
    "stop": (both(rule(stops=True, seen=True), rule(mailbox="A")), Expected(flags=SEEN)),
    "delete": (rule(delete=True), Expected({})),
    "spam by rule": (rule(spam=True), Expected(JUNK)),
    "forward": (rule(targets=("x@else.test",)), Expected(forwards=("x@else.test",))),
    "forward and delete": (rule(targets=("x@else.test",), delete=True), Expected({}, forwards=("x@else.test",))),
    "reply": (rule(reply=RuleReply("thank you")), Expected()),
    "mailbox that is gone": (both(rule(mailbox="A"), gone("A")), Expected()),
    "tenant's flag": (tenant_rule(seen=True), Expected(flags=SEEN)),
    "tenant's mailbox": (tenant_rule(mailbox_name=MailboxName("A")), Expected(A)),
    "tenant's before the user's": (both(tenant_rule(mailbox_name=MailboxName("A")), rule(mailbox="B")), Expected(A)),
    "tenant's delete": (both(tenant_rule(delete=True), rule(mailbox="B")), Expected({})),
    "blocked domain": (listed(Listed.BLOCK), Expected(JUNK)),
    "another's blocked domain": (listed(Listed.BLOCK, "elsewhere.test"), Expected()),
    "allowed domain": (listed(Listed.ALLOW), Expected()),
    "all is spam": (settings(spam_level=1), Expected()),
    "targets": (settings(targets=("y@else.test",)), Expected(forwards=("y@else.test",))),
    "targets and no copy": (
        settings(targets=("y@else.test",), keeps_forwarded=False),
        Expected({}, forwards=("y@else.test",)),
    ),
    "targets and a rule": (
        both(settings(targets=("y@else.test",)), rule(mailbox="A")),
        Expected(A, forwards=("y@else.test",)),
    ),
    "autoreply to a list": (away, Expected()),
    "script": (both(mailbox("A"), script(TO_A)), Expected(A)),
    "script without mailbox": (script(TO_A), Expected()),
    "script makes its mailbox": (script('require ["fileinto","mailbox"]; fileinto :create "A";'), Expected(A)),
    "script by special use": (
        script('require ["fileinto","special-use"]; fileinto :specialuse "\\\\Archive" "INBOX";'),
        Expected({"Archive": 1}),
    ),
    "script of several": (
        both(mailbox("A"), script('require ["fileinto","copy"]; fileinto :copy "A"; fileinto :copy "Trash";')),
        Expected({"A": 1, "Trash": 1, "INBOX": 1}),
    ),
    "script's flags": (
        script('require "imap4flags"; addflag ["\\\\Flagged", "todo"];'),
        Expected(flags=FLAGGED, keywords=("todo",)),
    ),
    "script rejects": (script('require "ereject"; ereject "not to me";'), Expected({}, rejected="not to me")),
    "script redirects": (script('redirect "z@else.test";'), Expected({}, forwards=("z@else.test",))),
    "script edits": (script('require "editheader"; addheader "X-Mark" "1";'), Expected(header=b"1")),
    "script by subaddress": (
        both(mailbox("A"), script('require ["subaddress","envelope","fileinto"]; '
             'if envelope :detail "to" "lists" { fileinto "A"; }')),
        Expected(A),
    ),
    "script that fails": (script("".join(f'redirect "u{n}@else.test";' for n in range(40))), Expected()),
    "rule before script": (both(rule(mailbox="A"), script("discard;")), Expected(A)),
}  # fmt: skip
RAW = (
    b"From: Bob <bob@outside.test>\r\nTo: announce@outside.test\r\nSubject: Quarterly figures 2026\r\n"
    b"Message-ID: <q@outside.test>\r\nList-Id: <announce.outside.test>\r\nX-Importance: high\r\n\r\n"
    b"The figures are out.\r\n"
)


def deliver(
    services: MailServices, users: list[MadeUser], ident: str, verdict: Verdict | None = None
) -> list[MailError | None]:
    targets = [
        DeliveryTarget(services.delivery.resolve(user.address.replace("@", "+lists@"), SENDER)) for user in users
    ]
    return [each.error for each in services.delivery.deliver(RAW, targets, ident, MTA, SENDER, verdict)]


def found(services: MailServices, user: MadeUser, error: MailError | None) -> Expected:
    """What a recipient has, in the words of the table."""
    boxes: Counter[str] = Counter()
    flags, keywords, mark = 0, (), None
    for entry in services.mailboxes.tree(user.user_id):
        view = services.mailboxes.open(user.user_id, entry.name)
        boxes[entry.name] = view.exists
        if view.exists and not flags and not keywords:
            row = int(view.flags[0])
            flags = row & 0xFF
            keywords = tuple(name for name in view.keywords if row & view.keyword_mask(name))
            [stored] = services.content.open_many(user.user_id, [view.message_oid(0)])
            marks = find_all(b"".join(stored.read()), b"x-mark")
            mark = marks[0] if marks else mark
    entries = queued(services, user)
    forwards = tuple(
        recipient.address for entry in entries if entry.reason is Reason.FORWARD for recipient in entry.recipients
    )
    replies = sum(entry.reason is Reason.AUTOREPLY for entry in entries)
    rejected = error.reason if isinstance(error, MessageRejected) else None
    return Expected(dict(+boxes), flags, keywords, forwards, replies, rejected, mark)


def check(services: MailServices, table: dict[str, tuple[Set, Expected]]) -> dict[str, tuple[Expected, Expected]]:
    """Deliver to all of them at once, and again; return where it is not as the table says."""
    shared = make_tenant(services)
    alone = ("tenant", "domain")
    users = [
        make_user(services, tenant=make_tenant(services) if any(word in name for word in alone) else shared)
        for name in table
    ]
    for user, (made, _) in zip(users, table.values(), strict=True):
        made(services, user)
        services.placement.forget_tenant(user.tenant_id)
    for _ in range(2):
        errors = deliver(services, users, "Q1")
    wrong = {}
    for user, error, (name, (_, expected)) in zip(users, errors, table.items(), strict=True):
        assert error is None or expected.rejected, (name, error)
        got = found(services, user, error)
        if got != expected:
            wrong[name] = (got, expected)
    return wrong


def test_fifty_rule_sets_of_one_message(services: MailServices) -> None:
    """And the repeat of the same delivery changes nothing (P3)."""
    assert len(TABLE) >= 50
    assert check(services, TABLE) == {}


def test_programs_without_a_say_would_be_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(inbound.Inbound, "_drafted", lambda *_, is_junk: inbound.Draft(is_spam=is_junk))
    some = {name: row for name, row in TABLE.items() if name.startswith("script")}
    assert len(check(services, some)) > 5


SPAM_TABLE: dict[str, tuple[Set, Expected]] = {
    "nothing": (nothing, Expected(JUNK)),
    "nothing is spam": (settings(spam_level=100), Expected()),
    "a rule says it is none": (rule(spam=False), Expected()),
    "a rule files it": (rule(mailbox="A"), Expected(A)),
    "allowed domain": (listed(Listed.ALLOW), Expected()),
    "by score": (rule(Query(score_over=7.0), delete=True), Expected({})),
    "targets": (settings(targets=("y@else.test",)), Expected(JUNK)),
    "targets and no copy": (settings(targets=("y@else.test",), keeps_forwarded=False), Expected(JUNK)),
    "script redirects": (script('redirect "z@else.test";'), Expected(JUNK)),
    "script rejects": (script('require "ereject"; ereject "no";'), Expected({})),
    "script spamtest": (
        both(mailbox("A"), script('require ["spamtestplus","relational","comparator-i;ascii-numeric","fileinto"]; '
             'if spamtest :percent :value "ge" :comparator "i;ascii-numeric" "60" { fileinto "A"; }')),
        Expected(A),
    ),
    "autoreply": (away, Expected(JUNK)),
}  # fmt: skip


def test_spam_goes_to_junk_unless_a_rule_says_otherwise_and_nothing_follows_from_it(services: MailServices) -> None:
    """M10: no forward, no reply, no refusal that an agent would turn into a bounce."""
    users = [make_user(services) for _ in SPAM_TABLE]
    for user, (made, _) in zip(users, SPAM_TABLE.values(), strict=True):
        made(services, user)
        services.placement.forget_tenant(user.tenant_id)
    errors = deliver(services, users, "Q2", SPAM)
    assert [error for error in errors if error is not None] == []
    for user, (name, (_, expected)) in zip(users, SPAM_TABLE.items(), strict=True):
        assert found(services, user, None) == expected, name


@pytest.mark.parametrize(
    ("results", "is_told"),
    [("", True), ("spf=pass smtp.mailfrom=x", True), ("spf=fail smtp.mailfrom=x", False), ("dmarc=fail", False)],
)
def test_a_refusal_is_told_to_nobody_who_did_not_send_it(services: MailServices, results: str, is_told: bool) -> None:
    """M10, RFC 5429 §2.1: the agent before us would send a report to a forged reverse-path."""
    user = make_user(services)
    script('require "ereject"; ereject "not to me";')(services, user)
    own = services.settings.hostname
    raw = (f"Authentication-Results: {own}; {results}\r\n".encode() if results else b"") + RAW
    target = DeliveryTarget(services.delivery.resolve(user.address, SENDER))
    [result] = services.delivery.deliver(raw, [target], None, MTA, SENDER)
    assert isinstance(result.error, MessageRejected) is is_told
    assert found(services, user, None).boxes == {}


def test_bcc_is_in_nothing_that_is_sent_because_of_a_message(services: MailServices) -> None:
    """M9: what is sent on goes as it came; what is answered has nothing of it."""
    user = make_user(services)
    both(away, settings(targets=("y@else.test",)))(services, user)
    raw = f"From: {SENDER}\r\nTo: {user.address}\r\nSubject: x\r\n\r\nhello\r\n".encode()
    target = DeliveryTarget(services.delivery.resolve(user.address, SENDER))
    assert [each.error for each in services.delivery.deliver(raw, [target], None, MTA, SENDER)] == [None]
    entries = queued(services, user)
    assert {entry.reason for entry in entries} == {Reason.FORWARD, Reason.AUTOREPLY}
    assert not any(BCC_FIELD.search(content(services, entry)) for entry in entries)


def take_in(services: MailServices, user: MadeUser, raw: bytes, ident: str, sender: str = SENDER) -> None:
    target = DeliveryTarget(services.delivery.resolve(user.address, sender))
    assert [each.error for each in services.delivery.deliver(raw, [target], ident, MTA, sender)] == [None]


def test_a_script_knows_duplicates_and_takes_no_repeat_for_one(services: MailServices) -> None:
    """RFC 7352: another delivery of the same Message-ID is one; the same delivery tried again is not (P3)."""
    user = make_user(services)
    script('require "duplicate"; if duplicate { discard; }')(services, user)
    raw = b"From: bob@outside.test\r\nMessage-ID: <one@outside.test>\r\n\r\nhello\r\n"
    for ident in ("Q1", "Q1", "Q2"):
        take_in(services, user, raw, ident)
    assert found(services, user, None).boxes == INBOX
    take_in(services, user, raw.replace(b"<one@", b"<two@"), "Q3")
    assert found(services, user, None).boxes == {"INBOX": 2}


def test_a_vacation_is_answered_by_the_same_rules_as_an_automatic_reply(services: MailServices) -> None:
    """RFC 5230 on RFC 3834: once in its days, from an own address only, to people."""
    user = make_user(services)
    script('require "vacation"; vacation :days 3 :subject "Away" :from "boss@other.test" "On holiday.";')(
        services, user
    )
    raw = f"From: {SENDER}\r\nTo: {user.address}\r\nSubject: x\r\nMessage-ID: <v@outside.test>\r\n\r\nhi\r\n".encode()
    for ident in ("Q1", "Q2"):
        take_in(services, user, raw, ident)
    take_in(services, user, b"List-Id: <l.outside.test>\r\n" + raw, "Q3", "carol@outside.test")
    [entry] = queued(services, user)
    sent = content(services, entry)
    assert (entry.reason, entry.reverse_path) == (Reason.AUTOREPLY, "")
    assert b"Auto-Submitted: auto-replied (vacation)\r\n" in sent
    assert b"Subject: Away\r\n" in sent
    assert f"From: {user.address}\r\n".encode() in sent, "not in the name of an address that is not the user's"
    assert b"On holiday." in sent
