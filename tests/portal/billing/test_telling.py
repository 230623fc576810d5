"""Mails about stages, trials and cancellation: to whom they go, in which language, and each once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from mailcore.services import MailServices
from mailcore.services.outbound.outbound import entry_of
from portal.accounts.models import Member, Membership, Organisation
from portal.billing import changes, services, telling
from portal.billing.adjustments import Limit
from portal.billing.models import Adjustment
from portal.database import session, unit_of_work
from portal.permissions import Role
from tests.builders import MadeUser, make_user
from tests.portal.billing.conftest import OWNER, Billed
from tests.portal.conftest import make_member

AT_ONCE = 16


@dataclass
class Told:
    """A billed portal that can write, and what it wrote."""

    billed: Billed
    sender: MadeUser

    def mails(self) -> list[tuple[str, str, str]]:
        """(to, subject, text) of everything that was queued, by address; also of organisations of other tests."""
        mail = self.billed.mail
        queue = mail.placement.home(self.sender.user_id).shard.outbound
        found = []
        for document in queue.list_of_user(self.sender.user_id, 100_000, waiting=True):
            entry = entry_of(document)
            raw = b"".join(mail.outbound.content(self.sender.user_id, entry.id).read())
            parsed = message_from_bytes(raw, policy=default)
            found.append((entry.recipients[0].address, " ".join(str(parsed["Subject"]).split()), parsed.get_content()))
        return sorted(found)

    def subjects(self, member: Member) -> list[str]:
        return sorted(subject for to, subject, _ in self.mails() if to == member.email)

    def text(self, member: Member, subject: str) -> str:
        (found,) = [text for to, said, text in self.mails() if (to, said) == (member.email, subject)]
        return found


@pytest.fixture
def told(billed: Billed, mail_services: MailServices) -> Iterator[Told]:
    sender = make_user(mail_services)
    before = billed.parts
    billed.parts = replace(before, settings=replace(before.settings, sender=sender.address))
    yield Told(billed, sender)
    billed.parts = before


def join(mail: MailServices, organisation: Organisation, role: Role, language: str | None = None) -> Member:
    member = make_member(mail)
    with unit_of_work() as current:
        member.language = language
        current.merge(member)
        current.add(Membership(organisation_id=organisation.id, member_id=member.id, role=role))
    return member


def test_each_stage_is_told_once_to_owners_and_billing_members_in_their_language(told: Told) -> None:
    billed = told.billed
    organisation = billed.subscribed(quantity=3, card="0341")
    name = organisation.name
    owner = join(billed.mail, organisation, Role.OWNER)
    payer = join(billed.mail, organisation, Role.BILLING, "de")
    helper = join(billed.mail, organisation, Role.HELPDESK)
    billed.advance(days=14)
    for _ in range(31):
        billed.advance(days=1)
    assert told.subjects(owner) == sorted(
        [
            f"A payment for {name} did not go through",
            f"{name} can no longer send mail",
            f"The mail of {name} can only be read now",
            f"The mail of {name} is closed",
        ]
    )
    assert told.subjects(payer) == sorted(
        [
            f"Eine Zahlung für {name} ist nicht gelungen",
            f"{name} kann keine Nachrichten mehr senden",
            f"Die Nachrichten von {name} können jetzt nur gelesen werden",
            f"Die Post von {name} ist geschlossen",
        ]
    )
    assert told.subjects(helper) == []
    until = billed.entitled(organisation).export_until
    assert until is not None
    closed = told.text(owner, f"The mail of {name} is closed")
    assert f"until {until:%B} {until.day}, {until.year}" in closed
    assert f"{billed.parts.settings.public_url}/billing" in closed
    billed.change_card(organisation, "4242")
    billed.advance(days=1)
    assert told.subjects(owner).count(f"Everything works again for {name}") == 1
    assert sum(name in subject for _, subject, _ in told.mails()) == 5 * 4  # two of them were there before


def test_a_trial_is_told_a_week_and_a_day_before_it_ends(told: Told) -> None:
    billed = told.billed
    organisation = billed.organisation()
    owner = join(billed.mail, organisation, Role.OWNER)
    billed.advance(days=6)
    assert told.subjects(owner) == []
    week, day = (f"The trial of {organisation.name} ends {when}" for when in ("in 7 days", "within a day"))
    billed.advance(days=1)
    assert told.subjects(owner) == [week]
    billed.advance(days=5)
    assert told.subjects(owner) == [week]
    billed.advance(days=1.5)
    assert told.subjects(owner) == [week, day]
    billed.advance(days=1)
    assert told.subjects(owner) == [week, day, f"The trial of {organisation.name} is over"]


def test_who_chose_a_plan_hears_nothing_of_the_trial(told: Told) -> None:
    organisation = told.billed.subscribed(quantity=3)
    owner = join(told.billed.mail, organisation, Role.OWNER)
    for _ in range(16):
        told.billed.advance(days=1)
    assert told.subjects(owner) == []


def test_a_cancellation_says_until_when_everything_works(told: Told) -> None:
    billed = told.billed
    organisation = billed.subscribed(quantity=3)
    owner = join(billed.mail, organisation, Role.OWNER)
    services.cancel(billed.payments, OWNER, organisation, ends=True)
    billed.settle()
    billed.advance(days=0.1)
    subject = f"The plan of {organisation.name} is cancelled"
    assert told.subjects(owner) == [subject]
    end = billed.subscription(organisation).period_end
    assert f"Everything works until {end:%B} {end.day}, {end.year}" in told.text(owner, subject)


def test_a_changed_plan_is_told_once_with_what_it_was_and_is(told: Told) -> None:
    billed = told.billed
    organisation = billed.subscribed(quantity=3)
    owner = join(billed.mail, organisation, Role.OWNER)
    payer = join(billed.mail, organisation, Role.BILLING, "de")
    changes.preview(billed.payments, OWNER, organisation, 9)  # looked at, and left at that
    shown = changes.preview(billed.payments, OWNER, organisation, 100, "pool")
    changes.confirm(billed.payments, OWNER, organisation, shown.id)
    billed.settle()
    for _ in range(3):
        billed.advance(days=1)
    subject = f"The plan of {organisation.name} was changed"
    assert told.subjects(owner) == [subject]
    text = told.text(owner, subject)
    assert "It is now Pool with 100 GB." in text
    assert "Before it was Team for 3 users." in text
    assert OWNER.identity in text
    assert told.subjects(payer) == [f"Der Tarif von {organisation.name} wurde geändert"]


def test_the_end_of_a_limit_that_support_set_is_told_once(told: Told) -> None:
    """Of one that ran out and of one that support ended; of one that counts on nothing is told."""
    billed = told.billed
    organisation = billed.subscribed(quantity=3)
    owner = join(billed.mail, organisation, Role.OWNER)
    now = billed.now()
    rows = [(Limit.USERS, now + timedelta(days=2), None), (Limit.DOMAINS, None, now), (Limit.RECIPIENTS, None, None)]
    with unit_of_work() as current:
        for limit, expires_at, ended_at in rows:
            named = {"organisation_id": organisation.id, "name": limit.value, "value": 7, "reason": "a trial of more"}
            current.add(Adjustment(**named, set_by="staff", expires_at=expires_at, ended_at=ended_at))
    subject = f"A limit that support set for {organisation.name} has ended"
    billed.advance(days=1)
    assert told.subjects(owner) == [subject]
    assert "as many domains as is usual" in told.text(owner, subject)
    for _ in range(10):
        billed.advance(days=1)
    assert told.subjects(owner) == [subject, subject]
    assert any("as many users as your plan has" in text for to, _, text in told.mails() if to == owner.email)


def test_limits_are_told_of_where_nobody_pays(told: Told) -> None:
    organisation = told.billed.organisation()
    owner = join(told.billed.mail, organisation, Role.OWNER)
    now, parts = told.billed.now(), replace(told.billed.parts, payments=None)
    with unit_of_work() as current:
        named = {"organisation_id": organisation.id, "name": Limit.USERS.value, "value": 7, "reason": "a trial of more"}
        current.add(Adjustment(**named, set_by="staff", ended_at=now))
    assert telling.tell(parts, organisation.id, now + timedelta(days=30)) == 0
    assert telling.tell(parts, organisation.id, now) == 1
    [(_, subject, text)] = [one for one in told.mails() if one[0] == owner.email]
    assert "has ended" in subject
    assert "/billing" not in text, "there is no such page"


def assert_each_once(told: Told) -> None:
    """Each owner and billing member was written to, once: those the organisation was made with, and one more."""
    people = [to for to, _, _ in told.mails()]
    assert len(people) == len(set(people)) == 3


def at_the_same_time(told: Told, organisation: Organisation) -> int:
    """Let many workers write at once; return how many events they wrote of."""
    now, parts = told.billed.now(), told.billed.parts

    def work(_: int) -> int:
        with parts.database.scope():
            return telling.tell(parts, organisation.id, now)

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(work, range(AT_ONCE)))


def due_organisation(told: Told) -> Organisation:
    organisation = told.billed.organisation()
    join(told.billed.mail, organisation, Role.OWNER)
    told.billed.server.advance(days=15)
    return organisation


def test_workers_at_the_same_time_write_once(told: Told) -> None:
    assert at_the_same_time(told, due_organisation(told)) == 1
    assert_each_once(told)


def test_control_without_the_row_they_write_again(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_note", lambda *_: True)
    assert at_the_same_time(told, due_organisation(told)) == AT_ONCE


def test_a_worker_that_died_before_its_commit_is_followed_by_one_that_writes_the_same_mail(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = due_organisation(told)
    sent = telling.send

    def send_and_die(*given: object, **named: object) -> None:
        sent(*given, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(telling, "send", send_and_die)
    with pytest.raises(KeyboardInterrupt):
        telling.tell(told.billed.parts, organisation.id, told.billed.now())
    monkeypatch.setattr(telling, "send", sent)
    session().expire_all()
    assert telling.tell(told.billed.parts, organisation.id, told.billed.now()) == 1
    assert_each_once(told)


def test_what_could_not_be_written_is_written_later(told: Told) -> None:
    organisation = due_organisation(told)
    parts = told.billed.parts
    nobody = replace(parts, settings=replace(parts.settings, sender=""))
    assert telling.tell(nobody, organisation.id, told.billed.now()) == 0
    assert told.mails() == []
    assert telling.tell(parts, organisation.id, told.billed.now()) == 1
    assert_each_once(told)
