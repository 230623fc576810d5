"""THREAD=REFERENCES (RFC 5256 §4): who answers whom, by message ids first and by subjects then.

Messages and ids are numbers, nodes are places in lists, nothing recurses: a chain of a hundred
thousand answers is only long. Work is linear but for sorting.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mailcore.model.sorting import Forest

STEPS_BETWEEN_PAUSES: Final = 250
NO_MESSAGE: Final = -1
MANY: Final = 256
"""So many siblings are sorted as columns."""


@dataclass(frozen=True, slots=True)
class ThreadInput:
    """What is known of the messages, each list in the order of the mailbox.

    Attributes:
        rows: which messages.
        own: their ids, 0 if one has none.
        references: the ids of their ancestors, the oldest first.
        subjects: base subjects.
        answers: whether the subject says answer or forward.
        dates: when they were sent.
    """

    rows: list[int]
    own: list[int]
    references: list[list[int]]
    subjects: list[str]
    answers: list[bool]
    dates: list[int]


def thread_by_references(messages: ThreadInput, pause: Callable[[], None]) -> Forest:
    """Return the threads; `pause` is called between pieces of the work."""
    return _Threader(messages, pause).run()


class _Threader:
    """Nodes 0 to n-1 are the messages; later ones stand for ids nobody has here, or for gathered subjects."""

    def __init__(self, messages: ThreadInput, pause: Callable[[], None]) -> None:
        self._messages = messages
        self._pause = pause
        self._count = len(messages.rows)
        self._parents = [NO_MESSAGE] * self._count
        self._tops = list(range(self._count))
        self._children: list[list[int]] = []
        self._dates: list[int] = []
        self._steps = 0

    def run(self) -> Forest:
        """Do the steps of the RFC in their order."""
        self._link()
        self._children = [[] for _ in self._parents]
        for node, parent in enumerate(self._parents):
            if parent != NO_MESSAGE:
                self._children[parent].append(node)
        roots = self._without_dummies([node for node, parent in enumerate(self._parents) if parent == NO_MESSAGE])
        self._dates = self._messages.dates + [0] * (len(self._parents) - self._count)
        self._sort_all(roots)
        roots = self._gathered_by_subject(self._sorted(roots))
        self._sort_all(roots)
        rows = self._messages.rows + [NO_MESSAGE] * (len(self._children) - self._count)
        return Forest(rows, self._children, self._sorted(roots))

    def _step(self) -> None:
        self._steps += 1
        if self._steps % STEPS_BETWEEN_PAUSES == 0:
            self._pause()

    # -- step 1: by ids -------------------------------------------------------------------------

    def _link(self) -> None:
        """Give each message its nearest ancestor, then the ancestors theirs where nobody knows better."""
        nodes: dict[int, int] = {}
        for node, own in enumerate(self._messages.own):
            if own:
                nodes.setdefault(own, node)  # of two with one id the second is without
        chains: list[list[int]] = []
        for node, references in enumerate(self._messages.references):
            self._step()
            chain = [self._node_of(nodes, number) for number in references]
            chains.append(chain)
            if chain:
                self._adopt(chain[-1], node)
        for chain in chains:
            self._step()
            for parent, child in itertools.pairwise(chain):
                if self._parents[child] == NO_MESSAGE:
                    self._adopt(parent, child)

    def _node_of(self, nodes: dict[int, int], number: int) -> int:
        node = nodes.get(number)
        if node is None:
            node = nodes[number] = len(self._parents)
            self._parents.append(NO_MESSAGE)
            self._tops.append(node)
        return node

    def _adopt(self, parent: int, child: int) -> None:
        """Put a node without parent under another, unless that is below it."""
        if self._top(parent) != child:
            self._parents[child] = parent
            self._tops[child] = parent

    def _top(self, node: int) -> int:
        """Return the top of a node's tree; paths are shortened on the way, so it takes nearly no time."""
        tops = self._tops
        while tops[node] != node:
            tops[node] = tops[tops[node]]
            node = tops[node]
        return node

    # -- steps 2 to 4, 6 ------------------------------------------------------------------------

    def _without_dummies(self, roots: list[int]) -> list[int]:
        """Drop nodes without a message: their children take their place, but at the top only an only child."""
        for node in self._bottom_up(roots):
            self._step()
            children = self._children[node]
            if any(child >= self._count for child in children):
                self._children[node] = [kept for child in children for kept in self._lifted(child)]
        kept_roots: list[int] = []
        for root in roots:
            children = self._children[root]
            kept_roots += [root] if root < self._count or len(children) > 1 else children
        return kept_roots

    def _lifted(self, node: int) -> list[int]:
        return [node] if node < self._count else self._children[node]

    def _bottom_up(self, roots: list[int]) -> list[int]:
        """Return all nodes, children before their parents."""
        order: list[int] = []
        stack = list(roots)
        while stack:
            self._step()
            node = stack.pop()
            order.append(node)
            stack += self._children[node]
        order.reverse()
        return order

    def _sort_all(self, roots: list[int]) -> None:
        """Sort siblings by date, then by place; a node without message has its first child's date."""
        for node in self._bottom_up(roots):
            self._step()
            if len(self._children[node]) > 1:
                self._children[node] = self._sorted(self._children[node])
            if node >= self._count and self._children[node]:
                self._dates[node] = self._dates[self._children[node][0]]

    def _sorted(self, nodes: list[int]) -> list[int]:
        if len(nodes) < MANY:
            return sorted(nodes, key=lambda node: (self._dates[node], self._first(node)))
        places = np.array(nodes)
        dates = np.array(self._dates)[places]
        first = np.array([node if node < self._count else self._children[node][0] for node in nodes])
        return places[np.lexsort((first, dates))].tolist()  # type: ignore[no-any-return]

    def _first(self, node: int) -> int:
        """Return the message that stands for a node."""
        return node if node < self._count else self._children[node][0]

    # -- step 5: by subjects --------------------------------------------------------------------

    def _gathered_by_subject(self, roots: list[int]) -> list[int]:
        """Join threads of one base subject (RFC 5256 §4, REFERENCES step 5)."""
        chosen: dict[str, int] = {}
        for root in roots:
            subject = self._messages.subjects[self._first(root)]
            if subject and (subject not in chosen or self._is_better(root, chosen[subject])):
                chosen[subject] = root
        kept: dict[int, None] = dict.fromkeys(roots)
        for root in roots:
            self._step()
            subject = self._messages.subjects[self._first(root)]
            into = chosen.get(subject, root)
            if into == root:
                continue
            del kept[root]
            if into >= self._count:
                self._children[into] += [root] if root < self._count else self._children[root]
            elif self._is_answer(root) and not self._is_answer(into):
                self._children[into].append(root)
            else:
                dummy = len(self._children)
                self._children.append([into, root])
                self._dates.append(0)
                del kept[into]
                kept[dummy] = None
                chosen[subject] = dummy
        return list(kept)

    def _is_better(self, root: int, than: int) -> bool:
        if root >= self._count or than >= self._count:
            return root >= self._count and than < self._count
        return self._is_answer(than) and not self._is_answer(root)

    def _is_answer(self, root: int) -> bool:
        return self._messages.answers[self._first(root)]
