"""Threads by references: every message once, nothing recursive, work that grows with the messages only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailcore.imap.threads import thread_list
from mailcore.model.sorting import Forest
from mailcore.services.search.threading_by_references import ThreadInput, thread_by_references

MESSAGE = st.tuples(
    st.integers(0, 12), st.lists(st.integers(1, 14), max_size=4), st.sampled_from(["", "a", "b"]), st.booleans()
)


def _forest(messages: list[tuple[int, list[int], str, bool]]) -> Forest:
    own, references, subjects, answers = (list(column) for column in zip(*messages, strict=True))
    count = len(messages)
    return thread_by_references(
        ThreadInput(list(range(count)), own, references, subjects, answers, list(range(count))), lambda: None
    )


@given(st.lists(MESSAGE, min_size=1, max_size=40))
def test_every_message_is_in_one_thread(messages: list[tuple[int, list[int], str, bool]]) -> None:
    forest = _forest(messages)
    seen: list[int] = []
    stack = list(forest.roots)
    while stack:
        node = stack.pop()
        assert forest.rows[node] >= 0 or len(forest.children[node]) > 1
        seen.append(forest.rows[node])
        stack += forest.children[node]
    assert sorted(row for row in seen if row >= 0) == list(range(len(messages)))
    text = thread_list(forest, {row: row + 1 for row in range(len(messages))}, lambda: None)
    depth = 0
    for character in text.decode():
        depth += (character == "(") - (character == ")")
        assert depth >= 0
    assert depth == 0


def test_a_long_chain_takes_steps_in_proportion() -> None:
    """N9: answers upon answers, in the order that makes looking for loops longest."""
    for order in (1, -1):
        pauses = 0

        def pause() -> None:
            nonlocal pauses
            pauses += 1

        count = 20_000
        own = list(range(1, count + 1))[::order]
        references = [[number - 1] if number > 1 else [] for number in own]
        forest = thread_by_references(
            ThreadInput(list(range(count)), own, references, [""] * count, [False] * count, [0] * count), pause
        )
        assert len(forest.roots) == 1
        assert thread_list(forest, {row: row for row in range(count)}, pause).count(b"(") == 1
        assert 200 <= pauses <= 1000
