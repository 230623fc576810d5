"""`docs/promises.md` names tests that exist, and of each promise, fault and attack a control."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLES = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([A-Z]\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAME = re.compile(r"`([\w/]+\.py)::(\w+)`")
ROWS = ROW.findall(TABLES)


@cache
def functions(path: str) -> frozenset[str]:
    """The tests of a module."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_")


def missing(text: str) -> list[str]:
    """Which of the tests that a text names are not there."""
    return [
        f"{path}::{name}"
        for path, name in NAME.findall(text)
        if not (TESTS / path).is_file() or name not in functions(path)
    ]


def test_every_row_is_read() -> None:
    assert len(ROWS) == sum(re.match(r"\| [A-Z]\d", line) is not None for line in TABLES.splitlines()) > 40
    assert len({number for number, *_ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("number", "what", "tests", "controls"), ROWS, ids=[row[0] for row in ROWS])
def test_tests_and_controls_exist(number: str, what: str, tests: str, controls: str) -> None:
    assert what.endswith(".")
    for cell in (tests, controls):
        assert NAME.findall(cell), f"{number} names none"
        assert not NAME.sub("", cell).strip(), f"{number}: something that is no name of a test"
    assert missing(tests + controls) == []


def test_a_name_that_is_gone_would_be_noticed() -> None:
    """Negative control."""
    gone = "`unit/test_promises.py::test_nothing` `unit/nowhere.py::test_every_row_is_read`"
    assert len(missing(gone)) == 2
