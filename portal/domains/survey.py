"""One look at a domain: asks until the evaluator has all it wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from mailcore.model.dns_answers import Observation, Question
from portal.domains.evaluation import Evaluation, evaluate
from portal.domains.records import Finding, Wanted

MOST_QUESTIONS: Final = 200
"""A chain of includes or CNAMEs that somebody made for us to follow ends here."""


class Asker(Protocol):
    """Who can be asked, such as `mailcore.services.outbound.authoritative_dns.Survey`."""

    def ask(self, question: Question) -> Observation:
        """Return what all authoritative servers say."""
        ...


def look_at(domain: str, wanted: Sequence[Wanted], survey: Asker) -> tuple[Finding, ...]:
    """Return a finding for each record; as many round trips as there are questions and servers."""
    observed: dict[Question, Observation] = {}
    evaluation: Evaluation = evaluate(domain, wanted, observed)
    while evaluation.missing and len(observed) < MOST_QUESTIONS:
        for question in sorted(evaluation.missing):
            observed[question] = survey.ask(question)
        evaluation = evaluate(domain, wanted, observed)
    return evaluation.findings
