"""What is said of each kind of event; in the export kinds stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from flask_babel import lazy_gettext as _

from mailcore.model.actor import Door


class Subject(StrEnum):
    """What events are about: so the log is filtered."""

    ORGANISATION = "organisation"
    PEOPLE = "people"
    SIGNING_IN = "signing_in"
    ADDRESSES = "addresses"
    DOMAINS = "domains"
    MAIL = "mail"
    SENDING = "sending"
    KEEPING = "keeping"
    BILLING = "billing"
    SUPPORT = "support"
    PROGRAMS = "programs"


SUBJECTS: Final[Mapping[Subject, Any]] = {
    Subject.ORGANISATION: _("Organisation and its members"),
    Subject.PEOPLE: _("Users"),
    Subject.SIGNING_IN: _("Signing in to mail"),
    Subject.ADDRESSES: _("Addresses and groups"),
    Subject.DOMAINS: _("Domains"),
    Subject.MAIL: _("Mailboxes and rules"),
    Subject.SENDING: _("Sending"),
    Subject.KEEPING: _("Keeping and exporting mail"),
    Subject.BILLING: _("Plan and payment"),
    Subject.SUPPORT: _("Support"),
    Subject.PROGRAMS: _("Programs and settings"),
}
SENTENCES: Final[Mapping[Subject, Mapping[str, Any]]] = {
    Subject.ORGANISATION: {
        "organisation.created": _("Organisation founded"),
        "organisation.renamed": _("Organisation renamed"),
        "organisation.second_factor_roles": _("Chosen which roles need a second factor"),
        "organisation.suspended": _("Organisation suspended by support"),
        "organisation.restored": _("Suspension ended by support"),
        "organisation.closing_asked": _("Closing asked for by support"),
        "organisation.closed": _("Organisation closed"),
        "approval.declined": _("Step of support declined by a second person"),
        "member.invited": _("Member invited"),
        "member.invitation_withdrawn": _("Invitation withdrawn"),
        "member.joined": _("Member joined"),
        "member.role_changed": _("Role of a member changed"),
        "member.removed": _("Member removed"),
        "password.changed": _("Member changed the password"),
        "password.reset_waits": _("Owner asked for a new password by a link that waits"),
        "password.reset": _("Member set a new password by a mailed link"),
        "passkey.added": _("Member added a passkey"),
        "passkey.removed": _("Member removed a passkey"),
        "second_factor.on": _("Member turned codes of an app on"),
        "second_factor.off": _("Member turned codes of an app off"),
        "recovery_codes.made": _("Member made recovery codes"),
        "session.ended": _("Member signed a browser out"),
    },
    Subject.PEOPLE: {
        "user.created": _("User added"),
        "user.name": _("Name of a user changed"),
        "user.renamed": _("Main address of a user changed"),
        "user.state": _("User suspended or let in again"),
        "user.settings": _("Settings of a user changed"),
        "target.asked": _("Address asked whether a user's mail may go on to it"),
        "target.confirmed": _("Address confirmed that a user's mail goes on to"),
        "target.forgotten": _("Address that a user's mail went on to removed"),
        "target.vouched": _("Addresses named that a user's mail may go on to"),
        "user.quota": _("Storage of a user changed"),
        "user.limit": _("Limit of a user changed"),
        "user.protocols": _("Ways to a user's mail opened or closed"),
        "user.password": _("Password of a user changed"),
        "user.password_change_needed": _("User has to choose another password"),
        "user.temporary_password": _("Password for a day made for a user"),
        "user.logout": _("User signed out everywhere"),
        "user.shared": _("User turned into a shared mailbox"),
        "user.delegates": _("People of a shared mailbox changed"),
        "user.encryption": _("Encryption of a user's mail changed"),
        "user.smarthost": _("Server for a user's outgoing mail changed"),
        "user.repaired": _("Mailbox of a user repaired"),
        "user.deleted": _("User deleted"),
        "user.restored": _("User restored"),
        "user.addresses_freed": _("Addresses of a deleted user given free"),
        "user.erased": _("User erased for good"),
        "people.import_checked": _("List of people uploaded and checked"),
        "people.import_started": _("Users of a list are being made"),
        "people.import_undone": _("Users of a list taken back"),
        "people.import_discarded": _("List of people thrown away"),
        "people.passwords_handed_out": _("First passwords of a list handed out"),
    },
    Subject.SIGNING_IN: {
        "app_password.created": _("App password made"),
        "app_password.revoked": _("App password taken back"),
        "login.new_network": _("Sign-in from a network that is new to the user"),
        "mfa.totp.begun": _("Codes of an app are being set up"),
        "mfa.totp.enabled": _("Codes of an app turned on"),
        "mfa.totp.disabled": _("Codes of an app turned off"),
        "mfa.webauthn.begun": _("Passkey is being set up"),
        "mfa.webauthn.registered": _("Passkey added"),
        "mfa.webauthn.removed": _("Passkey removed"),
        "mfa.webauthn.disabled": _("All passkeys removed"),
        "mfa.custom.enabled": _("Second factor of another system turned on"),
        "mfa.custom.disabled": _("Second factor of another system turned off"),
        "mfa.disabled": _("All second factors taken off"),
        "mfa.recovery.created": _("Recovery codes made"),
        "mfa.recovery.used": _("Signed in by a recovery code"),
    },
    Subject.ADDRESSES: {
        "address.created": _("Address added"),
        "address.changed": _("Address changed"),
        "address.deleted": _("Address removed"),
        "forwarded.created": _("Forwarding address added"),
        "forwarded.changed": _("Forwarding address changed"),
        "forwarded.deleted": _("Forwarding address removed"),
        "group.created": _("Group added"),
        "group.changed": _("Group changed"),
        "group.deleted": _("Group deleted"),
    },
    Subject.DOMAINS: {
        "domain.added": _("Domain added"),
        "domain.created": _("Domain set up for mail"),
        "domain.verified": _("Domain verified"),
        "domain.unverified": _("Domain no longer verified"),
        "domain.lapsed": _("Proof of a domain is gone"),
        "domain.claim_lost": _("Domain lost to whoever proved it"),
        "domain.removed": _("Domain removed"),
        "domain.deleted": _("Mail of a domain ended"),
        "domain.alias_created": _("Domain stands for another one now"),
        "domain.alias_deleted": _("Domain stands for itself again"),
        "domain.addresses_renamed": _("Addresses moved to another domain"),
        "domain.sts_mode": _("Policy for encrypted delivery changed"),
        "domain.dkim_way": _("Way of publishing signing keys changed"),
        "domain.dkim_rotated": _("New signing key asked for"),
        "domain.records_written": _("Records written at the provider"),
        "domain.records_left": _("Writing of records given up"),
        "domain.token_forgotten": _("Token of the provider forgotten"),
        "dkim.created": _("Signing key made"),
        "dkim.pending": _("Signing key waits to be published"),
        "dkim.published": _("Signing key found in DNS"),
        "dkim.unpublished": _("Signing key missing in DNS"),
        "dkim.active": _("Signing key in use now"),
        "dkim.retiring": _("Signing key retired"),
        "dkim.deleted": _("Signing key deleted"),
        "dkim.selectors": _("Names of signing keys chosen"),
        "certificate.requested": _("Certificate ordered"),
        "certificate.withdrawn": _("Certificate no longer wanted"),
    },
    Subject.MAIL: {
        "mailbox.created": _("Folder made"),
        "mailbox.renamed": _("Folder renamed"),
        "mailbox.deleted": _("Folder deleted"),
        "mailbox.defaults": _("Usual folders made"),
        "mailbox.use_changed": _("Use of a folder changed"),
        "mailbox.options_changed": _("Options of a folder changed"),
        "mailbox.acl_changed": _("Folder shared or no longer shared"),
        "mailbox.annotated": _("Note on a folder changed"),
        "mailbox.subscribed": _("Folder shown in programs"),
        "mailbox.unsubscribed": _("Folder hidden in programs"),
        "filter.created": _("Rule made"),
        "filter.changed": _("Rule changed"),
        "filter.deleted": _("Rule deleted"),
        "filter.ordered": _("Rules put in another order"),
        "filter.failed": _("Rule could not be carried out"),
        "tenant_filter.created": _("Rule for everybody made"),
        "tenant_filter.changed": _("Rule for everybody changed"),
        "tenant_filter.deleted": _("Rule for everybody deleted"),
        "tenant_filter.ordered": _("Rules for everybody put in another order"),
        "script.stored": _("Filter script stored"),
        "script.renamed": _("Filter script renamed"),
        "script.activated": _("Filter script switched on"),
        "script.deactivated": _("Filter script switched off"),
        "script.deleted": _("Filter script deleted"),
        "autoreply.changed": _("Automatic reply changed"),
        "autoreply.deleted": _("Automatic reply taken away"),
        "correspondent.changed": _("Known address shown or hidden"),
        "domain_access.listed": _("Domain of senders put on a list"),
        "domain_access.unlisted": _("Domain of senders taken off a list"),
        "file.added": _("File stored"),
        "file.deleted": _("File deleted"),
    },
    Subject.SENDING: {
        "outbound.held": _("Outgoing message held"),
        "outbound.released": _("Outgoing message let go"),
        "outbound.retried": _("Outgoing message tried again"),
        "outbound.cancelled": _("Outgoing message taken back"),
        "sending.held": _("Outgoing mail put on hold"),
        "sending.kept": _("Hold on outgoing mail kept"),
        "sending.released": _("Hold on outgoing mail ended"),
        "sending.appealed": _("Support asked to end a hold"),
        "send_as.granted": _("User may send as another address"),
        "send_as.revoked": _("User may no longer send as another address"),
        "submission.burst": _("Far more sent within minutes than usual"),
        "feedback.complaint": _("Recipient reported a message as spam"),
        "suppression.added": _("Address put on the list without mail"),
        "suppression.removed": _("Address gets mail again"),
    },
    Subject.KEEPING: {
        "retention.tenant": _("Time for which mail is kept changed for all"),
        "retention.user": _("Time for which mail is kept changed for a user"),
        "hold.tenant": _("Legal hold for all begun or ended"),
        "hold.user": _("Legal hold for a user begun or ended"),
        "audit.created": _("Copy of a user's mail made for an audit"),
        "audit.exported": _("Copy made for an audit read"),
        "mail.exported": _("Mail of a user exported"),
        "export.asked": _("User asked for all mail as a file"),
        "export.made": _("File with a user's mail made"),
        "export.fetched": _("File with a user's mail fetched"),
        "export.deleted": _("File with a user's mail deleted"),
    },
    Subject.BILLING: {
        "billing.checkout_begun": _("Payment for a plan begun"),
        "billing.plan_wanted": _("Another plan chosen"),
        "billing.quantity_wanted": _("Size of the plan changed"),
        "billing.cancelled": _("Plan cancelled"),
        "billing.resumed": _("Cancellation taken back"),
        "billing.coupon_used": _("Coupon used"),
        "billing.tax_id_added": _("Tax number added"),
        "billing.tax_id_removed": _("Tax number removed"),
        "billing.spend_cap": _("Spend cap changed"),
        "limit.asked": _("Limit asked for by support"),
        "limit.set": _("Limit set by support"),
        "limit.ended": _("Limit of the plan counts again"),
    },
    Subject.SUPPORT: {
        "support.granted": _("Support let in"),
        "support.revoked": _("Support let in no longer"),
        "support.viewed": _("Page seen by support"),
        "feature.switched": _("Feature switched by support"),
    },
    Subject.PROGRAMS: {
        "token.created": _("API token made"),
        "token.revoked": _("API token taken back"),
        "webhook.created": _("Webhook set up"),
        "webhook.deleted": _("Webhook removed"),
        "webhook.given_up": _("Webhook given up: it did not answer"),
        "tenant.created": _("Place for mail made"),
        "tenant.state": _("Mail of the organisation stopped or let on"),
        "tenant.standing": _("What the plan leaves open changed"),
        "tenant.pays": _("Plan begun or ended"),
        "tenant.postmaster": _("Reader of mail to postmaster changed"),
        "tenant.protocols": _("Ways to mail opened or closed for all"),
        "tenant.cold_after": _("Time until attachments move to HDD changed"),
        "tenant.features": _("Features of the organisation changed"),
        "tenant.foreign_sender": _("Rule for foreign senders changed"),
        "tenant.journal": _("Copy of all mail for the archive changed"),
        "tenant.limit": _("Limit of the organisation changed"),
        "tenant.user_limit": _("Limit of every user changed"),
        "tenant.sending_limit": _("Limit for sending changed"),
        "tenant.smarthost": _("Server for outgoing mail changed"),
    },
}
"""A row for each kind that an organisation's log may have."""
DOORS: Final[Mapping[Door, Any]] = {
    Door.IMAP: "IMAP",
    Door.POP3: "POP3",
    Door.LMTP: _("incoming mail"),
    Door.SUBMISSION: _("mail program"),
    Door.MANAGESIEVE: "ManageSieve",
    Door.API: "API",
    Door.PORTAL: "Portal",
    Door.CLI: _("command line"),
    Door.WORKER: _("background job"),
    Door.RELAY: _("outgoing mail"),
}
_BY_KIND: Final = {kind: said for rows in SENTENCES.values() for kind, said in rows.items()}


def sentence(kind: str) -> Any:
    """Return what an event of a kind is called; one of a kind that is made no more is called as it is."""
    return _BY_KIND.get(kind, kind)


def is_said(kind: str) -> bool:
    """Whether there is a sentence for a kind."""
    return kind in _BY_KIND


def through(door: str) -> Any:
    """Return through what a change came."""
    return DOORS[Door(door)] if door in set(Door) else door


def kinds_of(subject: str) -> tuple[str, ...]:
    """Return the kinds about a subject; of one that nobody knows none."""
    return tuple(SENTENCES[Subject(subject)]) if subject in set(Subject) else ()
