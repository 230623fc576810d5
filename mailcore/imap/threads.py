"""THREAD's answer (RFC 5256 §5, rule `thread-list`), written without recursion."""

from __future__ import annotations

from collections.abc import Mapping

from mailcore.model.sorting import Forest


def thread_list(forest: Forest, numbers: Mapping[int, int]) -> bytes:
    """Return `SP 1*thread-list`, empty if there is none; `numbers`: what is told of each row."""
    if not forest.roots:
        return b""
    pieces: list[str] = [" "]
    for root in forest.roots:
        stack: list[int | str] = [root]
        pieces.append("(")
        while stack:
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
