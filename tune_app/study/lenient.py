"""Lenient parsing of the tune section: texts that can only mean a number or a boolean."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tune_app import plugins
from tune_app.errors import Problem, UserError
from tune_app.space.wandb_ranges import from_text
from tune_app.study.yaml_source import KeyPath

TRUTH_OF = {
    **dict.fromkeys(("yes", "on", "true"), True),
    **dict.fromkeys(("no", "off", "false"), False),
}
"""Words of YAML 1.1."""

ParsedValue = tuple[Any, Problem]
"""The value of a text, and the warning about it."""


def as_number(value: Any, where: str = "") -> ParsedValue | None:
    """Reads a number in quotes; None for anything else."""
    number = from_text(value) if isinstance(value, str) else None
    if number is None:
        return None
    what = f"{value!r} is read as the number {number!r}"
    return number, Problem(what, where, fix="leave the quotes out")


def as_truth(value: Any, where: str) -> ParsedValue | None:
    """Reads a YAML 1.1 word for true or false, which is text in YAML 1.2; else None."""
    truth = TRUTH_OF.get(value.lower()) if isinstance(value, str) else None
    if truth is None:
        return None
    word = "true" if truth else "false"
    return truth, Problem(f"{value!r} is read as {word}", where, fix=f"write {word}")


def of_options(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, ParsedValue]:
    """The numeric options of a plug-in that are written in quotes."""
    try:
        numeric = plugins.numeric_options(plugins.load(kind, name)) & options.keys()
    except UserError:
        # `plugin_checks` reports a missing plug-in.
        return {}
    readings = {option: as_number(options[option]) for option in sorted(numeric)}
    return {option: reading for option, reading in readings.items() if reading is not None}


def replaced(data: Mapping[str, Any], values: Iterable[tuple[KeyPath, Any]]) -> dict[str, Any]:
    """A deep copy of `data` with `values` at their key paths."""
    changed: Any = copy.deepcopy(dict(data))
    for path, value in values:
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    return dict(changed)
