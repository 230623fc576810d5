"""What is known so far, as one authoritative server sees it; what is looked for in vain is asked next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailcore.model.dns_answers import Answer, Observation, Question

Observed = Mapping[Question, Observation]
CHAIN: Final = 5


class Picture:
    """Answers of one server; where it was not asked (another zone), of any that answered.

    Reading notes the questions read in `used`, and those that nobody asked yet in `missing`.
    """

    def __init__(self, observed: Observed, domain: str, address: str = "") -> None:
        self.domain = domain
        self.used: list[Question] = []
        self.missing: set[Question] = set()
        self._observed = observed
        self._address = address

    def get(self, name: str, kind: str) -> Answer | None:
        """Return an answer that says what is there, or None."""
        question = Question(name, kind)
        observation = self._observed.get(question)
        if observation is None:
            self.missing.add(question)
            return None
        if question not in self.used:
            self.used.append(question)
        mine = [answer for answer in observation.answers if answer.address == self._address]
        return next((answer for answer in mine or observation.told if answer.is_told), None)

    def records(self, name: str, kind: str) -> tuple[str, ...]:
        """Return the records at the name itself; none where nobody says any."""
        answer = self.get(name, kind)
        return () if answer is None or (answer.alias is not None and kind != "CNAME") else answer.records

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the TXT records at a name, behind its CNAMEs."""
        for _ in range(CHAIN):
            answer = self.get(name, "TXT")
            if answer is None:
                return ()
            if answer.alias is None:
                return answer.records
            name = answer.alias
        return ()

    def alias(self, name: str, kind: str) -> str | None:
        """Return where a CNAME at the name leads, as an answer to a question of that type says it."""
        answer = self.get(name, kind)
        return None if answer is None else answer.alias

    def addresses(self, name: str) -> frozenset[str]:
        """Return the IPv4 and IPv6 addresses of a name, behind its CNAMEs."""
        found: set[str] = set()
        for kind in ("A", "AAAA"):
            host = name
            for _ in range(CHAIN):
                answer = self.get(host, kind)
                if answer is None:
                    break
                if answer.alias is None:
                    found.update(answer.records)
                    break
                host = answer.alias
        return frozenset(found)
