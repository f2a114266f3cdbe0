"""Values of a study as cells of a report's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_app.analysis import format
from tune_app.analysis import markdown as md

CELL = 100
"""Characters in one cell, at most."""


def cell(values: Mapping[str, Any], name: str) -> str:
    """The value of `name` as a cell; a dash if there is none."""
    return short(format.value(values[name])) if name in values else format.NOTHING


def short(raw: str) -> str:
    """Untrusted text, escaped and shortened for a cell."""
    return md.text(format.shorten(raw, CELL))
