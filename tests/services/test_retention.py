"""Legal hold, retention and restoring: what may be destroyed, and what can be brought back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailcore.errors import MailError, OverQuota, StoreUnavailable, ValueInvalid
from mailcore.model.flags import FLAGGED, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.retention import RetentionPolicy, RetentionRule
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.keeping import retention as retention_service
from mailcore.services.keeping.retention import Retention
from mailcore.store.mailbox.purge import Purge
from mailcore.store.message import message_collection
from mailcore.store.message.message_collection import MessageCollector
from mailcore.store.message.messages import Messages
from tests.builders import OPERATOR, MadeUser, make_user
from tests.store.test_delivery import deliver, expunge_all, inbox, message, stored_messages

AT_ONCE = RetentionRule(purge_after=timedelta(0))
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
MESSAGES = [message(body) for body in (b"one", b"two" * 20_000, b"three")]


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    """A user with three expunged messages that nothing keeps."""
    made = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, made.tenant_id, AT_ONCE)
    for raw in MESSAGES:
        deliver(services, raw, made)
    expunge_all(services, made)
    return made


def hold(services: MailServices, user: MadeUser, of: str, held: bool = True) -> None:
    if of == "user":
        services.retention.set_user_hold(OPERATOR, user.user_id, held=held)
    else:
        services.retention.set_tenant_hold(OPERATOR, user.tenant_id, held=held)


def collect(services: MailServices, user: MadeUser) -> int:
    return services.retention.collect(user.user_id, sweep=True).messages


def restore(services: MailServices, user: MadeUser) -> int:
    return services.restoring.restore(OPERATOR, user.user_id, LONG_AGO)


@pytest.mark.parametrize("of", ["user", "tenant"])
def test_a_hold_set_after_expunge_keeps_messages_restorable(services: MailServices, user: MadeUser, of: str) -> None:
    hold(services, user, of)
    assert collect(services, user) == 0
    assert restore(services, user) == 3
    assert inbox(services, user) == MESSAGES
    expunge_all(services, user)
    hold(services, user, of, held=False)
    assert collect(services, user) == 3, "released, it goes on time"
    assert stored_messages(services, user.user_id) == 0
    assert restore(services, user) == 0


def test_without_may_destroy_a_held_message_goes(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the function before every destruction is what keeps it, together with the look at the start of a run."""
    policy = Retention.policy

    def careless(self: Retention, user_id: object) -> object:
        found = policy(self, user_id)  # type: ignore[arg-type]
        return retention_service.RetentionPolicy(
            found.purge_after, found.keep_for, found.mailbox_keep_for, legal_hold=False
        )

    monkeypatch.setattr(Retention, "policy", careless)
    hold(services, user, "user")
    assert collect(services, user) == 3


@pytest.mark.parametrize("step", ["take", "destroy"])
def test_a_hold_set_during_a_run_ends_it(
    services: MailServices, user: MadeUser, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether their rows are still in purge or taken out already, its messages can be restored."""
    if step == "take":
        real = MessageCollector._named_in_purge

        def named(self: MessageCollector, *arguments: object) -> object:
            hold(services, user, "user")
            return real(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(MessageCollector, "_named_in_purge", named)
    else:
        keep_rows = Purge.keep_rows

        def keep(self: Purge, *arguments: object) -> bool:
            done = keep_rows(self, *arguments)  # type: ignore[arg-type]
            if not services.retention.policy(user.user_id).legal_hold:
                hold(services, user, "user")
            return done

        monkeypatch.setattr(Purge, "keep_rows", keep)
    assert collect(services, user) == 0
    monkeypatch.undo()
    assert stored_messages(services, user.user_id) == 3
    assert restore(services, user) == 3
    assert inbox(services, user) == MESSAGES


def test_a_hold_set_between_two_batches_keeps_the_second(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went before the hold is gone; the rest can be restored, and nothing that is restored is missing."""
    delete = Messages.delete

    def then_hold(self: Messages, *arguments: object) -> object:
        done = delete(self, *arguments)  # type: ignore[arg-type]
        hold(services, user, "tenant")
        return done

    monkeypatch.setattr(message_collection, "BATCH", 1)
    monkeypatch.setattr(Messages, "delete", then_hold)
    assert collect(services, user) == 1
    monkeypatch.undo()
    assert restore(services, user) == 2
    assert all(raw in MESSAGES for raw in inbox(services, user))


@pytest.mark.parametrize("days", [-1, 36_501, 999_999_999])
def test_a_rule_that_no_calendar_holds_is_refused(services: MailServices, user: MadeUser, days: int) -> None:
    """Stored, it would end every run for its users: nothing of them would go any more."""
    period = timedelta(days=days)
    mailbox_id = MailboxId(services.mailboxes.find(user.user_id, "INBOX").id)
    for rule in (
        RetentionRule(purge_after=period),
        RetentionRule(keep_for=period),
        RetentionRule(mailbox_keep_for={mailbox_id: period}),
    ):
        with pytest.raises(ValueInvalid):
            services.retention.set_user_rule(OPERATOR, user.user_id, rule)
        with pytest.raises(ValueInvalid):
            services.retention.set_tenant_rule(OPERATOR, user.tenant_id, rule)
    assert services.retention.collect(user.user_id).messages == 3, "the rules before it still hold"


@pytest.mark.parametrize("looks", [1, 2])
def test_a_run_that_cannot_look_again_puts_back_what_it_took(
    services: MailServices, user: MadeUser, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory goes away after so many looks: the run ends in a fault, and a hold set then holds everything."""
    policy, left = Retention.policy, [looks]

    def failing(self: Retention, user_id: UserId) -> RetentionPolicy:
        if not left[0]:
            raise StoreUnavailable("away")
        left[0] -= 1
        return policy(self, user_id)

    monkeypatch.setattr(Retention, "policy", failing)
    with pytest.raises(StoreUnavailable):
        collect(services, user)
    monkeypatch.undo()
    hold(services, user, "user")
    assert restore(services, user) == 3
    assert inbox(services, user) == MESSAGES


def test_a_run_that_looks_once_would_be_seen(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of the two tests above: a run that goes by the rules of its start destroys what is held meanwhile."""
    at_start, delete = services.retention.policy(user.user_id), Messages.delete

    def then_hold(self: Messages, *arguments: object) -> object:
        hold(services, user, "tenant")
        return delete(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(message_collection, "BATCH", 1)
    monkeypatch.setattr(Messages, "delete", then_hold)
    monkeypatch.setattr(Retention, "policy", lambda _self, _user_id: at_start)
    assert collect(services, user) == 3


def test_a_new_rule_does_not_release_a_hold(services: MailServices, user: MadeUser) -> None:
    hold(services, user, "user")
    services.retention.set_user_rule(OPERATOR, user.user_id, AT_ONCE)
    assert services.retention.policy(user.user_id).legal_hold
    assert [one.id for one in services.retention.list_held(user.tenant_id)] == [user.user_id]
    hold(services, user, "user", held=False)
    assert services.retention.list_held(user.tenant_id) == []


def mailbox_rule(services: MailServices, user: MadeUser) -> RetentionRule:
    inbox_id = services.mailboxes.find(user.user_id, "INBOX").id
    return RetentionRule(mailbox_keep_for={MailboxId(inbox_id): timedelta(days=9)})


@pytest.mark.parametrize("of", ["tenant", "user", "mailbox", "purge"])
def test_each_rule_keeps_what_it_says_and_no_longer(services: MailServices, user: MadeUser, of: str) -> None:
    keeping = RetentionRule(purge_after=timedelta(0), keep_for=timedelta(days=9))
    if of == "tenant":
        services.retention.set_tenant_rule(OPERATOR, user.tenant_id, keeping)
    elif of == "user":
        services.retention.set_user_rule(OPERATOR, user.user_id, keeping)
    elif of == "mailbox":
        services.retention.set_user_rule(OPERATOR, user.user_id, mailbox_rule(services, user))
    else:
        services.retention.set_user_rule(OPERATOR, user.user_id, RetentionRule(purge_after=timedelta(days=1)))
    assert collect(services, user) == 0
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, AT_ONCE)
    services.retention.set_user_rule(OPERATOR, user.user_id, RetentionRule())
    assert collect(services, user) == 3


# -- restoring ----------------------------------------------------------------------------------


def test_restored_messages_have_flags_dates_and_a_new_uid(services: MailServices) -> None:
    user = make_user(services, shard="a")
    services.mailboxes.create(user.user_id, OPERATOR, "Work")
    deliver(services, message(b"one"), user)
    mailbox_id = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.store(
        user.user_id, OPERATOR, mailbox_id, UidSet.of([1]), FlagOperation.ADD, FlagSet(FLAGGED, ("Urgent",))
    )
    services.messages.move(user.user_id, OPERATOR, mailbox_id, UidSet.of([1]), "Work")
    before = services.mailboxes.open(user.user_id, "Work")
    services.mailboxes.delete(user.user_id, OPERATOR, "Work")
    listed = services.restoring.list_expunged(user.user_id)
    assert [(one.mailbox, one.count) for one in listed] == [("Work", 1)]
    assert restore(services, user) == 1
    assert restore(services, user) == 0
    after = services.mailboxes.open(user.user_id, "Work")
    assert after.uid_validity > before.uid_validity
    assert after.flag_names(int(after.flags[0])) == before.flag_names(int(before.flags[0])) == ("\\Flagged", "Urgent")
    assert (after.internal_dates[0], after.saved_dates[0]) == (before.internal_dates[0], before.saved_dates[0])
    assert services.restoring.list_expunged(user.user_id) == []


@pytest.mark.parametrize("held", [True, False])
def test_what_moved_to_somebody_else_is_kept_by_a_hold_on_whose_it_was(services: MailServices, held: bool) -> None:
    """Whoever is under a hold destroys nothing by way of a mailbox whose owner is under none."""
    user = make_user(services, shard="a")
    other = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, AT_ONCE)
    hold(services, user, "user", held=held)
    deliver(services, MESSAGES[0], user)
    mailbox_id = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.move(user.user_id, OPERATOR, mailbox_id, UidSet.of([1]), "INBOX", other.user_id)
    expunge_all(services, other)
    collect(services, other)
    assert stored_messages(services, other.user_id) == 0
    collect(services, user)
    assert stored_messages(services, user.user_id) == (1 if held else 0)
    assert restore(services, user) == (1 if held else 0)


def test_one_mailbox_is_restored_and_not_another(services: MailServices) -> None:
    user = make_user(services, shard="a")
    for name in ("Archive", "INBOX"):
        deliver(services, message(name.encode()), user)
        if name == "Archive":
            mailbox_id = services.mailboxes.find(user.user_id, "INBOX").id
            services.messages.move(user.user_id, OPERATOR, mailbox_id, UidSet.of([1]), name)
    for name in ("Archive", "INBOX"):
        mailbox_id = services.mailboxes.find(user.user_id, name).id
        services.messages.expunge(user.user_id, OPERATOR, mailbox_id, None, only_deleted=False)
    assert services.restoring.restore(OPERATOR, user.user_id, LONG_AGO, "Archive") == 1
    assert services.mailboxes.open(user.user_id, "Archive").exists == 1
    assert services.mailboxes.open(user.user_id, "INBOX").exists == 0


def test_what_does_not_fit_is_not_restored(services: MailServices) -> None:
    user = make_user(services, shard="a")
    deliver(services, message(b"x" * 9000), user)
    expunge_all(services, user)
    services.users.set_quota(OPERATOR, user.user_id, 5000)
    with pytest.raises(OverQuota):
        restore(services, user)
    assert inbox(services, user) == []


def restore_with_a_collection(
    services: MailServices, user: MadeUser, step: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """Restore while a collection runs right before or after a step; return how many were restored and collected."""
    cls = type(services.restoring)
    before, name = step.startswith("before"), step.split()[1]
    real = getattr(services.restoring, name)
    collected: list[int] = []

    def with_collection(*arguments: object) -> object:
        if before:
            collected.append(collect(services, user))
        result = real(*arguments)
        if not before:
            collected.append(collect(services, user))
        return result

    monkeypatch.setattr(services.restoring.__class__, name, lambda _, *arguments: with_collection(*arguments))
    if name == "_made_young":
        monkeypatch.setattr(cls, name, staticmethod(with_collection))
    restored = restore(services, user)
    monkeypatch.undo()
    assert collected
    return restored, sum(collected)


def whole(services: MailServices, user: MadeUser) -> bool:
    """Whether every message that INBOX names is there."""
    try:
        return all(raw in MESSAGES for raw in inbox(services, user))
    except (AssertionError, MailError, LookupError):
        return False


STEPS = ["before _made_young", "after _made_young", "before _commit", "after _commit"]


@pytest.mark.parametrize("step", STEPS)
def test_collection_and_restore_at_once_lose_nothing(
    services: MailServices, user: MadeUser, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is due at once, the worst case: a message is restored whole, or gone before."""
    restored, collected = restore_with_a_collection(services, user, step, monkeypatch)
    assert restored + collected == 3
    assert whole(services, user)
    assert len(inbox(services, user)) == restored
    collect(services, user)
    assert whole(services, user), "what was restored stays"


def test_a_restore_without_the_epoch_names_what_is_gone(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a commit that does not ask for the epoch brings back rows whose messages were destroyed."""
    commit_rows = type(services.messages).commit_rows

    def careless(self: object, *arguments: object, collection_epoch: int | None = None, **options: object) -> object:
        return commit_rows(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(services.messages), "commit_rows", careless)
    restore_with_a_collection(services, user, "after _made_young", monkeypatch)
    assert not whole(services, user)
