"""Values of a study as cells of a report's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_app.analysis import format
from tune_app.analysis import markdown as md

CELL = 100
"""Characters in one cell, at most."""


def cell(values: Mapping[str, Any], name: str) -> str:
    """The value of that name; a dash where there is none."""
    return short(format.value(values[name])) if name in values else format.NOTHING


def short(raw: str) -> str:
    """Text that nobody has looked at, cut where it is too long for a cell."""
    return md.text(format.shorten(raw, CELL))
