"""One transfer agent that asks; sans-IO."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mailcore import metrics
from mailcore.errors import SyntaxFault
from mailcore.lookup.answers import DEFER, LATER, Answers
from mailcore.lookup.wire import PolicyRequest, Question, QuestionReader, answer, policy_answer
from mailcore.model.actions import CLOSE, Action, Send, SetDeadline, Tls

IDLE_S = 600.0
"""Agents keep their connection for the next question."""
QUESTION_S = 10.0
"""From the first byte of a question to its last."""
SERVER = "lookup"

Asked = TypeVar("Asked")

logger = logging.getLogger(__name__)


class LookupConnection:
    """Reads questions and answers each, in order."""

    __slots__ = ("_answers", "_is_ended", "_reader")

    def __init__(self, answers: Answers) -> None:
        """Answer out of `answers`."""
        self._answers = answers
        self._reader = QuestionReader()
        self._is_ended = False

    def greeting(self) -> Iterable[Action]:
        """Say nothing: the agent begins."""
        return (SetDeadline(IDLE_S),)

    def receive(self, data: bytes) -> Iterator[Action]:
        """Answer what is complete; close behind what cannot be read."""
        if self._is_ended:
            return
        was_within = self._reader.is_within
        answered = False
        try:
            for question in self._reader.feed(data):
                yield Send(self._to(question))
                answered = True
        except SyntaxFault as fault:
            logger.warning("lookup.not_a_question", extra={"details": fault.details})
            metrics.COMMANDS.inc(SERVER, "unknown", "PERM")
            yield from self._end()
            return
        if self._reader.is_within:
            if answered or not was_within:
                yield SetDeadline(QUESTION_S, total=True)
        else:
            yield SetDeadline(IDLE_S)

    def tls_started(self, tls: Tls) -> Iterable[Action]:  # noqa: ARG002  the pump's interface
        """Never asked for."""
        return ()

    def wake(self) -> Iterable[Action]:
        """Nobody has news for this protocol."""
        return ()

    def timeout(self) -> Iterable[Action]:
        """Close: an agent that comes back connects again."""
        return self._end()

    def drain(self) -> Iterable[Action]:
        """Close; what was asked is answered, for answers leave at once."""
        return self._end()

    def eof(self) -> None:
        """Let go of everything."""
        self._reader = QuestionReader()

    def _to(self, question: Question | PolicyRequest) -> bytes:
        if isinstance(question, PolicyRequest):
            action = self._safely(self._answers.policy, question, DEFER)
            metrics.COMMANDS.inc(SERVER, "policy", action.partition(" ")[0])
            return policy_answer(action)
        said = self._safely(self._answers.to, question, LATER)
        metrics.COMMANDS.inc(SERVER, self._answers.name_of(question), said.partition(" ")[0])
        return answer(said)

    def _safely(self, ask: Callable[[Asked], str], question: Asked, otherwise: str) -> str:
        """Return an answer; after a fault of ours the one that says it is not known now."""
        try:
            return ask(question)
        except Exception:
            logger.exception("lookup.failed")
            return otherwise

    def _end(self) -> Iterable[Action]:
        self._is_ended = True
        return (CLOSE,)
