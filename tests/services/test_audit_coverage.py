"""Every method of a service that takes an `Actor` leads to an event that names this actor.

The table below calls each of them once. A new method without a line fails, and so does a line whose
call leaves nothing in the stream.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_type_hints
from urllib.parse import urlsplit

import numpy as np
import pyotp
import pysequoia
import pytest
import trustme
from bson import ObjectId

from infra.devstack.endpoints import Endpoints, ShardUris
from infra.devstack.stack import with_database
from mailcore.model import data_file
from mailcore.model.access import Protocol
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.audit_case import AuditCase
from mailcore.model.changes import Cause
from mailcore.model.event import PLATFORM, Event, Outcome
from mailcore.model.factors import Factor
from mailcore.model.features import Feature
from mailcore.model.filter import RuleContent, Verdict, of_user
from mailcore.model.flags import DRAFT, SEEN, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, MailboxName, TenantId, UserId
from mailcore.model.labels import LabelSet
from mailcore.model.mailbox import SpecialUse
from mailcore.model.mta_sts import StsMode
from mailcore.model.outbound import OutboundRecipient
from mailcore.model.reputation import HoldCause
from mailcore.model.retention import RetentionRule
from mailcore.model.rights import Right
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.model.sending import ForeignSender
from mailcore.model.tenant import Standing, State
from mailcore.model.token import PLATFORM as PLATFORM_OWNER
from mailcore.model.uid_set import UidSet
from mailcore.model.webhook import Webhook
from mailcore.services import MailServices, wiring
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.services.addresses.onward_targets import Asked
from mailcore.services.events.audit import Audit, Change
from mailcore.services.events.journal import Direction, JournalEntry
from mailcore.services.inbound.programs import Origin, Program, ProgramFault
from mailcore.services.keeping.import_sources import SourceMailbox
from mailcore.services.mailboxes.access import Place
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.outbound.composed import MessagePlace, NewCopy, NewSending
from mailcore.services.outbound.submission import Sender, Submitted
from mailcore.store.mailbox.notes import Note
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.services.authenticator import Authenticator
from tests.services.test_outbound import queued
from tests.store.test_delivery import deliver, expunge_all, message

ACTOR = Actor(ActorKind.MEMBER, Door.PORTAL, "ada@example.org", remote_address="203.0.113.9")
PGP_KEY = str(pysequoia.Tsk.generate("Ada <ada@example.org>").extract_certificate())
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
ONE = UidSet(((1, 1),))
NOT_CHANGES = {"audit"}
"""Services that are the trail themselves."""


@dataclass(frozen=True)
class Scene:
    """What a call may work on: two messages in INBOX, a second address, a folder."""

    services: MailServices
    user: MadeUser
    actor: Actor
    folder: Path

    @property
    def inbox(self) -> MailboxId:
        return self.services.mailboxes.find(self.user.user_id, "INBOX").id

    def domain(self) -> str:
        return self.user.address.partition("@")[2]

    def uris(self) -> tuple[str, str]:
        shard = self.services.shards.get("a")
        return shard.hot_uri, shard.cold_uri

    def other_uris(self) -> tuple[str, str]:
        """Databases of no shard, beside those of `own_shard`."""
        hot, cold = (with_database(uri, f"{urlsplit(uri).path.strip('/')}_again") for uri in self.uris())
        return hot, cold

    def place(self) -> Place:
        return Place(self.user.user_id, MailboxName("Folder"))

    def another_user(self) -> MadeUser:
        return make_user(self.services, tenant=(self.user.tenant_id, self.domain()))

    def damaged_user(self) -> MadeUser:
        """A user whose INBOX counts one message too many."""
        made = self.another_user()
        home = self.services.placement.home(made.user_id)
        inbox = self.services.mailboxes.find(made.user_id, "INBOX").id
        home.shard.hot["mailboxes"].update_one({"_id": made.user_id.binary + inbox.binary}, {"$inc": {"exists": 1}})
        return made

    def exported(self) -> bytes:
        """A file with one user who is not here yet."""
        record = {"type": "user", "address": f"new@{self.domain()}", "name": "", "quota_bytes": None, "settings": {}}
        return b"".join(data_file.written([record]))

    def mail_export(self) -> UserId:
        """A user whose mail is there as a file."""
        self.services.mail_exports.ask(OPERATOR, self.user.user_id)
        self.services.mail_exports.make_due()
        return self.user.user_id

    def audit(self) -> AuditCase:
        return self.services.audits.get(self.services.audits.create(OPERATOR, self.user.user_id, None, None, NEVER))

    def webhook(self) -> Webhook:
        return self.services.webhooks.create(OPERATOR, self.user.tenant_id, None, ["*"], "https://hooks.test/")[0]

    def certificate(self) -> ObjectId:
        """The id of a certificate."""
        name = f"mail.{self.domain()}"
        self.services.certificates.add(OPERATOR, *certificate(name))
        found = self.services.certificates.for_name(name)
        assert found is not None
        return found.id

    def app_password(self) -> ObjectId:
        return self.services.app_passwords.create(OPERATOR, self.user.user_id, "Phone")[0].id

    def rule(self) -> ObjectId:
        return self.services.filters.create(OPERATOR, of_user(self.user.user_id), RuleContent()).id

    def script(self) -> str:
        self.services.scripts.put(OPERATOR, self.user.user_id, "s", "keep;")
        return "s"

    def listed_domain(self) -> ObjectId:
        return self.services.domain_access.put(OPERATOR, self.user.tenant_id, "vip", Verdict.BLOCK, "example.org").id

    def token(self) -> ObjectId:
        return self.services.tokens.create(OPERATOR, owner_of_tenant(self.user.tenant_id), Role.ROOT, "Test")[0].id

    def spare_domain(self) -> str:
        name = f"spare.{self.domain()}"
        self.services.domains.create(OPERATOR, self.user.tenant_id, name)
        return name

    def domain_alias(self) -> str:
        name = f"alias.{self.domain()}"
        self.services.domains.create_alias(OPERATOR, self.user.tenant_id, name, self.domain())
        return name

    def forwarded_address(self) -> str:
        address = f"old@{self.domain()}"
        self.services.forwarded_addresses.create(OPERATOR, self.user.tenant_id, address, ["new@else.test"])
        return address

    def group(self) -> str:
        self.services.groups.create(OPERATOR, self.user.tenant_id, f"all@{self.domain()}")
        return f"all@{self.domain()}"

    def asked(self) -> Asked:
        """What a link is about that was mailed to a target."""
        targets, user_id = self.services.targets, self.user.user_id
        targets.ask(OPERATOR, user_id, [f"home@{user_id}.test"])
        return targets.find(targets.token(user_id, self.services.users.get(user_id).onward.asks[0]))

    def confirmed(self) -> str:
        self.services.targets.vouch(OPERATOR, self.user.user_id, ["home@else.test"])
        return "home@else.test"

    def shared_mailbox(self) -> UserId:
        return self.services.shared_mailboxes.create(OPERATOR, self.user.tenant_id, f"desk@{self.domain()}")

    def expunged_user(self) -> MadeUser:
        expunge_all(self.services, self.user)
        return self.user

    def deleted_user(self) -> UserId:
        """Another user of the tenant, deleted."""
        made = self.another_user()
        self.services.deleted_users.delete(OPERATOR, made.user_id)
        return made.user_id

    def source(self) -> SourceMailbox:
        file = self.folder / "one.eml"
        file.write_bytes(message(b"imported"))
        return SourceMailbox((), (file,), "eml", file.stat().st_size)


def certificate(name: str) -> tuple[bytes, bytes]:
    leaf = trustme.CA().issue_cert(name)
    return leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()


def _commit_rows(scene: Scene) -> object:
    raw = message(b"rows")
    messages = scene.services.messages
    home = scene.services.placement.home(scene.user.user_id)
    rows, after = messages._stored(home, [NewMessage(raw)])
    key = os.urandom(12)
    return messages.commit_rows(scene.user.user_id, scene.inbox, rows, Cause.APPEND, scene.actor, key, after=after)


def _with_totp(scene: Scene, actor: Actor) -> None:
    enrolment = scene.services.totp.begin(OPERATOR, scene.user.user_id, "Eider", "x")
    scene.services.totp.enable(actor, scene.user.user_id, pyotp.TOTP(enrolment.seed.reveal_text()).now())


def _use_recovery_code(scene: Scene) -> None:
    factors = scene.services.second_factors
    factors.enable_custom(OPERATOR, scene.user.user_id)
    code = factors.make_recovery_codes(OPERATOR, scene.user.user_id)[0]
    factors.check_recovery_code(scene.actor, scene.user.user_id, code)


def _make_recovery_codes(scene: Scene) -> None:
    scene.services.second_factors.enable_custom(OPERATOR, scene.user.user_id)
    scene.services.second_factors.make_recovery_codes(scene.actor, scene.user.user_id)


def _disable_factor(scene: Scene) -> None:
    scene.services.second_factors.enable_custom(OPERATOR, scene.user.user_id)
    scene.services.second_factors.disable(scene.actor, scene.user.user_id, Factor.CUSTOM)


def _passkey(scene: Scene, begin: Actor, finish: Actor) -> bytes:
    device, passkeys, user_id = Authenticator(), scene.services.passkeys, scene.user.user_id
    options = passkeys.begin_registration(
        begin, user_id, name="x", origin="https://a.test", rp_id="a.test", rp_name="A", session="s"
    )
    answer = device.create(options, "https://a.test")
    passkeys.finish_registration(finish, user_id, challenge=options.challenge, credential=answer, session="s")
    return device.id


def _unsuppress(scene: Scene) -> None:
    scene.services.suppressions.add(OPERATOR, scene.user.tenant_id, "x@y.test", "asked")
    scene.services.suppressions.remove(scene.actor, scene.user.tenant_id, "x@y.test")


def _published(scene: Scene) -> int:
    scene.services.dkim_keys.create(OPERATOR, scene.user.tenant_id, scene.domain())
    values = {key.record_name: key.record_value for key in scene.services.dkim_keys.list_of(scene.user.tenant_id)}
    return scene.services.dkim_keys.check(scene.actor, scene.user.tenant_id, lambda name: [values[name]])


def _activate(scene: Scene) -> None:
    key = scene.services.dkim_keys.create(OPERATOR, scene.user.tenant_id, scene.domain())
    scene.services.dkim_keys.activate(scene.actor, scene.user.tenant_id, key.id)


def _give_up_webhook(scene: Scene) -> int:
    """An event is refused for good by the address that wanted it."""
    hook = scene.webhook()
    scene.services.users.set_name(OPERATOR, scene.user.user_id, "Ada")
    for sequencer in scene.services.events.sequencers():
        sequencer.catch_up()
    taken = scene.services.webhooks.deliver_due(scene.actor, lambda *_: 410)
    assert scene.services.webhooks.get(hook.id).dead_at is not None
    return taken


def _delete_dkim(scene: Scene) -> None:
    key = scene.services.dkim_keys.create(OPERATOR, scene.user.tenant_id, scene.domain())
    scene.services.dkim_keys.delete(scene.actor, scene.user.tenant_id, key.id)


def _revoke_send_as(scene: Scene) -> None:
    address = scene.another_user().address
    scene.services.identities.grant(OPERATOR, scene.user.user_id, address)
    scene.services.identities.revoke(scene.actor, scene.user.user_id, address)


def _submit(scene: Scene) -> object:
    user = scene.user
    sender = Sender(user.user_id, user.tenant_id, user.address)
    submitted = Submitted(b"Subject: x\r\n\r\nx\r\n", user.address, [OutboundRecipient("bob@else.test")], "ESMTPSA")
    return scene.services.submission.submit(scene.actor, sender, submitted)


def _keep(scene: Scene) -> object:
    user_id = scene.user.user_id
    entry = scene.services.mailboxes.find(user_id, "Drafts")
    return scene.services.sending.keep(scene.actor, user_id, entry, NewCopy(b"Subject: x\r\n\r\nx", DRAFT))


def _send(scene: Scene) -> object:
    user = scene.user
    sent = scene.services.mailboxes.find(user.user_id, "Sent Mail")
    new = NewSending(b"Subject: x\r\n\r\nx", user.address, ["bob@else.test"], sent)
    return scene.services.sending.send(scene.actor, Sender(user.user_id, user.tenant_id, user.address), new)


def _send_draft(scene: Scene) -> object:
    user = scene.user
    entry = scene.services.mailboxes.find(user.user_id, "Drafts")
    raw = b"To: bob@else.test\r\nSubject: x\r\n\r\nx"
    place, _ = scene.services.sending.keep(OPERATOR, user.user_id, entry, NewCopy(raw, DRAFT))
    sender = Sender(user.user_id, user.tenant_id, user.address)
    return scene.services.sending.send_draft(scene.actor, sender, place, None, delete_files=False)


def _forward(scene: Scene) -> object:
    user = scene.user
    place = MessagePlace(scene.inbox, 1)
    return scene.services.sending.forward(scene.actor, user.user_id, user.address, place, ["bob@else.test"])


def _restore_one(scene: Scene) -> object:
    user_id = scene.expunged_user().user_id
    archive = scene.services.archive
    return archive.restore(scene.actor, user_id, int(archive.of_user(user_id).numbers[0]))


def _restore_rows(scene: Scene) -> object:
    user_id = scene.expunged_user().user_id
    [block] = scene.services.restoring.blocks(user_id)
    return scene.services.restoring.restore_rows(scene.actor, user_id, block, np.array([0]), "INBOX")


def _expire(scene: Scene) -> object:
    note = Note(b"", datetime.now(UTC))
    scene.services.messages.put_note(scene.user.user_id, OPERATOR, scene.inbox, 1, note)
    return scene.services.expiry.run(scene.actor, "a")


def _renew(scene: Scene) -> object:
    """The authority is not there: what is told is the order that led to it."""
    acme = scene.services.acme
    acme.request(scene.actor, [f"mail.{scene.domain()}"])
    return acme.renew_due(scene.actor)


def _want_host_certificate(scene: Scene) -> None:
    scene.services.host_certificates.want(scene.actor, scene.user.tenant_id, scene.domain(), ["mta-sts"])


def _give_up_host_certificate(scene: Scene) -> None:
    scene.services.host_certificates.want(OPERATOR, scene.user.tenant_id, scene.domain(), ["mta-sts"])
    scene.services.host_certificates.give_up(scene.actor, scene.user.tenant_id, scene.domain())


def _hide_correspondent(scene: Scene) -> None:
    home = scene.services.placement.home(scene.user.user_id)
    home.shard.correspondents.note(scene.user.user_id, {"bob@else.test": "Bob"}, datetime.now(UTC))
    (bob,) = scene.services.correspondents.find(scene.user.user_id, "bob", 1)
    scene.services.correspondents.change(scene.actor, scene.user.user_id, bob.id, hidden=True)


def _delete_user(scene: Scene) -> None:
    """With every secret that a user's document may hold; of a colleague, a seed that waits for its first code."""
    colleague = scene.another_user().user_id
    scene.services.totp.begin(OPERATOR, colleague, "Eider", "x")
    scene.services.deleted_users.delete(OPERATOR, colleague)
    _with_totp(scene, OPERATOR)
    scene.services.smarthosts.set_for_user(OPERATOR, scene.user.user_id, Secret("smtps://u:secretly@h.test"))
    scene.services.deleted_users.delete(scene.actor, scene.user.user_id)


def _rename_domain(scene: Scene) -> None:
    scene.services.domains.create(OPERATOR, scene.user.tenant_id, f"new.{scene.domain()}")
    scene.services.address_changes.rename_domain(
        scene.actor, scene.user.tenant_id, scene.domain(), f"new.{scene.domain()}"
    )


def _erase(scene: Scene) -> None:
    user_id = scene.deleted_user()
    users = scene.services.placement.directory.database["deleted_users"]
    users.update_one({"_id": user_id}, {"$set": {"erase_after": LONG_AGO}})
    assert scene.services.deleted_users.erase(scene.actor, user_id)


def _journal(scene: Scene) -> None:
    scene.services.journal.set_archive(OPERATOR, scene.user.tenant_id, scene.user.user_id)
    entry = JournalEntry(scene.user.tenant_id, Direction.INCOMING, "a@b.test", ("c@d.test",), message(b"journaled"))
    assert scene.services.journal.record(scene.actor, entry)


def _held_sender(scene: Scene) -> tuple[TenantId, UserId]:
    user = scene.user
    scene.services.sending_holds.hold(OPERATOR, user.tenant_id, user.user_id, HoldCause.STAFF, "why")
    return user.tenant_id, user.user_id


Call = Callable[[Scene], object]
CALLS: dict[str, Call] = {
    "addresses.create": lambda s: s.services.addresses.create(s.actor, s.user.user_id, f"more@{s.domain()}"),
    "addresses.delete": lambda s: s.services.addresses.delete(s.actor, s.user.user_id, f"second@{s.domain()}"),
    "address_changes.update": lambda s: s.services.address_changes.update(
        s.actor, s.user.user_id, s.services.addresses.list_of_user(s.user.user_id)[0].id, name="Ada"
    ),
    "address_changes.rename_domain": _rename_domain,
    "app_passwords.create": lambda s: s.services.app_passwords.create(s.actor, s.user.user_id, "Phone"),
    "app_passwords.revoke": lambda s: s.services.app_passwords.revoke(s.actor, s.user.user_id, s.app_password()),
    "acme.request": lambda s: s.services.acme.request(s.actor, [f"mail.{s.domain()}"]),
    "acme.renew_due": _renew,
    "host_certificates.want": _want_host_certificate,
    "host_certificates.give_up": _give_up_host_certificate,
    "acme.withdraw": lambda s: s.services.acme.withdraw(s.actor, f"mail.{s.domain()}"),
    "data_export.export": lambda s: s.services.data_export.export(s.actor, [s.user.user_id], []),
    "data_import.run": lambda s: s.services.data_import.run(s.actor, s.exported()),
    "audits.create": lambda s: s.services.audits.create(s.actor, s.user.user_id, None, None, NEVER),
    "audits.export": lambda s: s.services.audits.export(s.actor, s.audit()),
    "webhooks.create": lambda s: s.services.webhooks.create(s.actor, s.user.tenant_id, None, ["*"], "https://h.test/"),
    "webhooks.delete": lambda s: s.services.webhooks.delete(s.actor, s.webhook()),
    "webhooks.deliver_due": _give_up_webhook,
    "certificates.delete_id": lambda s: s.services.certificates.delete_id(s.actor, s.certificate()),
    "site_settings.put": lambda s: s.services.site_settings.put(s.actor, "const:max:mailboxes", 1500),
    "certificates.delete": lambda s: s.services.certificates.delete(s.actor, "gone.example.org"),
    "rotation.rotate": lambda s: s.services.rotation.rotate(s.actor),
    "certificates.add": lambda s: s.services.certificates.add(s.actor, *certificate("mail.example.org")),
    "autoreplies.set": lambda s: s.services.autoreplies.set(s.actor, s.user.user_id, {"is_on": True, "text": "away"}),
    "autoreplies.delete": lambda s: s.services.autoreplies.delete(s.actor, s.user.user_id),
    "delivery.deliver": lambda s: deliver(s.services, message(b"mail"), s.user, actor=s.actor),
    "domains.create_alias": lambda s: s.services.domains.create_alias(
        s.actor, s.user.tenant_id, f"alias.{s.domain()}", s.domain()
    ),
    "domains.delete_alias": lambda s: s.services.domains.delete_alias(s.actor, s.user.tenant_id, s.domain_alias()),
    "dkim_keys.activate": _activate,
    "dkim_keys.check": _published,
    "dkim_keys.create": lambda s: s.services.dkim_keys.create(s.actor, s.user.tenant_id, s.domain()),
    "dkim_keys.delete": _delete_dkim,
    "dkim_keys.rotate": lambda s: s.services.dkim_keys.rotate(s.actor, s.user.tenant_id),
    "dkim_keys.rotate_one": lambda s: s.services.dkim_keys.rotate_one(s.actor, s.user.tenant_id, s.domain()),
    "dkim_keys.succeed": lambda s: s.services.dkim_keys.succeed(s.actor, s.user.tenant_id, s.domain()),
    "dkim_keys.use_selectors": lambda s: s.services.dkim_keys.use_selectors(
        s.actor, s.user.tenant_id, s.domain(), ["eider1", "eider2"]
    ),
    "domains.verify": lambda s: s.services.domains.verify(s.actor, s.user.tenant_id, f"proven.{s.domain()}"),
    "domains.set_sts_mode": lambda s: s.services.domains.set_sts_mode(
        s.actor, s.user.tenant_id, s.domain(), StsMode.ENFORCE
    ),
    "domains.unverify": lambda s: s.services.domains.unverify(s.actor, s.user.tenant_id, s.domain()),
    "domains.delete": lambda s: s.services.domains.delete(s.actor, s.user.tenant_id, s.spare_domain()),
    "domains.create": lambda s: s.services.domains.create(s.actor, s.user.tenant_id, f"more.{s.domain()}"),
    "forwarded_addresses.create": lambda s: s.services.forwarded_addresses.create(
        s.actor, s.user.tenant_id, f"old@{s.domain()}", ["new@else.test"]
    ),
    "forwarded_addresses.delete": lambda s: s.services.forwarded_addresses.delete(
        s.actor, s.user.tenant_id, s.forwarded_address()
    ),
    "forwarded_addresses.update": lambda s: s.services.forwarded_addresses.update(
        s.actor, s.user.tenant_id, s.forwarded_address(), is_disabled=True
    ),
    "groups.create": lambda s: s.services.groups.create(s.actor, s.user.tenant_id, f"all@{s.domain()}"),
    "groups.delete": lambda s: s.services.groups.delete(s.actor, s.user.tenant_id, s.group()),
    "groups.update": lambda s: s.services.groups.update(s.actor, s.user.tenant_id, s.group(), name="All"),
    "correspondents.change": _hide_correspondent,
    "deleted_users.delete": _delete_user,
    "deleted_users.free_addresses": lambda s: s.services.deleted_users.free_addresses(s.actor, s.deleted_user()),
    "deleted_users.restore": lambda s: s.services.deleted_users.restore(s.actor, s.deleted_user()),
    "deleted_users.set_hold": lambda s: s.services.deleted_users.set_hold(s.actor, s.deleted_user(), held=True),
    "deleted_users.erase": _erase,
    "domain_access.put": lambda s: s.services.domain_access.put(
        s.actor, s.user.tenant_id, "vip", Verdict.ALLOW, "example.org"
    ),
    "domain_access.delete": lambda s: s.services.domain_access.delete(s.actor, s.user.tenant_id, s.listed_domain()),
    "filters.create": lambda s: s.services.filters.create(s.actor, of_user(s.user.user_id), RuleContent()),
    "filters.update": lambda s: s.services.filters.update(s.actor, of_user(s.user.user_id), s.rule(), {"name": "x"}),
    "filters.delete": lambda s: s.services.filters.delete(s.actor, of_user(s.user.user_id), s.rule()),
    "filters.set_order": lambda s: s.services.filters.set_order(s.actor, of_user(s.user.user_id), [s.rule()]),
    "filters.note_faults": lambda s: s.services.filters.note_faults(
        s.actor, s.services.placement.home(s.user.user_id), [ProgramFault(Program(Origin.SCRIPT, "s"), "too much")]
    ),
    "scripts.put": lambda s: s.services.scripts.put(s.actor, s.user.user_id, "s", "keep;"),
    "scripts.activate": lambda s: s.services.scripts.activate(s.actor, s.user.user_id, s.script()),
    "scripts.delete": lambda s: s.services.scripts.delete(s.actor, s.user.user_id, s.script()),
    "scripts.rename": lambda s: s.services.scripts.rename(s.actor, s.user.user_id, s.script(), "other"),
    "journal.set_archive": lambda s: s.services.journal.set_archive(s.actor, s.user.tenant_id, s.user.user_id),
    "journal.record": _journal,
    "expiry.run": _expire,
    "encryptions.set": lambda s: s.services.encryptions.set(s.actor, s.user.user_id, {"pgp_key": PGP_KEY}),
    "fsck.run": lambda s: s.services.fsck.run(s.actor, s.damaged_user().user_id, repair=True),
    "identities.grant": lambda s: s.services.identities.grant(s.actor, s.user.user_id, s.another_user().address),
    "identities.revoke": _revoke_send_as,
    "imports.run": lambda s: s.services.imports.run(s.actor, s.user.user_id, [s.source()]),
    "mailboxes.create": lambda s: s.services.mailboxes.create(s.user.user_id, s.actor, "New"),
    "mailboxes.create_defaults": lambda s: s.services.mailboxes.create_defaults(s.user.user_id, s.actor),
    "mailboxes.delete": lambda s: s.services.mailboxes.delete(s.user.user_id, s.actor, "Folder"),
    "mailboxes.rename": lambda s: s.services.mailboxes.rename(s.user.user_id, s.actor, "Folder", "Renamed"),
    "mailboxes.subscribe": lambda s: s.services.mailboxes.subscribe(s.user.user_id, s.actor, "Folder"),
    "mailboxes.unsubscribe": lambda s: s.services.mailboxes.unsubscribe(s.user.user_id, s.actor, "INBOX"),
    "mailboxes.set_options": lambda s: s.services.mailboxes.set_options(
        s.user.user_id, s.actor, "Folder", retention_ms=1
    ),
    "mailboxes.set_special_use": lambda s: s.services.mailboxes.set_special_use(
        s.user.user_id, s.actor, "Folder", SpecialUse.ARCHIVE
    ),
    "metadata.set": lambda s: s.services.metadata.set(s.user.user_id, s.actor, s.place(), {"/private/comment": b"x"}),
    "sharing.set_rights": lambda s: s.services.sharing.set_rights(
        s.actor, s.place(), s.another_user().address, "=", Right.READ | Right.LOOKUP
    ),
    "label_changes.change": lambda s: s.services.label_changes.change(
        s.user.user_id, s.actor, s.inbox, ONE, FlagOperation.ADD, LabelSet(names=(MailboxName("Folder"),))
    ),
    "messages.append": lambda s: s.services.messages.append(
        s.user.user_id, s.actor, "INBOX", [NewMessage(message(b"new"))]
    ),
    "messages.commit_rows": _commit_rows,
    "messages.copy": lambda s: s.services.messages.copy(s.user.user_id, s.actor, s.inbox, ONE, "Folder"),
    "messages.copy_missing": lambda s: s.services.messages.copy_missing(
        s.user.user_id, s.actor, s.inbox, ONE, "Folder"
    ),
    "messages.expunge": lambda s: s.services.messages.expunge(
        s.user.user_id, s.actor, s.inbox, ONE, only_deleted=False
    ),
    "messages.mark_leaving": lambda s: s.services.messages.mark_leaving(
        s.user.user_id, s.actor, s.inbox, ONE, is_leaving=True
    ),
    "messages.move": lambda s: s.services.messages.move(s.user.user_id, s.actor, s.inbox, ONE, "Folder"),
    "messages.put_note": lambda s: s.services.messages.put_note(s.user.user_id, s.actor, s.inbox, 1, Note(b"{}")),
    "messages.replace": lambda s: s.services.messages.replace(
        s.user.user_id, s.actor, s.inbox, ONE, "INBOX", NewMessage(message(b"new"))
    ),
    "messages.store": lambda s: s.services.messages.store(
        s.user.user_id, s.actor, s.inbox, ONE, FlagOperation.ADD, FlagSet(SEEN)
    ),
    "outbound.cancel": lambda s: s.services.outbound.cancel(s.actor, s.user.user_id, queued(s.services, s.user)),
    "outbound.hold": lambda s: s.services.outbound.hold(s.actor, s.user.user_id, queued(s.services, s.user), "why"),
    "outbound.release": lambda s: s.services.outbound.release(
        s.actor, s.user.user_id, queued(s.services, s.user, held="why")
    ),
    "sending_holds.hold": lambda s: s.services.sending_holds.hold(
        s.actor, s.user.tenant_id, s.user.user_id, HoldCause.STAFF, "why"
    ),
    "sending_holds.keep": lambda s: s.services.sending_holds.keep(s.actor, *_held_sender(s), "why"),
    "sending_holds.appeal": lambda s: s.services.sending_holds.appeal(s.actor, *_held_sender(s), "why"),
    "sending_holds.release": lambda s: s.services.sending_holds.release(s.actor, *_held_sender(s), "why"),
    "outbound.retry": lambda s: s.services.outbound.retry(s.actor, s.user.user_id, queued(s.services, s.user)),
    "passkeys.begin_registration": lambda s: _passkey(s, s.actor, OPERATOR),
    "passkeys.finish_registration": lambda s: _passkey(s, OPERATOR, s.actor),
    "passkeys.remove": lambda s: s.services.passkeys.remove(s.actor, s.user.user_id, _passkey(s, OPERATOR, OPERATOR)),
    "archive.restore": _restore_one,
    "archive.restore_between": lambda s: s.services.archive.restore_between(
        s.actor, s.expunged_user().user_id, LONG_AGO, LONG_AGO + timedelta(days=36500)
    ),
    "restoring.restore_rows": _restore_rows,
    "restoring.restore": lambda s: s.services.restoring.restore(s.actor, s.expunged_user().user_id, LONG_AGO),
    "pools.set_max_users": lambda s: s.services.pools.set_max_users(s.actor, s.user.tenant_id, 50),
    "pools.set_quota": lambda s: s.services.pools.set_quota(s.actor, s.user.tenant_id, 1 << 40),
    "renaming.rename": lambda s: s.services.renaming.rename(s.actor, s.user.user_id, f"renamed@{s.domain()}"),
    "shared_mailboxes.convert": lambda s: s.services.shared_mailboxes.convert(s.actor, s.user.user_id),
    "shared_mailboxes.create": lambda s: s.services.shared_mailboxes.create(
        s.actor, s.user.tenant_id, f"info@{s.domain()}", delegates=[s.user.user_id]
    ),
    "shared_mailboxes.set_delegates": lambda s: s.services.shared_mailboxes.set_delegates(
        s.actor, s.shared_mailbox(), [s.user.user_id]
    ),
    "retention.set_tenant_hold": lambda s: s.services.retention.set_tenant_hold(s.actor, s.user.tenant_id, held=True),
    "retention.set_user_hold": lambda s: s.services.retention.set_user_hold(s.actor, s.user.user_id, held=True),
    "retention.set_tenant_rule": lambda s: s.services.retention.set_tenant_rule(
        s.actor, s.user.tenant_id, RetentionRule(timedelta(days=3))
    ),
    "retention.set_user_rule": lambda s: s.services.retention.set_user_rule(
        s.actor, s.user.user_id, RetentionRule(timedelta(days=3))
    ),
    "second_factors.check_recovery_code": _use_recovery_code,
    "second_factors.disable": _disable_factor,
    "second_factors.disable_all": lambda s: s.services.second_factors.disable_all(s.actor, s.user.user_id),
    "second_factors.enable_custom": lambda s: s.services.second_factors.enable_custom(s.actor, s.user.user_id),
    "second_factors.make_recovery_codes": _make_recovery_codes,
    "shards.add": lambda s: s.services.shards.add(s.actor, "again", "eu", *s.other_uris()),
    "shards.set_open": lambda s: s.services.shards.set_open(s.actor, "a", is_open=True),
    "shards.set_uris": lambda s: s.services.shards.set_uris(s.actor, "a", *s.uris()),
    "smarthosts.set_for_tenant": lambda s: s.services.smarthosts.set_for_tenant(
        s.actor, s.user.tenant_id, Secret("smtps://u:kitten-Thunder-9@smart.test")
    ),
    "smarthosts.set_for_user": lambda s: s.services.smarthosts.set_for_user(
        s.actor, s.user.user_id, Secret("smtp://u:otter-Lantern-7@smart.test")
    ),
    "suppressions.add": lambda s: s.services.suppressions.add(s.actor, s.user.tenant_id, "x@y.test", "asked"),
    "suppressions.remove": _unsuppress,
    "tenants.create": lambda s: s.services.tenants.create(s.actor, f"T {ObjectId()}", "eu", "a"),
    "tenants.set_cold_after": lambda s: s.services.tenants.set_cold_after(s.actor, s.user.tenant_id, timedelta(days=1)),
    "temporary_passwords.create": lambda s: s.services.temporary_passwords.create(s.actor, s.user.user_id),
    "tenants.set_disabled_protocols": lambda s: s.services.tenants.set_disabled_protocols(
        s.actor, s.user.tenant_id, frozenset({Protocol.POP3})
    ),
    "tenants.set_postmaster": lambda s: s.services.tenants.set_postmaster(s.actor, s.user.tenant_id, s.user.user_id),
    "submission.submit": _submit,
    "sending.keep": _keep,
    "sending.send": _send,
    "sending.send_draft": _send_draft,
    "sending.forward": _forward,
    "mail_exports.ask": lambda s: s.services.mail_exports.ask(s.actor, s.user.user_id),
    "mail_exports.fetch": lambda s: s.services.mail_exports.fetch(s.actor, s.mail_export()),
    "mail_exports.delete": lambda s: s.services.mail_exports.delete(s.actor, s.mail_export()),
    "files.add": lambda s: s.services.files.add(s.actor, s.user.user_id, b"x", "x.txt", "text/plain"),
    "files.delete": lambda s: s.services.files.delete(
        s.actor, s.user.user_id, s.services.files.add(OPERATOR, s.user.user_id, b"x", "x.txt", "text/plain")
    ),
    "tenants.set_features": lambda s: s.services.tenants.set_features(
        s.actor, s.user.tenant_id, {Feature.MAIL_EXPORTS: True}
    ),
    "tenants.set_foreign_sender": lambda s: s.services.tenants.set_foreign_sender(
        s.actor, s.user.tenant_id, ForeignSender.REWRITE
    ),
    "tenants.set_sending_limit": lambda s: s.services.tenants.set_sending_limit(
        s.actor, s.user.tenant_id, "tenant_messages_per_hour", 9
    ),
    "tenants.set_pays": lambda s: s.services.tenants.set_pays(s.actor, s.user.tenant_id, pays=True),
    "tenants.set_standing": lambda s: s.services.tenants.set_standing(s.actor, s.user.tenant_id, Standing.NO_SENDING),
    "tenants.set_state": lambda s: s.services.tenants.set_state(s.actor, s.user.tenant_id, State.SUSPENDED),
    "tenants.set_user_limit": lambda s: s.services.tenants.set_user_limit(s.actor, s.user.tenant_id, "connections", 9),
    "totp.begin": lambda s: s.services.totp.begin(s.actor, s.user.user_id, "Eider", "x"),
    "totp.enable": lambda s: _with_totp(s, s.actor),
    "users.create": lambda s: s.services.users.create(
        s.actor, f"new@{s.domain()}", Secret("a long password"), "", s.user.tenant_id
    ),
    "users.set_limit": lambda s: s.services.users.set_limit(s.actor, s.user.user_id, "connections", 9),
    "tokens.create": lambda s: s.services.tokens.create(s.actor, PLATFORM_OWNER, Role.ROOT, "For tests"),
    "tokens.revoke": lambda s: s.services.tokens.revoke(s.actor, owner_of_tenant(s.user.tenant_id), s.token()),
    "users.log_out": lambda s: s.services.users.log_out(s.actor, s.user.user_id),
    "users.set_disabled_protocols": lambda s: s.services.users.set_disabled_protocols(
        s.actor, s.user.user_id, frozenset({Protocol.POP3})
    ),
    "users.set_password": lambda s: s.services.users.set_password(s.actor, s.user.user_id, Secret("another password")),
    "users.set_password_hash": lambda s: s.services.users.set_password_hash(
        s.actor, s.user.user_id, "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
    ),
    "users.set_name": lambda s: s.services.users.set_name(s.actor, s.user.user_id, "Ada"),
    "targets.ask": lambda s: s.services.targets.ask(s.actor, s.user.user_id, [f"home@{s.user.user_id}.test"]),
    "targets.confirm": lambda s: s.services.targets.confirm(s.actor, s.asked()),
    "targets.forget": lambda s: s.services.targets.forget(s.actor, s.user.user_id, s.confirmed()),
    "targets.vouch": lambda s: s.services.targets.vouch(s.actor, s.user.user_id, ["home@else.test"]),
    "users.set_settings": lambda s: s.services.users.set_settings(s.actor, s.user.user_id, {"spam_level": 70}),
    "users.require_password_change": lambda s: s.services.users.require_password_change(s.actor, s.user.user_id),
    "users.set_quota": lambda s: s.services.users.set_quota(s.actor, s.user.user_id, 1 << 30),
    "users.set_state": lambda s: s.services.users.set_state(s.actor, s.user.user_id, State.SUSPENDED),
}


READS = {
    "labels.holding",
    "labels.may_see",
    "labels.of",
    "metadata.get",
    "reauthentication.confirm",
    "sharing.acl",
    "sharing.check_identifier",
    "sharing.my_rights",
    "sharing.visible",
}
"""Change nothing: they take the actor for what it may see."""
TRACED = {"queueing.enqueue", "submission.spend"}
"""The queue entry names its actor, and the message trace tells of it: `test_queued_message_names_its_actor`.

What is counted before is that entry, and tells of a burst by itself."""


def methods_with_an_actor() -> list[str]:
    """Every public method of a service in the bundle that is handed an actor."""
    hints = get_type_hints(MailServices, localns=vars(wiring))
    found = []
    for service in fields(MailServices):
        kind = hints[service.name]
        if service.name.startswith("_") or service.name in NOT_CHANGES or not inspect.isclass(kind):
            continue
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and "Actor" in map(str, method.__annotations__.values()):
                found.append(f"{service.name}.{name}")
    return sorted(found)


def test_no_method_is_missing_in_the_table() -> None:
    assert methods_with_an_actor() == sorted({*CALLS, *READS, *TRACED})


def own_shard(stack: Endpoints, fresh_uri: Callable[[str, str], str], name: str) -> ShardUris:
    """Databases of a shard of its own, and room beside them for another's."""
    uris = stack.mongo.shards["a"]
    hot, _ = (fresh_uri(uris.hot, f"{name}_hot{end}") for end in ("", "_again"))
    cold, _ = (fresh_uri(uris.cold, f"{name}_cold{end}") for end in ("", "_again"))
    return ShardUris(hot, cold)


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> Iterator[MailServices]:
    shard = own_shard(stack, fresh_uri, "audit")
    uri = fresh_uri(stack.mongo.directory, "audit_directory")
    connected = make_services(uri, {"a": shard}, EIDER_ACME_DIRECTORY="https://127.0.0.1:9/nobody")
    yield connected
    connected.close()


@pytest.fixture
def scene(services: MailServices, tmp_path: Path) -> Scene:
    return make_scene(services, tmp_path)


def make_scene(services: MailServices, folder: Path) -> Scene:
    """A user of a tenant of its own with something of everything."""
    user = make_user(services, shard="a")
    services.addresses.create(OPERATOR, user.user_id, f"second@{user.address.partition('@')[2]}")
    services.mailboxes.create(user.user_id, OPERATOR, "Folder")
    for body in (b"one", b"two"):
        deliver(services, message(body), user)
    return Scene(services, user, replace(ACTOR, request_id=f"r{ObjectId()}"), folder)


def told(scene: Scene) -> list[Event]:
    """Every numbered event of the platform or of a tenant concerned that names the scene's actor."""
    services = scene.services
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    records = services.placement.shard("a").hot["events"].find({"actor.request_id": scene.actor.request_id})
    tenants = {PLATFORM, scene.user.tenant_id} | {TenantId(ObjectId(record["tenant"])) for record in records}
    pages = (services.events.read(tenant, limit=1000).events for tenant in tenants)
    return [event for page in pages for event in page if event.actor == scene.actor]


@pytest.mark.parametrize("name", sorted(CALLS))
def test_change_leads_to_an_event_that_names_its_actor(name: str, scene: Scene) -> None:
    CALLS[name](scene)
    events = told(scene)
    assert events
    assert all(event.outcome is Outcome.DONE for event in events)


def test_without_the_trail_a_change_is_noticed_to_be_silent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were `Audit` to announce nothing, the test above would fail."""

    @contextmanager
    def nothing(*_: object, **__: object) -> Iterator[Change]:
        yield Change()

    monkeypatch.setattr(Audit, "_change", nothing)
    CALLS["users.set_quota"](scene)
    assert told(scene) == []
