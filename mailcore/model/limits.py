"""Every limit of the mail system, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

DAY_S = 24 * 3600
MIB = 1 << 20
GIB = 1 << 30

MAX_FAULTS: Final = 50
"""So many commands that are malformed or refused end a connection, in SMTP of all, elsewhere in a row."""
MAX_FAULTS_BEFORE_LOGIN: Final = 10
"""The same before signing in, where refused logins count as well."""


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Past these a message's structure is opaque; its bytes are kept all the same."""

    parts: int = 10_000
    depth: int = 100
    header_bytes: int = 1 * MIB
    line_bytes: int = 1 * MIB


@dataclass(frozen=True, slots=True)
class Penalty:
    """How failed logins of one sort are answered: some at once, then each doubles the wait."""

    free: int
    """So many pass without a wait."""
    first_wait_s: int
    longest_wait_s: int
    memory_s: int = 3600
    """Counted from the first failure, or twice the last wait if that is longer."""

    def wait_s(self, failures: int) -> int:
        """Return how long the next attempt must wait after so many failures."""
        over = failures - self.free
        return 0 if over < 0 else min(self.first_wait_s << min(over, 30), self.longest_wait_s)

    def shared_by(self, processes: int) -> Penalty:
        """Return the part of one process where so many count alone."""
        return replace(self, free=max(self.free // processes, 1))


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """What failed logins lead to; guesses are counted by all processes and protocols together."""

    user: Penalty = Penalty(free=10, first_wait_s=60, longest_wait_s=3600)
    """One user, from anywhere the user has not signed in from."""
    user_from_range: Penalty = Penalty(free=10, first_wait_s=30, longest_wait_s=900)
    """One user from one range of addresses; the only one that counts where the user is known to be."""
    address_range: Penalty = Penalty(free=50, first_wait_s=60, longest_wait_s=3600)
    """An IPv4 /24 or an IPv6 /64, whatever it tries."""
    tenant: Penalty = Penalty(free=1000, first_wait_s=1, longest_wait_s=60)
    """A tenant's users, from where they are not known."""
    known_range_s: int = 30 * 24 * 3600
    """So long a range of addresses stays known after a login from there."""
    lone_share: int = 5
    """A process that has to count alone allows one part in so many."""


@dataclass(frozen=True, slots=True)
class UserLimits:
    """What one user may use; 0 is without limit. A tenant's numbers replace these, a user's own replace both."""

    connections: int = 64
    """Open at once, of all protocols that sign in."""
    messages_per_hour: int = 500
    """Handed in to be sent."""
    recipients_per_day: int = 2000
    forwards_per_day: int = 2000
    """Addresses that incoming mail is sent on to, counted for each message."""
    autoreplies_per_day: int = 2000
    catch_all_per_hour: int = 500
    """Messages that come in by a wildcard alone: who guesses addresses fills no mailbox."""
    recipients_per_burst: int = 300
    """Within ten minutes; what is more is taken and held back until somebody has looked at it."""
    imap_download_bytes_per_day: int = 10 * GIB
    imap_upload_bytes_per_day: int = 10 * GIB
    pop3_download_bytes_per_day: int = 10 * GIB
    filters: int = 400
    """Rules, those that are disabled too."""
    mailboxes: int = 1500
    """Never more than `Limits.mailboxes`, without a limit neither; the same of the two that follow."""
    app_passwords: int = 50
    recipients_per_message: int = 1000
    received_per_hour: int = 0
    """Messages that come in; what is more is tried again by who sends it."""
    pop3_messages: int = 0
    """Of the INBOX POP3 shows the newest so many."""

    def replaced_by(self, *overrides: Mapping[str, int]) -> UserLimits:
        """Return these limits with the numbers of `overrides`, the last of which counts."""
        numbers = {name: value for override in overrides for name, value in override.items()}
        return _replaced(self, tuple(numbers.items())) if numbers else self


@lru_cache(maxsize=1024)
def _replaced(limits: UserLimits, numbers: tuple[tuple[str, int], ...]) -> UserLimits:
    return replace(limits, **dict(numbers))


def within(limit: int, most: int) -> int:
    """Return a limit of a user where there is one of the system as well; 0 is without one."""
    return min(limit or most, most)


@dataclass(frozen=True, slots=True)
class SendingLimits:
    """What a tenant, and each of its domains, may send, all users together; 0 is without limit."""

    tenant_messages_per_hour: int = 20_000
    tenant_recipients_per_day: int = 200_000
    domain_messages_per_hour: int = 10_000
    domain_recipients_per_day: int = 100_000


@dataclass(frozen=True, slots=True)
class TenantMaxima:
    """What one tenant may be given at most, whoever gives it."""

    users: int = 100_000
    storage_bytes: int = 100_000 * GIB
    domains: int = 10_000
    recipients_per_day: int = 2_000_000


MAXIMA: Final = TenantMaxima()


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """What a tenant may send until it is so old."""

    younger_than_s: int
    messages_per_hour: int
    recipients_per_day: int


YOUNG: Final = (AgeLimits(DAY_S, 50, 200), AgeLimits(7 * DAY_S, 100, 500), AgeLimits(30 * DAY_S, 1000, 5000))
"""Of organisations that came by themselves. A new one may be anybody."""
PAYING: Final = (AgeLimits(DAY_S, 250, 1000), AgeLimits(7 * DAY_S, 500, 2500), AgeLimits(30 * DAY_S, 2000, 20_000))
"""Of those that pay. Who pays nothing though others do stays where `YOUNG` has a week."""


def limits_of_age(platform: SendingLimits, age_s: float, pays: bool | None) -> SendingLimits:
    """Return the platform's limits as they hold for a tenant of an age; `pays` is None where nobody pays."""
    if pays is False:
        age_s = min(age_s, 7 * DAY_S - 1)
    for step in PAYING if pays else YOUNG:
        if age_s < step.younger_than_s:
            return replace(
                platform,
                tenant_messages_per_hour=_lower(platform.tenant_messages_per_hour, step.messages_per_hour),
                tenant_recipients_per_day=_lower(platform.tenant_recipients_per_day, step.recipients_per_day),
            )
    return platform


def _lower(limit: int, other: int) -> int:
    return min(limit, other) if limit else other


@dataclass(frozen=True, slots=True)
class ReputationLimits:
    """From where on outgoing mail is held: a rate, and how many of the kind there must be at least."""

    bounce_rate: float = 0.1
    bounces: int = 20
    complaint_rate: float = 0.003
    """Where large services begin to refuse everything."""
    complaints: int = 5
    suppressed_rate: float = 0.2
    suppressed: int = 20


class Spending(StrEnum):
    """What is counted one by one, by the name of its limit."""

    MESSAGES = "messages_per_hour"
    RECIPIENTS = "recipients_per_day"
    FORWARDS = "forwards_per_day"
    AUTOREPLIES = "autoreplies_per_day"
    BURST = "recipients_per_burst"
    CATCH_ALL = "catch_all_per_hour"
    RECEIVED = "received_per_hour"
    EXPORTS = "exports_per_day"
    """Of `Limits`: all mail as one file."""
    CONFIRMATIONS = "confirmations_per_day"
    """Of `Limits`: links to targets that mail is to be sent on to."""


class Traffic(StrEnum):
    """What is counted in bytes, by the name of its limit; days are those of UTC."""

    IMAP_DOWNLOAD = "imap_download_bytes_per_day"
    IMAP_UPLOAD = "imap_upload_bytes_per_day"
    POP3_DOWNLOAD = "pop3_download_bytes_per_day"


USER_LIMITS = tuple(each.name for each in fields(UserLimits))
"""What may be changed for a tenant or a user, by name."""
DEFAULT_USER_LIMITS = UserLimits()
SENDING_LIMITS = tuple(each.name for each in fields(SendingLimits))
"""What may be changed for a tenant alone, by name."""


@dataclass(frozen=True, slots=True)
class SecondFactorLimits:
    """How often and how long second factors may be tried."""

    tries: int = 5
    """Wrong codes of a user, until `window_s` after the first of them."""
    window_s: int = 180
    step_s: int = 600
    """From the right password to the second factor."""
    challenge_s: int = 300
    pending_totp_s: int = 6 * 3600
    """From a seed to its first code."""
    passkeys: int = 20


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """How long the queue tries, and how much at once."""

    lease_s: int = 120
    """So long a relay that says nothing has a message for itself."""
    backoff_s: tuple[int, ...] = (120, 300, 600, 1200, 2400, 3600, 7200, 10800)
    """Wait after each failed attempt, by their number; the last counts for all that follow (RFC 5321 §4.5.4.1)."""
    lifetime_s: int = 4 * 24 * 3600
    """A message that could not be sent by then comes back (RFC 5321 §4.5.4.1)."""
    warning_s: int = 4 * 3600
    """After so long the sender hears that it is late."""
    remembered_s: int = 7 * 24 * 3600
    """So long after its end an entry tells what became of it, and a repeat of it is known."""
    suppressed_s: int = 30 * 24 * 3600
    """So long after a hard bounce nothing is sent to an address."""
    complained_s: int = 365 * 24 * 3600
    """The same after its owner complained."""
    connections_per_destination: int = 20
    """Of all relays together; of each alone where Redis is away a quarter."""
    connection_messages: int = 50
    """So many messages go over one connection."""
    connection_age_s: int = 120
    """After so long no further message goes over it."""
    connection_idle_s: int = 3
    """So long it waits for the next one."""
    messages: int = 100
    """On their way at once in one relay, of one tenant at most half."""
    returned_bytes: int = 64 * 1024
    """A message up to this size comes back whole where the sender did not say how much (RFC 3461 §4.3)."""


@dataclass(frozen=True, slots=True)
class RoutingLimits:
    """How far mail for one address may spread."""

    members: int = 1000
    """Of one group."""
    targets: int = 100
    """Of one forwarded address."""
    depth: int = 5
    """Groups and forwarded addresses one behind the other."""
    reached: int = 5000
    """Addresses that one may reach through all of them."""


@dataclass(frozen=True, slots=True)
class DkimTimes:
    """How long keys live; each is far longer than DNS and queues remember anything."""

    rotate_after_s: int = 180 * 24 * 3600
    published_before_use_s: int = 3600
    """So long a new key is seen in DNS before it takes over; a domain's first key need not wait."""
    retiring_s: int = 10 * 24 * 3600
    """So long the record of an old key must stay: what it signed may be in queues for days."""


@dataclass(frozen=True, slots=True)
class SieveLimits:
    """What a Sieve script may be and do; what goes beyond when it runs ends it, and the message is kept."""

    script_bytes: int = 64 * 1024
    nesting: int = 32
    """Blocks, and tests, within one another."""
    steps: int = 100_000
    """A command, a comparison, a piece of text looked through: a few microseconds each at worst."""
    actions: int = 32
    redirects: int = 4
    header_edits: int = 32
    lookups: int = 32
    """Questions about mailboxes and duplicates, which cost a round trip each."""
    variables: int = 256
    variable_characters: int = 4000
    """A longer value is cut (RFC 5229 §6)."""
    text_characters: int = 64 * 1024
    """Of one string with its variables put in."""
    flags: int = 64
    body_bytes: int = 128 * 1024
    """Of decoded text that `body` looks through."""
    regexes: int = 100
    regex_size: int = 2000
    """Instructions of the program of one regular expression."""
    vacation_least_s: int = 300
    """A sender is not answered more often, whatever `:seconds` says (RFC 6131 §2)."""
    vacation_most_s: int = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that hold unless a tenant has others."""

    message_bytes: int = 64 * MIB
    exports_per_day: int = 5
    """So often one user may ask for all mail as one file."""
    confirmations_per_day: int = 10
    """So many links to targets are mailed for one user."""
    confirmations_per_target: int = 3
    """So many a day to one address, whoever asks."""
    scan: ScanLimits = field(default_factory=ScanLimits)
    mailboxes: int = 1500
    watched_mailboxes: int = 1500
    """So many one session may hear of by NOTIFY."""
    watched_annotations: int = 1000
    """The same for annotations, of each owner."""
    mailbox_depth: int = 32
    mailbox_part_bytes: int = 255
    keywords: int = 56
    keyword_bytes: int = 255
    acl_entries: int = 200
    sharers: int = 1000
    annotation_bytes: int = 16 * 1024
    annotations: int = 100
    annotations_bytes: int = 512 * 1024
    recipients: int = 1000
    received_fields: int = 30
    """What came through more servers than that is not sent on (RFC 5321 §6.3)."""
    routing: RoutingLimits = field(default_factory=RoutingLimits)
    app_passwords: int = 200
    over_quota_grace_s: int = 24 * 3600
    log_entry_bytes: int = 2048
    log_bytes: int = 256 * 1024
    fold_entries: int = 64
    fold_bytes: int = 32 * 1024
    segment_rows: int = 4096
    recent_keys: int = 64
    old_segment_s: int = 600
    message_document_bytes: int = 1 * MIB
    chunk_bytes: int = 1 * MIB
    command_bytes_before_login: int = 8 * 1024
    command_bytes: int = 64 * 1024
    login_deadline_s: int = 60
    idle_timeout_s: int = 30 * 60
    user: UserLimits = field(default_factory=UserLimits)
    sending: SendingLimits = field(default_factory=SendingLimits)
    reputation: ReputationLimits = field(default_factory=ReputationLimits)
    logins: LoginLimits = field(default_factory=LoginLimits)
    auth_log_waiting: int = 10_000
    """Groups of sign-ins that a process holds until they are written."""
    auth_log_kept_s: int = 30 * 24 * 3600
    networks_kept_s: int = 180 * 24 * 3600
    """So long after the last sign-in from there a network is not new to a user."""
    pop3_idle_timeout_s: int = 10 * 60
    second_factors: SecondFactorLimits = field(default_factory=SecondFactorLimits)
    outbound: OutboundLimits = field(default_factory=OutboundLimits)
    trace_kept_s: int = 30 * 24 * 3600
    dkim: DkimTimes = field(default_factory=DkimTimes)
    host_certificates_per_run: int = 15
    """For hosts of tenants' domains, in ten minutes: Let's Encrypt takes 300 orders of an account in three hours."""
    dkim_keys: int = 20
    """Of one domain, whatever their state."""
    sieve: SieveLimits = field(default_factory=SieveLimits)
    scripts: int = 30
    """Sieve scripts of one user, of which one at the most is active."""
    forward_targets: int = 100
    """Addresses that all rules of one owner together forward to."""
    deleted_user_kept_s: int = 30 * 24 * 3600
    """So long a deleted user can be restored, unless who deletes it says otherwise."""
    files: int = 1000
    """Storage files of one user."""
    files_bytes: int = 2 * GIB
    """All of them together."""
    listed_domains: int = 10_000
    """Domains on all lists of one tenant."""


DEFAULT_LIMITS = Limits()
