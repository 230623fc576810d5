"""Files that documents and docstrings name exist; the index of decisions lists every one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
SOURCES = ("mailcore", "portal", "workers", "infra")
PARENTS = (ROOT, *(ROOT / name for name in (*SOURCES, "tests", "docs")))
"""A path is named from one of these on."""
PATH = re.compile(r"`(\w[\w-]*/[\w./-]*)`")
MODULE = re.compile(r"`(\w+\.py)`")
DECISION = re.compile(r"\b[Dd]ecision (\d+)")
INDEXED = re.compile(r"^\| (\d+) \| \[(.+)\]\((\d{4}-[\w-]+\.md)\) \|$", re.MULTILINE)

DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.md")})
MODULES = sorted(path for name in SOURCES for path in (ROOT / name).rglob("*.py"))
NAMES = {path.name for path in (*MODULES, *(ROOT / "tests").rglob("*.py"))}


def is_there(path: str, beside: Path) -> bool:
    """Whether a path is one of ours; what does not begin with a folder of ours is none, and passes."""
    parents = (*PARENTS, beside)
    begun = [parent for parent in parents if (parent / path.partition("/")[0]).is_dir()]
    return not begun or any((parent / path).exists() for parent in begun)


def missing(text: str, beside: Path = ROOT) -> list[str]:
    """Return the files and decisions that a text names and that are not there."""
    return [
        *(path for path in PATH.findall(text) if not is_there(path, beside)),
        *(name for name in MODULE.findall(text) if name not in NAMES),
        *(f"decision {number}" for number in DECISION.findall(text) if not of_number(int(number))),
    ]


def of_number(number: int) -> list[Path]:
    """Return the decision of a number."""
    return list(DECISIONS.glob(f"{number:04}-*.md"))


def found(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Return what is missing, by the file that names it."""
    named = ((path, missing(path.read_text(encoding="utf-8"), path.parent)) for path in paths)
    return {str(path.relative_to(ROOT)): names for path, names in named if names}


def test_files_that_documents_name_exist() -> None:
    assert len(DOCUMENTS) > 30
    assert found(DOCUMENTS) == {}


def test_files_that_modules_name_exist() -> None:
    assert len(MODULES) > 500
    assert found(MODULES) == {}


def test_index_lists_every_decision_by_its_title() -> None:
    rows = INDEXED.findall((DECISIONS / "README.md").read_text(encoding="utf-8"))
    listed = {name: f"# {number}. {title}" for number, title, name in rows}
    files = sorted(DECISIONS.glob("0*.md"))
    assert listed == {path.name: path.read_text(encoding="utf-8").partition("\n")[0] for path in files}
    assert [int(number) for number, _, _ in rows] == [int(path.name[:4]) for path in files]


@pytest.mark.parametrize(
    "text", ["`services/nowhere.py`", "`mailcore/nowhere`", "`docs/nowhere.md`", "`nowhere_at_all.py`", "decision 9999"]
)
def test_what_is_gone_would_be_noticed(text: str) -> None:
    """Negative control."""
    assert len(missing(text)) == 1


def test_what_is_no_path_of_ours_passes() -> None:
    assert missing("`text/plain` `application/json` `/people/` `services/__init__.py` `docs/style.md`") == []
