"""Values of the tune section that are written as text and have one other sensible reading."""

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
"""What a text is read as, and the words that say so."""


def as_number(value: Any, where: str = "") -> ParsedValue | None:
    """A number in quotes."""
    number = from_text(value) if isinstance(value, str) else None
    if number is None:
        return None
    what = f"{value!r} is read as the number {number!r}"
    return number, Problem(what, where, fix="leave the quotes out")


def as_truth(value: Any, where: str) -> ParsedValue | None:
    """A word for true or false that YAML 1.2 does not know as one."""
    truth = TRUTH_OF.get(value.lower()) if isinstance(value, str) else None
    if truth is None:
        return None
    word = "true" if truth else "false"
    return truth, Problem(f"{value!r} is read as {word}", where, fix=f"write {word}")


def of_options(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, ParsedValue]:
    """Options of a plug-in that are numbers in quotes, though it takes numbers."""
    try:
        numeric = plugins.numeric_options(plugins.load(kind, name)) & options.keys()
    except UserError:
        # A plug-in that is not there is told of with all that is wrong with it.
        return {}
    found = {option: as_number(options[option]) for option in sorted(numeric)}
    return {option: reading for option, reading in found.items() if reading is not None}


def replaced(data: Mapping[str, Any], values: Iterable[tuple[KeyPath, Any]]) -> dict[str, Any]:
    """A copy of `data` with other values at some key paths."""
    changed: Any = copy.deepcopy(dict(data))
    for path, value in values:
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    return dict(changed)
