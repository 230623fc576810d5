"""The records that a domain should have, and what can be said about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mailcore.model.dns_answers import Observation


class RecordKind(StrEnum):
    """What a record is for."""

    OWNERSHIP = "ownership"
    MX = "mx"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    MTA_STS = "mta-sts"
    MTA_STS_HOST = "mta-sts-host"
    TLS_RPT = "tls-rpt"
    AUTOCONFIG = "autoconfig"
    AUTODISCOVER = "autodiscover"
    SRV = "srv"


class State(StrEnum):
    """How what is published compares with what is wanted."""

    MATCH = "match"
    MISSING = "missing"
    CONFLICT = "conflict"
    """Something stands there that keeps it from working."""
    STALE = "stale"
    """Something old stands there: of a provider before us, or of ourselves before the last change."""
    UNKNOWN = "unknown"
    """Nobody could say."""


WORST_FIRST = (State.CONFLICT, State.MISSING, State.STALE, State.UNKNOWN, State.MATCH)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One set of records of a type at a name.

    Attributes:
        name: lower-case A-labels, without final dot.
        values: as RFC 1035 text with absolute names; TXT as the text itself, unquoted. All of them together are wanted.
        is_required: without it mail does not work, or anybody could send in the domain's name.
    """

    kind: RecordKind
    name: str
    type: str
    values: tuple[str, ...]
    is_required: bool = False
    ttl_s: int = 3600

    @property
    def key(self) -> str:
        """What names this record among those of its domain."""
        return f"{self.kind}:{self.name}"


class Advice(StrEnum):
    """What is the matter; `portal.domains.sentences` says each as one sentence with what to change."""

    NONE = "none"
    NOT_FOUND = "not-found"
    NOT_REGISTERED = "not-registered"
    NOBODY_ANSWERED = "nobody-answered"
    SERVERS_REFUSE = "servers-refuse"
    SERVERS_DISAGREE = "servers-disagree"
    DOUBLED_NAME = "doubled-name"
    DOUBLED_TARGET = "doubled-target"
    APEX_ALIAS = "apex-alias"
    ALIAS_IN_THE_WAY = "alias-in-the-way"
    QUOTES_INSIDE = "quotes-inside"
    SPLIT_TEXT = "split-text"
    CUT_OFF = "cut-off"
    OTHER_TOKEN = "other-token"  # noqa: S105  no secret
    NO_MAIL_WANTED = "no-mail-wanted"
    MX_ELSEWHERE = "mx-elsewhere"
    MX_MIXED = "mx-mixed"
    MX_LEFTOVER = "mx-leftover"
    MX_INCOMPLETE = "mx-incomplete"
    SECOND_SPF = "second-spf"
    SPF_WITHOUT_US = "spf-without-us"
    SPF_AFTER_ALL = "spf-after-all"
    SPF_LOOKUPS = "spf-lookups"
    SPF_EVERYBODY = "spf-everybody"
    SPF_SYNTAX = "spf-syntax"
    SPF_LEFTOVER = "spf-leftover"
    SECOND_POLICY = "second-policy"
    POLICY_INVALID = "policy-invalid"
    OLD_POLICY_ID = "old-policy-id"
    DKIM_OTHER_KEY = "dkim-other-key"
    DKIM_REVOKED = "dkim-revoked"
    DKIM_SECOND_KEY = "dkim-second-key"
    PROXIED = "proxied"
    ADDRESS_INSTEAD = "address-instead"
    OTHER_TARGET = "other-target"
    LEFTOVER_TARGET = "leftover-target"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said by one server's word.

    Attributes:
        values: what the sentence of the advice names.
        proposal: the values that should stand at name and type, where they depend on what stands there now.
    """

    state: State
    advice: Advice = Advice.NONE
    values: Mapping[str, str] = field(default_factory=dict)
    proposal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict over all servers, with the evidence that it rests on."""

    wanted: Wanted
    verdict: Verdict
    evidence: tuple[Observation, ...]

    @property
    def state(self) -> State:
        """How what is published compares with what is wanted."""
        return self.verdict.state

    @property
    def proposal(self) -> tuple[str, ...]:
        """What should stand there: the wanted values, merged with what must stay."""
        return self.verdict.proposal or self.wanted.values
