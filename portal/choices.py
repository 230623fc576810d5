"""Choices of forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]  # newer than its types


def choices(labels: Mapping[str, str]) -> list[Any]:
    """Return what a SelectField is given, from what each value is called; calls may be lazy."""
    return [SelectChoice(value, label) for value, label in labels.items()]
