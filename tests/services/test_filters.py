"""Rules of users and tenants: kept, ordered, checked, compiled, and looked for only where there are any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import (
    AddressCycle,
    FilterNotFound,
    FiltersChanged,
    MailboxNotFound,
    TenantNotFound,
    TooManyFilters,
    UserNotFound,
    ValueInvalid,
)
from mailcore.model.filter import (
    Condition,
    Match,
    Part,
    Query,
    RuleAction,
    RuleContent,
    RuleReply,
    of_tenant,
    of_user,
)
from mailcore.model.flags import ANSWERED, FLAGGED, SEEN, FlagSet
from mailcore.model.ids import MailboxId, MailboxName, TenantId, UserId
from mailcore.services import MailServices
from mailcore.services.addresses.forward_cycles import ForwardCycles
from mailcore.services.inbound import program_cache
from mailcore.services.inbound.programs import Origin, Program, Programs, Ruling
from mailcore.sieve import (
    Discard,
    Environment,
    FileInto,
    Keep,
    MessageView,
    Redirect,
    Reply,
    Transaction,
    compile_script,
)
from mailcore.store.user import filter_sets
from tests.builders import OPERATOR, MadeUser, make_user

ENVIRONMENT = Environment(now=datetime(2026, 5, 1, tzinfo=UTC))


def mail(*headers: str, body: str = "text") -> MessageView:
    head = "\r\n".join(("From: Ann <ann@example.org>", "To: bob@example.com", *headers))
    return MessageView(f"{head}\r\n\r\n{body}\r\n".encode())


def add(services: MailServices, user: MadeUser, query: Query, action: RuleAction, **more: Any) -> ObjectId:
    return services.filters.create(OPERATOR, of_user(user.user_id), RuleContent(query, action, **more)).id


def rule(
    services: MailServices, user: MadeUser, message: MessageView, environment: Environment = ENVIRONMENT
) -> Ruling:
    home = services.placement.home(user.user_id)
    programs = services.filters.programs_for(home)
    return programs.run(message, Transaction("sender@example.org", user.address), environment)


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


# -- kept ---------------------------------------------------------------------------------------


def test_a_rule_comes_back_as_it_was_given(services: MailServices, user: MadeUser) -> None:
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    content = RuleContent(
        Query(
            sender="ann",
            recipients="bob",
            subject="$set.x",
            list_id="<l.example>",
            text="päper",
            has_attachments=True,
            larger_than=1,
            smaller_than=1 << 30,
            score_over=4.5,
            score_under=9.0,
            is_spam=False,
            conditions=(
                Condition(Part.HEADER, Match.REGEX, "^a+$", "X-A"),
                Condition(Part.HEADER, Match.EXISTS, header="X-B", negated=True),
                Condition(Part.REVERSE_PATH, Match.IS, "a@b.c"),
                Condition(Part.TEXT, Match.WILDCARDS, "*inv?ice*"),
            ),
            any_of=True,
        ),
        RuleAction(
            seen=True,
            flagged=False,
            delete=False,
            spam=False,
            mailbox_id=inbox,
            targets=("else@elsewhere.example",),
            flags=FlagSet(ANSWERED, ("$Work",)),
            reply=RuleReply("Thanks", "Got it", 3600),
        ),
        "one",
        is_disabled=True,
        stops=True,
        meta_data='{"a": 1}',
    )
    made = services.filters.create(OPERATOR, of_user(user.user_id), content)
    assert services.filters.get(of_user(user.user_id), made.id) == made
    assert made.content == content
    changed = services.filters.update(OPERATOR, of_user(user.user_id), made.id, {"name": "two", "is_disabled": False})
    assert changed.content == replace(content, name="two", is_disabled=False)
    services.filters.delete(OPERATOR, of_user(user.user_id), made.id)
    with pytest.raises(FilterNotFound):
        services.filters.get(of_user(user.user_id), made.id)
    with pytest.raises(FilterNotFound):
        services.filters.delete(OPERATOR, of_user(user.user_id), made.id)
    with pytest.raises(FilterNotFound):
        services.filters.update(OPERATOR, of_user(user.user_id), made.id, {"name": "x"})


@pytest.mark.parametrize(
    "build",
    [
        lambda: Query(subject="two\nlines"),
        lambda: Query(sender="x" * 256),
        lambda: Query(larger_than=-1),
        lambda: Query(score_over=float("nan")),
        lambda: Query(conditions=(Condition(Part.SUBJECT, value="a"),) * 51),
        lambda: Condition(Part.SUBJECT, Match.IS, ""),
        lambda: Condition(Part.SUBJECT, Match.EXISTS),
        lambda: Condition(Part.HEADER, Match.IS, "x"),
        lambda: Condition(Part.HEADER, Match.IS, "x", "a b"),
        lambda: Condition(Part.SUBJECT, Match.IS, "x", "Subject"),
        lambda: RuleAction(targets=("nobody",)),
        lambda: RuleAction(targets=("https://example.org:22/hook",)),
        lambda: RuleAction(targets=tuple(f"u{number}@example.org" for number in range(21))),
        lambda: RuleAction(flags=FlagSet(keywords=("two words",))),
        lambda: RuleAction(flags=FlagSet(system=1 << 20)),
        lambda: RuleAction(mailbox_id=MailboxId(ObjectId()), mailbox_name=MailboxName("x")),
        lambda: RuleReply(" "),
        lambda: RuleReply("x", every_s=1),
        lambda: RuleContent(name="\x1b[2J"),
        lambda: RuleContent(meta_data="x" * 20_000),
    ],
)
def test_what_can_mean_nothing_cannot_be_built(build: Callable[[], object]) -> None:
    with pytest.raises(ValueInvalid):
        build()


def test_a_regular_expression_that_is_none_is_refused_when_saved(services: MailServices, user: MadeUser) -> None:
    for value in ("(", "a{1000}{1000}", "[[.x.]]"):
        with pytest.raises(ValueInvalid, match=r"[Rr]egular expression"):
            add(services, user, Query(conditions=(Condition(Part.SUBJECT, Match.REGEX, value),)), RuleAction())
    assert services.filters.list_of(of_user(user.user_id)).rules == ()


def test_another_users_mailbox_is_none(services: MailServices, user: MadeUser) -> None:
    """T10: whose mailbox an id is, is looked at; another tenant's is as one that is not there."""
    stranger = make_user(services)
    inbox = services.mailboxes.find(stranger.user_id, "INBOX").id
    for mailbox_id in (inbox, MailboxId(ObjectId())):
        with pytest.raises(MailboxNotFound):
            add(services, user, Query(), RuleAction(mailbox_id=mailbox_id))
    made = add(services, stranger, Query(), RuleAction(mailbox_id=inbox))
    with pytest.raises(FilterNotFound):
        services.filters.get(of_user(user.user_id), made)
    with pytest.raises(FilterNotFound):
        services.filters.delete(OPERATOR, of_user(user.user_id), made)
    assert services.filters.get(of_user(stranger.user_id), made).id == made


def test_rules_of_nobody(services: MailServices) -> None:
    with pytest.raises(UserNotFound):
        services.filters.create(OPERATOR, of_user(UserId(ObjectId())), RuleContent())
    with pytest.raises(TenantNotFound):
        services.filters.create(OPERATOR, of_tenant(TenantId(ObjectId())), RuleContent())


def test_limits(services: MailServices, user: MadeUser) -> None:
    services.users.set_limit(OPERATOR, user.user_id, "filters", 2)
    add(services, user, Query(), RuleAction(), is_disabled=True)
    add(services, user, Query(), RuleAction())
    with pytest.raises(TooManyFilters, match="at most 2"):
        add(services, user, Query(), RuleAction())
    services.users.set_limit(OPERATOR, user.user_id, "filters", None)
    for part in range(5):
        targets = tuple(f"t{part}x{number}@example.org" for number in range(20))
        add(services, user, Query(), RuleAction(targets=targets))
    with pytest.raises(TooManyFilters, match="forward to at most 100"):
        add(services, user, Query(), RuleAction(targets=("one@more.example",)))


def test_all_rules_together_have_so_many_regular_expressions(services: MailServices, user: MadeUser) -> None:
    """Attack M13: they are compiled wherever mail for the user arrives."""
    forty = Query(conditions=tuple(Condition(Part.SUBJECT, Match.REGEX, f"a{number}") for number in range(40)))
    for _ in range(2):
        add(services, user, forty, RuleAction(seen=True))
    with pytest.raises(TooManyFilters, match="at most 100 regular expressions"):
        add(services, user, forty, RuleAction(seen=True))


def test_order_is_compared_and_set(services: MailServices, user: MadeUser) -> None:
    owner = of_user(user.user_id)
    first, second, third = (add(services, user, Query(), RuleAction(), name=name) for name in "123")
    found = services.filters.list_of(owner)
    assert [each.id for each in found.rules] == [first, second, third]
    services.filters.set_order(OPERATOR, owner, [third, first, second], found.version)
    assert [each.content.name for each in services.filters.list_of(owner).rules] == ["3", "1", "2"]
    with pytest.raises(FiltersChanged):
        services.filters.set_order(OPERATOR, owner, [first, second, third], found.version)
    for wrong in ([first, second], [first, second, third, third], [first, second, ObjectId()]):
        with pytest.raises(FiltersChanged):
            services.filters.set_order(OPERATOR, owner, wrong)
    services.filters.create(OPERATOR, owner, RuleContent(name="0"), position=0)
    assert [each.content.name for each in services.filters.list_of(owner).rules] == ["0", "3", "1", "2"]


def test_many_writers_at_once_lose_no_rule(services: MailServices, user: MadeUser) -> None:
    barrier = threading.Barrier(6)

    def write(name: str) -> None:
        barrier.wait()
        add(services, user, Query(), RuleAction(), name=name)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, "abcdef"))
    found = services.filters.list_of(of_user(user.user_id))
    assert sorted(each.content.name for each in found.rules) == list("abcdef")
    assert found.version == 6
    assert len(services.filters.programs_for(services.placement.home(user.user_id)).programs) == 6


# -- cycles -------------------------------------------------------------------------------------


def test_forwards_that_come_back_are_refused_when_saved(services: MailServices, user: MadeUser) -> None:
    """Issue of loops: to oneself under any name, between two users, through a third, through a forwarded address."""
    domain = user.address.partition("@")[2]
    services.addresses.create(OPERATOR, user.user_id, f"alias@{domain}")
    for target in (user.address, user.address.replace("@", "+label@"), f"alias@{domain}"):
        with pytest.raises(AddressCycle):
            add(services, user, Query(), RuleAction(targets=(target,)))
    other, third = make_user(services), make_user(services)
    made = add(services, other, Query(subject="x"), RuleAction(targets=(third.address,)))
    services.users.set_settings(OPERATOR, third.user_id, {"targets": (user.address,)})
    with pytest.raises(AddressCycle):
        add(services, user, Query(), RuleAction(targets=("far@away.example", other.address)))
    disabled = add(services, user, Query(), RuleAction(targets=(other.address,)), is_disabled=True)
    with pytest.raises(AddressCycle):
        services.filters.update(OPERATOR, of_user(user.user_id), disabled, {"is_disabled": False})
    services.filters.update(OPERATOR, of_user(other.user_id), made, {"is_disabled": True})
    services.filters.update(OPERATOR, of_user(user.user_id), disabled, {"is_disabled": False})
    services.forwarded_addresses.create(OPERATOR, user.tenant_id, f"on@{domain}", (user.address,))
    with pytest.raises(AddressCycle):
        add(services, user, Query(), RuleAction(targets=(f"on@{domain}",)))


def test_without_the_look_a_cycle_is_saved(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(ForwardCycles, "check", lambda *_: None)
    add(services, user, Query(), RuleAction(targets=(user.address,)))


# -- what they do -------------------------------------------------------------------------------


MATCHING: list[Any] = [
    pytest.param(Query(), True, id="everything"),
    pytest.param(Query(sender="ANN@example"), True, id="sender"),
    pytest.param(Query(recipients="carol"), True, id="cc"),
    pytest.param(Query(recipients="user"), True, id="envelope-to"),
    pytest.param(Query(subject="größe"), True, id="subject-folded-case"),
    pytest.param(Query(subject="other"), False, id="subject-not"),
    pytest.param(Query(list_id="NEWS.example"), True, id="list-id"),
    pytest.param(Query(text="invoice 7"), True, id="text"),
    pytest.param(Query(text="nothing"), False, id="text-not"),
    pytest.param(Query(has_attachments=True), False, id="attachment"),
    pytest.param(Query(has_attachments=False), True, id="no-attachment"),
    pytest.param(Query(larger_than=10), True, id="larger"),
    pytest.param(Query(larger_than=100_000), False, id="larger-not"),
    pytest.param(Query(smaller_than=100_000), True, id="smaller"),
    pytest.param(Query(score_over=4.0), True, id="score-over"),
    pytest.param(Query(score_over=6.0), False, id="score-over-not"),
    pytest.param(Query(score_under=6.0), True, id="score-under"),
    pytest.param(Query(is_spam=False), True, id="not-spam"),
    pytest.param(Query(is_spam=True), False, id="spam"),
    pytest.param(Query(subject="größe", text="nothing"), False, id="all-of"),
    pytest.param(Query(subject="größe", text="nothing", any_of=True), True, id="any-of"),
    pytest.param(Query(conditions=(Condition(Part.HEADER, Match.IS, "7", "x-n"),)), True, id="header-is"),
    pytest.param(Query(conditions=(Condition(Part.HEADER, Match.IS, "8", "x-n", True),)), True, id="header-is-not"),
    pytest.param(Query(conditions=(Condition(Part.HEADER, Match.EXISTS, header="X-N"),)), True, id="exists"),
    pytest.param(Query(conditions=(Condition(Part.HEADER, Match.EXISTS, header="X-O"),)), False, id="exists-not"),
    pytest.param(Query(conditions=(Condition(Part.SUBJECT, Match.REGEX, "gr..e$"),)), True, id="regex"),
    pytest.param(Query(conditions=(Condition(Part.TEXT, Match.REGEX, "invoice +[0-9]"),)), True, id="regex-text"),
    pytest.param(Query(conditions=(Condition(Part.SUBJECT, Match.WILDCARDS, "*g?*e"),)), True, id="wildcards"),
    pytest.param(Query(conditions=(Condition(Part.REVERSE_PATH, Match.IS, "sender@example.org"),)), True, id="path"),
    pytest.param(Query(subject='" } discard; #'), False, id="quotes-mean-nothing"),
]


@pytest.mark.parametrize(("query", "expected"), MATCHING)
def test_what_matches(services: MailServices, user: MadeUser, query: Query, expected: bool) -> None:
    message = mail(
        "Cc: Carol <carol@example.net>",
        "Subject: =?utf-8?q?Die_GR=C3=96=C3=9FE?=",
        "List-Id: News <news.example>",
        "X-N: 7",
        body="see Invoice 7",
    )
    add(services, user, query, RuleAction(seen=True))
    environment = replace(ENVIRONMENT, spam_score=5.0, is_spam=False)
    (keep,) = rule(services, user, message, environment).actions
    assert isinstance(keep, Keep)
    assert (keep.flags.system == SEEN) is expected


def test_first_place_counts_and_all_else_adds_up(services: MailServices, user: MadeUser) -> None:
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    trash = services.mailboxes.find(user.user_id, "Trash").id
    add(services, user, Query(), RuleAction(mailbox_id=inbox, targets=("a@x.example",), spam=False))
    add(
        services,
        user,
        Query(),
        RuleAction(mailbox_id=trash, flagged=True, targets=("A@x.example", "b@x.example"), spam=True),
    )
    add(services, user, Query(), RuleAction(flags=FlagSet(0, ("Work",)), reply=RuleReply("hi", "yes")), stops=True)
    add(services, user, Query(), RuleAction(seen=True, delete=True))
    ruling = rule(services, user, mail())
    assert [(each.address, each.copy) for each in ruling.actions if isinstance(each, Redirect)] == [
        ("a@x.example", True),
        ("b@x.example", True),
    ]
    assert [(each.text, each.subject, each.seconds) for each in ruling.actions if isinstance(each, Reply)] == [
        ("hi", "yes", 86400)
    ]
    (placed,) = [each for each in ruling.actions if isinstance(each, FileInto)]
    assert (placed.mailbox_id, placed.flags) == (str(inbox), FlagSet(FLAGGED, ("Work",)))
    assert (ruling.is_spam, ruling.implicit_keep, len(ruling.matched)) == (False, False, 3)


def test_delete_drops_whatever_was_said_before(services: MailServices, user: MadeUser) -> None:
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    add(services, user, Query(), RuleAction(mailbox_id=inbox, targets=("a@x.example",)))
    add(services, user, Query(subject="x"), RuleAction(delete=True))
    ruling = rule(services, user, mail("Subject: x"))
    assert [type(each) for each in ruling.actions] == [Redirect, Discard]


def test_tenant_then_user_then_script(services: MailServices, user: MadeUser) -> None:
    """A tenant's rule that stops is the last word; the script sees what no rule has placed, with its flags."""
    tenant = of_tenant(user.tenant_id)
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    with pytest.raises(ValueInvalid):
        services.filters.create(OPERATOR, tenant, RuleContent(Query(), RuleAction(mailbox_id=inbox)))
    with pytest.raises(ValueInvalid):
        add(services, user, Query(), RuleAction(mailbox_name=MailboxName("Legal")))
    services.filters.create(
        OPERATOR,
        tenant,
        RuleContent(Query(subject="legal"), RuleAction(mailbox_name=MailboxName("Legal")), stops=True),
    )
    services.filters.create(OPERATOR, tenant, RuleContent(Query(), RuleAction(flags=FlagSet(0, ("Tenant",)))))
    add(services, user, Query(subject="mine"), RuleAction(mailbox_id=services.mailboxes.find(user.user_id, "Trash").id))
    add(services, user, Query(), RuleAction(seen=True))
    services.scripts.put(OPERATOR, user.user_id, "s", 'require "fileinto"; fileinto "Archive"; redirect "a@b.example";')
    services.scripts.activate(OPERATOR, user.user_id, "s")
    home = services.placement.home(user.user_id)
    assert [each.origin for each in services.filters.programs_for(home).programs] == [
        Origin.TENANT,
        Origin.TENANT,
        Origin.USER,
        Origin.USER,
        Origin.SCRIPT,
    ]
    (legal,) = rule(services, user, mail("Subject: legal mine")).actions
    assert isinstance(legal, FileInto)
    assert (legal.mailbox, legal.create, legal.flags) == ("Legal", True, FlagSet())
    (mine,) = rule(services, user, mail("Subject: mine")).actions
    assert isinstance(mine, FileInto)
    assert mine.flags == FlagSet(SEEN, ("Tenant",))
    redirect, placed = rule(services, user, mail("Subject: other")).actions
    assert isinstance(redirect, Redirect)
    assert isinstance(placed, FileInto)
    assert (placed.mailbox, placed.flags) == ("Archive", FlagSet(SEEN, ("Tenant",)))
    colleague = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    (keep,) = rule(services, colleague, mail()).actions
    assert keep == Keep(flags=FlagSet(0, ("Tenant",)))
    assert rule(services, make_user(services), mail()).actions == (Keep(),)


def test_what_fails_counts_as_if_it_were_not_there_and_is_told_once(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(services, user, Query(), RuleAction(seen=True))
    failing = "discard; " + "".join(f'redirect "{number}@far.example";' for number in range(9))
    services.scripts.put(OPERATOR, user.user_id, "heavy", failing)
    services.scripts.activate(OPERATOR, user.user_id, "heavy")
    home = services.placement.home(user.user_id)
    ruling = rule(services, user, mail())
    assert ruling.actions == (Keep(flags=FlagSet(SEEN)),)
    (fault,) = ruling.faults
    assert "redirects to more than" in fault.what
    for _ in range(3):
        services.filters.note_faults(OPERATOR, home, ruling.faults)
    stored = list(home.shard.hot["events"].find({"user": user.user_id, "kind": "filter.failed"}))
    assert [(each["wanted"]["name"], each["wanted"]["origin"]) for each in stored] == [("heavy", "script")]


def test_a_stored_script_that_no_longer_compiles_is_a_fault_and_the_mail_is_kept(
    services: MailServices, user: MadeUser
) -> None:
    services.scripts.put(OPERATOR, user.user_id, "s", "discard;")
    services.scripts.activate(OPERATOR, user.user_id, "s")
    home = services.placement.home(user.user_id)
    home.shard.hot["filters"].update_one({"_id": user.user_id.binary}, {"$set": {"scripts.0.text": "nonsense"}})
    ruling = rule(services, user, mail())
    assert ruling.actions == (Keep(),)
    assert len(ruling.faults) == 1


# -- programs that run one after the other --------------------------------------------------------


SEQUENCES: list[Any] = [
    pytest.param(["keep;"], [Keep()], id="keep"),
    pytest.param(["discard;"], [Discard()], id="discard"),
    pytest.param(["stop;"], [Keep()], id="stop"),
    pytest.param(['redirect "a@b.example";'], [Redirect(address="a@b.example")], id="redirect"),
    pytest.param(['addflag "x"; keep;'], [Keep(flags=FlagSet(0, ("x",)))], id="flags"),
]


@pytest.mark.parametrize(("scripts", "expected"), SEQUENCES)
def test_a_script_alone_does_what_it_would_anywhere(scripts: list[str], expected: list[Any]) -> None:
    compiled = tuple(Program(Origin.SCRIPT, "s", compile_script('require "imap4flags"; ' + text)) for text in scripts)
    ruling = Programs(compiled).run(mail(), Transaction("a@b.example", "c@d.example"), ENVIRONMENT)
    assert list(ruling.actions) == expected


# -- what it costs ------------------------------------------------------------------------------


@contextmanager
def reads_of(services: MailServices, user: MadeUser) -> Iterator[list[str]]:
    """The reads of rules that happen within."""
    found: list[str] = []
    stores = (services.placement.home(user.user_id).shard.filters, services.placement.directory.tenant_filters)
    with pytest.MonkeyPatch.context() as patch:
        for sets in {type(each) for each in stores}:
            read = sets.read_acting

            def counting(self: Any, owner_id: ObjectId, read: Any = read) -> Any:
                found.append(str(owner_id))
                return read(self, owner_id)

            patch.setattr(sets, "read_acting", counting)
        yield found


def test_who_has_none_costs_nothing_and_who_has_some_once(services: MailServices, user: MadeUser) -> None:
    home = services.placement.home
    with reads_of(services, user) as reads:
        assert not services.filters.programs_for(home(user.user_id))
        assert reads == []
        made = add(services, user, Query(), RuleAction())
        for _ in range(3):
            assert services.filters.programs_for(home(user.user_id))
        assert reads == [str(user.user_id)]
        services.filters.update(OPERATOR, of_user(user.user_id), made, {"is_disabled": True})
        assert not services.filters.programs_for(home(user.user_id))
        assert len(reads) == 1
        services.filters.create(OPERATOR, of_tenant(user.tenant_id), RuleContent())
        for _ in range(3):
            assert services.filters.programs_for(home(user.user_id))
        assert reads[1:] == [str(user.tenant_id)]


def test_another_process_follows(
    services: MailServices, user: MadeUser, directory_uri: str, shard_uris: dict[str, Any], redis_url: str
) -> None:
    from tests.builders import make_services

    other = make_services(directory_uri, shard_uris, redis_url)
    try:
        assert not other.filters.programs_for(other.placement.home(user.user_id))
        made = add(services, user, Query(), RuleAction(seen=True))
        other.sessions.poll()
        assert len(other.filters.programs_for(other.placement.home(user.user_id)).programs) == 1
        services.filters.delete(OPERATOR, of_user(user.user_id), made)
        other.sessions.poll()
        assert not other.filters.programs_for(other.placement.home(user.user_id))
        services.filters.create(OPERATOR, of_tenant(user.tenant_id), RuleContent())
        other.sessions.poll()
        assert other.filters.programs_for(other.placement.home(user.user_id))
    finally:
        other.close()


def test_a_writer_that_dies_between_leaves_nobody_unaware(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the announcement on everybody looks, so a rule that was stored is found though nobody told of it."""
    from mailcore.services.inbound.filter_changes import FilterChanges

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(FilterChanges, "_settle", die)
        with pytest.raises(Died):
            add(services, user, Query(), RuleAction(seen=True))
    services.placement.forget(user.user_id)
    assert len(services.filters.programs_for(services.placement.home(user.user_id)).programs) == 1


def test_what_is_known_is_read_again_after_a_while_and_compiled_only_if_it_changed(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a change that nobody could tell of is found; and an unchanged set of rules is not compiled anew."""
    add(services, user, Query(), RuleAction(seen=True))
    home = services.placement.home(user.user_id)
    before = services.filters.programs_for(home)
    at = program_cache.time.monotonic()
    monkeypatch.setattr(services.filters._programs, "_clock", lambda: at + program_cache.MAX_AGE_S + 1)
    with reads_of(services, user) as reads:
        again = services.filters.programs_for(home)
        assert len(reads) == 1
    assert again.programs[0] is before.programs[0]
    home.shard.hot["filters"].update_one({"_id": user.user_id.binary}, {"$set": {"rules": []}, "$inc": {"version": 1}})
    monkeypatch.setattr(services.filters._programs, "_clock", lambda: at + 2 * program_cache.MAX_AGE_S + 2)
    assert not services.filters.programs_for(home)


def test_what_a_process_remembers_is_bounded(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_cache, "MAX_WEIGHT", 3 * program_cache.WEIGHT_OF_RULE)
    users = [user, *(make_user(services) for _ in range(4))]
    for each in users:
        add(services, each, Query(), RuleAction())
        services.filters.programs_for(services.placement.home(each.user_id))
    known = services.filters._programs._known
    assert [each.user_id in known for each in users] == [False, False, True, True, True]


def test_rules_that_do_not_fit_into_a_document_are_refused(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(services, user, Query(), RuleAction(seen=True), meta_data="x" * 1000)
    monkeypatch.setattr(filter_sets, "MAX_BYTES", 2000)
    with pytest.raises(TooManyFilters, match="too much room"):
        add(services, user, Query(), RuleAction(seen=True), meta_data="x" * 1000)
    assert len(services.filters.list_of(of_user(user.user_id)).rules) == 1


def test_without_the_look_a_rule_names_anothers_mailbox(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    inbox = services.mailboxes.find(make_user(services).user_id, "INBOX").id
    monkeypatch.setattr(type(services.filters), "_check", lambda *_: None)
    add(services, user, Query(), RuleAction(mailbox_id=inbox))
    (placed,) = rule(services, user, mail()).actions
    assert isinstance(placed, FileInto)
    assert placed.mailbox == "INBOX", "and even then it leads to nothing but the user's own INBOX"
