"""Plain columns on standard output."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head, columns as wide as their widest cell on a terminal."""
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        print("  ".join(cell + " " * (widths[column] - width(cell)) for column, cell in enumerate(row)).rstrip())


def printable(text: str) -> str:
    """Replace what would move the cursor or change the terminal."""
    return "".join("\ufffd" if unicodedata.category(character) in {"Cc", "Cs"} else character for character in text)


def width(text: str) -> int:
    """Return how many terminal columns a text takes."""
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) == "Cf"
        else 2
        if unicodedata.east_asian_width(character) in {"W", "F"}
        else 1
        for character in text
    )
