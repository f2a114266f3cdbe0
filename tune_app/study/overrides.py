"""`--set KEY=VALUE`: changes a study file's data before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tune_app.budget import Unit
from tune_app.errors import Problem, UserError, nearest
from tune_app.space import wandb_sweep
from tune_app.space.prior import PRIOR
from tune_app.study import yaml_source
from tune_app.study.tune_section import TUNE, TuneSection
from tune_app.study.yaml_source import KeyPath, Source


def apply(source: Source, overrides: Sequence[str]) -> None:
    """Sets keys of the sweep, or of the tune section with or without `tune.` before them.

    Values are YAML. Another budget unit replaces the one in the file, and another form of a
    parameter (value, values, min and max) the form it had.

    Raises:
        UserError: with every override that cannot be applied.
    """
    problems: list[Problem] = []
    for override in overrides:
        try:
            problems += _apply(source, override)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)


def _apply(source: Source, override: str) -> list[Problem]:
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    parts: KeyPath = tuple(key.strip().split("."))
    if not equals or not all(parts):
        return [Problem("not of the form KEY=VALUE", where, "--set budget.tokens=60000")]
    if parts[0] in TuneSection.model_fields:
        parts = (TUNE, *parts)
    if parts[0] not in (*wandb_sweep.KEYS, TUNE):
        return [Problem(f"unknown key {key!r}", where, fix=_hint(source, str(parts[0])))]
    parsed = yaml_source.parse(f"value: {text}", where)
    return parsed.problems or _assign(source, parts, parsed.data["value"], where)


def _hint(source: Source, name: str) -> str:
    parameters = source.data.get("parameters")
    if isinstance(parameters, dict) and name in parameters:
        return f"parameters.{name}.value=…"
    return nearest(name, (*wandb_sweep.KEYS, TUNE, *TuneSection.model_fields))


def _assign(source: Source, parts: KeyPath, value: Any, where: str) -> list[Problem]:
    target: Any = source.data
    for depth, part in enumerate(parts[:-1]):
        if depth == 1 and parts[0] == "parameters" and part not in target:
            return [Problem(f"unknown parameter {part!r}", where, fix=nearest(str(part), target))]
        child = target.get(part)
        if child is None:
            child = target[part] = {}
        elif isinstance(child, str) and parts[0] == TUNE:
            # Two keys may have a text in place of a mapping: a plug-in's name, `prior: step_law`.
            mapping: dict[str, Any] = {child: {}} if part == PRIOR else {"name": child}
            child = target[part] = mapping
        if not isinstance(child, dict):
            return [Problem(f"{yaml_source.dotted(parts[: depth + 1])} has no keys", where)]
        target = child
    last = parts[-1]
    if parts[:-1] == (TUNE, "budget") and last in set(Unit):
        for unit in Unit:
            target.pop(unit.value, None)
    if parts[0] == "parameters" and len(parts) == 3:
        _replace_form(target, str(last))
    target[last] = value
    source.overrides[parts] = where
    return []


def _replace_form(entry: dict[str, Any], key: str) -> None:
    """A parameter is a value, a list, or a range: setting one form removes the others."""
    forms = ({"value"}, {"values", "probabilities"}, {"min", "max", "q", "distribution"})
    keep = next((form for form in forms if key in form), set())
    for form in forms:
        if keep and form is not keep:
            for other in form:
                entry.pop(other, None)
