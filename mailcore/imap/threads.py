"""THREAD's answer (RFC 5256 §5, rule `thread-list`), written without recursion."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailcore.model.sorting import Forest

PIECES_BETWEEN_PAUSES = 500


def thread_list(forest: Forest, numbers: Mapping[int, int], pause: Callable[[], None]) -> bytes:
    """Return `SP 1*thread-list`, empty if there is none; `numbers`: what is told of each row. Others run in between."""
    if not forest.roots:
        return b""
    pieces: list[str] = [" "]
    paused_at = 0
    for root in forest.roots:
        stack: list[int | str] = [root]
        pieces.append("(")
        while stack:
            if len(pieces) - paused_at > PIECES_BETWEEN_PAUSES:
                paused_at = len(pieces)
                pause()
            node = stack.pop()
            if isinstance(node, str):
                pieces.append(node)
                continue
            row = forest.rows[node]
            children = forest.children[node]
            if row >= 0:
                pieces.append(str(numbers[row]))
                if children:
                    pieces.append(" ")
            if len(children) == 1:
                stack.append(children[0])
            else:
                for child in reversed(children):
                    stack += [")", child, "("]
        pieces.append(")")
    return "".join(pieces).encode("ascii")
