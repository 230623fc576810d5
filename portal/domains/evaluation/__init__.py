"""The evaluator: from what was wanted and what servers answered to a state, a sentence and the evidence. No I/O.

It is asked again and again: what it lacks is in `Evaluation.missing`, until nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mailcore.model.dns_answers import Observation, Outcome, Question
from portal.domains.evaluation.dkim import judge_dkim
from portal.domains.evaluation.hosts import judge_host, judge_srv
from portal.domains.evaluation.mx import judge_mx
from portal.domains.evaluation.picture import Observed, Picture
from portal.domains.evaluation.spf import judge_spf
from portal.domains.evaluation.texts import judge_ownership, judge_policy
from portal.domains.records import WORST_FIRST, Advice, Finding, RecordKind, State, Verdict, Wanted

__all__ = ["Evaluation", "evaluate"]

JUDGES: Final[Mapping[RecordKind, Callable[[Wanted, Picture], Verdict]]] = {
    RecordKind.OWNERSHIP: judge_ownership,
    RecordKind.MX: judge_mx,
    RecordKind.SPF: judge_spf,
    RecordKind.DKIM: judge_dkim,
    RecordKind.DMARC: judge_policy,
    RecordKind.MTA_STS: judge_policy,
    RecordKind.MTA_STS_HOST: judge_host,
    RecordKind.TLS_RPT: judge_policy,
    RecordKind.AUTOCONFIG: judge_host,
    RecordKind.AUTODISCOVER: judge_host,
    RecordKind.SRV: judge_srv,
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finding for each wanted record, good once `missing` is empty."""

    findings: tuple[Finding, ...]
    missing: frozenset[Question]


def evaluate(domain: str, wanted: Sequence[Wanted], observed: Observed) -> Evaluation:
    """Judge every record by what each server says, and join the verdicts."""
    missing: set[Question] = set()
    findings = tuple(_finding(domain, each, observed, missing) for each in wanted)
    return Evaluation(findings, frozenset(missing))


def _finding(domain: str, wanted: Wanted, observed: Observed, missing: set[Question]) -> Finding:
    question = Question(wanted.name, wanted.type)
    observation = observed.get(question)
    if observation is None:
        missing.add(question)
        return Finding(wanted, Verdict(State.UNKNOWN, Advice.NOBODY_ANSWERED), ())
    if not observation.told:
        return Finding(wanted, _nobody(domain, observation), (observation,))
    verdicts: list[Verdict] = []
    used: list[Question] = []
    for answer in observation.told:
        picture = Picture(observed, domain, answer.address)
        verdicts.append(JUDGES[wanted.kind](wanted, picture))
        missing |= picture.missing
        used += [each for each in picture.used if each not in used]
    return Finding(wanted, _joined(verdicts, observation), tuple(observed[each] for each in used))


def _nobody(domain: str, observation: Observation) -> Verdict:
    """What is said where no server did: that there is no zone is known, everything else is not."""
    if not observation.is_delegated:
        return Verdict(State.MISSING, Advice.NOT_REGISTERED, {"domain": domain})
    servers = ", ".join(sorted({answer.server for answer in observation.answers}))
    if any(answer.outcome is Outcome.REFUSED for answer in observation.answers):
        return Verdict(State.UNKNOWN, Advice.SERVERS_REFUSE, {"servers": servers, "domain": domain})
    return Verdict(State.UNKNOWN, Advice.NOBODY_ANSWERED, {"servers": servers or domain})


def _joined(verdicts: Sequence[Verdict], observation: Observation) -> Verdict:
    """The verdict of all if they agree; if some match already, the others are only behind; else the worst."""
    states = {verdict.state for verdict in verdicts}
    if states == {State.MATCH} or State.MATCH not in states:
        return min(verdicts, key=lambda verdict: WORST_FIRST.index(verdict.state))
    behind = [
        answer for answer, verdict in zip(observation.told, verdicts, strict=True) if verdict.state is not State.MATCH
    ]
    servers = ", ".join(sorted({answer.server for answer in behind}))
    ttl_s = max((answer.ttl_s or 0 for answer in behind), default=0)
    return Verdict(State.STALE, Advice.SERVERS_DISAGREE, {"servers": servers, "minutes": str(-(-ttl_s // 60))})
