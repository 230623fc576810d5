"""Rules that sort incoming mail: what a message must be like, and what is done with it then.

The words of the first seven fields of a query and the first six of an action are those of WildDuck's filters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from bson import ObjectId

from mailcore.errors import ValueInvalid
from mailcore.model.flags import SYSTEM_MASK, FlagSet
from mailcore.model.forward_target import clean_target
from mailcore.model.ids import MailboxId, MailboxName, TenantId, UserId

MAX_NAME_CHARACTERS: Final = 255
MAX_VALUE_CHARACTERS: Final = 255
MAX_CONDITIONS: Final = 50
MAX_TARGETS: Final = 20
MAX_KEYWORDS: Final = 20
MAX_REPLY_CHARACTERS: Final = 16 * 1024
MAX_SUBJECT_CHARACTERS: Final = 255
MAX_META_CHARACTERS: Final = 16 * 1024
MAX_SIZE_BYTES: Final = 1 << 40
MAX_SCORE: Final = 10_000.0
DAY_S: Final = 24 * 3600
REPLY_LEAST_S: Final = 300
REPLY_MOST_S: Final = 365 * DAY_S

_HEADER_NAME = re.compile(r"[!-9;-~]{1,77}")
_KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z^_`a-z|}~]{1,100}")


class Part(StrEnum):
    """What of a message a condition looks at."""

    HEADER = "header"
    SENDER = "sender"
    """From."""
    RECIPIENTS = "recipients"
    """To, Cc, Delivered-To, and whom the transaction named."""
    REVERSE_PATH = "reverse_path"
    """Whom the transaction came from (RFC 5321 §3.3)."""
    SUBJECT = "subject"
    LIST_ID = "list_id"
    TEXT = "text"


class Match(StrEnum):
    """How a condition compares; case never counts."""

    CONTAINS = "contains"
    IS = "is"
    WILDCARDS = "wildcards"
    """`*` is any text, `?` one character."""
    REGEX = "regex"
    """POSIX extended; found anywhere."""
    EXISTS = "exists"
    """The header is there, whatever it says."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One more thing that must hold; whether a regular expression is one is seen when the rule is compiled.

    Raises:
        ValueInvalid: it is none that could hold.
    """

    part: Part
    match: Match = Match.CONTAINS
    value: str = ""
    header: str = ""
    """Name of the header, where `part` is one."""
    negated: bool = False

    def __post_init__(self) -> None:
        if (self.part is Part.HEADER) != bool(self.header):
            raise ValueInvalid("a condition on a header names the header, others name none")
        if self.header and _HEADER_NAME.fullmatch(self.header) is None:
            raise ValueInvalid(f"{self.header[:100]!r} is no name of a header")
        if self.match is Match.EXISTS:
            if self.part is not Part.HEADER or self.value:
                raise ValueInvalid('"exists" is about a header, and has no value')
        elif not self.value:
            raise ValueInvalid("a condition needs a value to compare with")
        check_line("a value", self.value, MAX_VALUE_CHARACTERS)


@dataclass(frozen=True, slots=True)
class Query:
    """What a message must be like; what is empty or None is not looked at, and nothing at all is every message.

    Raises:
        ValueInvalid: the text says which field and what is right.
    """

    sender: str = ""
    """Part of From, name or address."""
    recipients: str = ""
    """Part of To, Cc or Delivered-To, or of whom the transaction named."""
    subject: str = ""
    list_id: str = ""
    text: str = ""
    has_attachments: bool | None = None
    larger_than: int | None = None
    """Bytes."""
    smaller_than: int | None = None
    score_over: float | None = None
    """The spam filter's count; a message that it did not look at has none."""
    score_under: float | None = None
    is_spam: bool | None = None
    conditions: tuple[Condition, ...] = ()
    any_of: bool = False
    """One of all these is enough."""

    def __post_init__(self) -> None:
        for name in ("sender", "recipients", "subject", "list_id", "text"):
            check_line(name, getattr(self, name), MAX_VALUE_CHARACTERS)
        for name in ("larger_than", "smaller_than"):
            check_number(name, getattr(self, name), 0, MAX_SIZE_BYTES)
        for name in ("score_over", "score_under"):
            score = getattr(self, name)
            if score is not None and not -MAX_SCORE <= score <= MAX_SCORE:
                raise ValueInvalid(f"{name} is a number from {-MAX_SCORE:.0f} to {MAX_SCORE:.0f}")
        if len(self.conditions) > MAX_CONDITIONS:
            raise ValueInvalid(f"at most {MAX_CONDITIONS} conditions")


@dataclass(frozen=True, slots=True)
class RuleReply:
    """A text that the sender is answered, under the rules of automatic answers (RFC 3834)."""

    text: str
    subject: str = ""
    """Empty: made from the message's own."""
    every_s: int = DAY_S
    """Nobody is answered twice within this."""

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > MAX_REPLY_CHARACTERS or "\0" in self.text:
            raise ValueInvalid(f"a reply is a text of up to {MAX_REPLY_CHARACTERS} characters")
        check_line("a subject", self.subject, MAX_SUBJECT_CHARACTERS)
        check_number("every_s", self.every_s, REPLY_LEAST_S, REPLY_MOST_S)


@dataclass(frozen=True, slots=True)
class RuleAction:
    """What is done with a message; of several rules that match, the first that says something of a thing decides.

    Raises:
        ValueInvalid: the text says which field and what is right.
    """

    seen: bool | None = None
    flagged: bool | None = None
    delete: bool | None = None
    """Dropped, whatever else is said of where it goes; it is forwarded all the same."""
    spam: bool | None = None
    """It is, or is not, whatever the filter found."""
    mailbox_id: MailboxId | None = None
    """Of the user whose rule it is; if it is gone: INBOX."""
    targets: tuple[str, ...] = ()
    """Addresses that it is forwarded to."""
    mailbox_name: MailboxName | None = None
    """For rules of a tenant; made if a user has none of that name."""
    flags: FlagSet = field(default_factory=FlagSet)
    reply: RuleReply | None = None

    def __post_init__(self) -> None:
        if self.mailbox_id is not None and self.mailbox_name is not None:
            raise ValueInvalid("a mailbox is named by its id or by its name, not by both")
        if self.flags.system & ~SYSTEM_MASK or len(self.flags.keywords) > MAX_KEYWORDS:
            raise ValueInvalid(f"flags are those of RFC 9051 and up to {MAX_KEYWORDS} keywords")
        for keyword in self.flags.keywords:
            if _KEYWORD.fullmatch(keyword) is None:
                raise ValueInvalid(f"{keyword[:100]!r} is no keyword: letters, digits and signs without spaces")
        if len(self.targets) > MAX_TARGETS:
            raise ValueInvalid(f"at most {MAX_TARGETS} addresses to forward to")
        object.__setattr__(self, "targets", tuple(_clean_targets(self.targets)))


@dataclass(frozen=True, slots=True)
class RuleContent:
    """Everything of a rule that its owner says."""

    query: Query = field(default_factory=Query)
    action: RuleAction = field(default_factory=RuleAction)
    name: str = ""
    is_disabled: bool = False
    stops: bool = False
    """Where it matches, nothing behind it is looked at."""
    meta_data: str = ""
    """JSON text of the owner's applications."""
    asks: bool = False
    """A user chose where it sends mail, so targets outside get nothing until they are confirmed."""

    def __post_init__(self) -> None:
        check_line("a name", self.name, MAX_NAME_CHARACTERS)
        if len(self.meta_data) > MAX_META_CHARACTERS:
            raise ValueInvalid(f"data of an application has at most {MAX_META_CHARACTERS} characters of JSON")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a user or a tenant."""

    id: ObjectId
    content: RuleContent
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredScript:
    """One Sieve script of a user."""

    name: str
    text: str
    changed_at: datetime
    is_active: bool = False
    asks: bool = False
    """As of a rule."""

    @property
    def size_bytes(self) -> int:
        """Of its text in UTF-8."""
        return len(self.text.encode())


@dataclass(frozen=True, slots=True)
class FilterSet:
    """All rules and scripts of one owner, as of one version; version 0 is before there were any."""

    version: int = 0
    rules: tuple[Rule, ...] = ()
    """In the order in which they are looked at."""
    scripts: tuple[StoredScript, ...] = ()

    @property
    def active_script(self) -> StoredScript | None:
        """The one that runs for every message."""
        return next((script for script in self.scripts if script.is_active), None)

    @property
    def acts(self) -> bool:
        """Whether any of it has a say in what becomes of a message."""
        return self.active_script is not None or any(not rule.content.is_disabled for rule in self.rules)

    def find(self, rule_id: ObjectId) -> Rule | None:
        """Return the rule of that id."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def find_script(self, name: str) -> StoredScript | None:
        """Return the script of that name."""
        return next((script for script in self.scripts if script.name == name), None)


class RuleOwnerKind(StrEnum):
    """Whose mail rules are about."""

    USER = "user"
    TENANT = "tenant"
    """All users of it, before their own rules."""


@dataclass(frozen=True, slots=True)
class RuleOwner:
    """A user or a tenant; made by `of_user` and `of_tenant`."""

    kind: RuleOwnerKind
    id: ObjectId


def of_user(user_id: UserId) -> RuleOwner:
    """Return whose rules a user's are."""
    return RuleOwner(RuleOwnerKind.USER, user_id)


def of_tenant(tenant_id: TenantId) -> RuleOwner:
    """Return whose rules those of all users of a tenant are."""
    return RuleOwner(RuleOwnerKind.TENANT, tenant_id)


class Verdict(StrEnum):
    """What a list says of mail from a domain."""

    ALLOW = "allow"
    """Never spam."""
    BLOCK = "block"
    """Always spam."""


@dataclass(frozen=True, slots=True)
class ListedDomain:
    """A sender's domain on one of the lists for users that carry a tag."""

    id: ObjectId
    tag: str
    verdict: Verdict
    domain: str
    """A-labels."""


Scalar: TypeAlias = "int | float | None"


def check_line(what: str, value: str, most: int) -> None:
    """Raises: ValueInvalid: not one line of printable text, or longer than `most` characters."""
    if not isinstance(value, str) or len(value) > most or not (value.isprintable() or not value):
        raise ValueInvalid(f"{what} is one line of up to {most} characters")


def check_number(what: str, value: Scalar, least: int, most: int) -> None:
    """Raises: ValueInvalid: outside of its bounds; None is within."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
        raise ValueInvalid(f"{what} is a number from {least} to {most}")


def _clean_targets(targets: tuple[str, ...]) -> Iterator[str]:
    """Yield the targets as addresses, each once."""
    seen = set()
    for target in targets:
        key, kept = clean_target(target)
        if key not in seen:
            seen.add(key)
            yield kept
