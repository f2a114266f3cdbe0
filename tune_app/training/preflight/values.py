"""Finds values of a space that its trainable would refuse, before the first trial does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tune_app.budget import BATCH_COUNTS
from tune_app.errors import Problem, UserError
from tune_app.space.domains import Choice, Domain, Drawn, Fixed, Float, Int, fixed
from tune_app.training.trainable import Trainable

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
}


def value_problems(loaded: Trainable, space: Mapping[str, Domain]) -> list[Problem]:
    """Values of the wrong type, and those that `Config` refuses, each with its key in the study."""
    typed = {name: domain for name, domain in space.items() if name in loaded.types}
    problems = [
        problem
        for name, domain in typed.items()
        for value in ends(domain)
        for problem in _type_problems(name, value, loaded.types[name])
    ]
    wrong = {problem.where for problem in problems}
    right = {name: domain for name, domain in typed.items() if _key(name) not in wrong}
    return problems + _refused(loaded, right)


def ends(domain: Domain) -> Iterable[Any]:
    """The bounds of a numeric domain, or the values of another."""
    match domain:
        case Float(low, high) | Int(low, high):
            return [low, high]
        case Drawn():
            return [domain.low, domain.high]
        case Choice(values):
            return values
        case Fixed(value):
            return [value]


def _type_problems(name: str, value: Any, annotation: str) -> list[Problem]:
    plain = annotation.removesuffix(" | None")
    if plain not in _KINDS or (value is None and plain != annotation):
        return []
    types, expected = _KINDS[plain]
    fits = isinstance(value, types) and (plain == "bool" or not isinstance(value, bool))
    if not fits:
        return [Problem(f"{value!r} is of the wrong type", _key(name), expected)]
    if name in BATCH_COUNTS and value < 1:
        return [Problem(f"{value!r} is too small", _key(name), "a whole number from 1 on")]
    return []


def _refused(loaded: Trainable, space: Mapping[str, Domain]) -> list[Problem]:
    """Problems that `Config` raises for all fixed values at once, and for each other one alone."""
    mine = {name: domain for name, domain in space.items() if name in loaded.config_fields}
    problems = _config_problems(loaded, fixed(mine))
    for name, domain in mine.items():
        if not isinstance(domain, Fixed):
            refusals = [
                p for value in ends(domain) for p in _config_problems(loaded, {name: value})
            ]
            # Other problems may concern combinations with defaults that no trial has.
            problems += [problem for problem in refusals if problem.where == name]
    return [replace(p, where=_key(p.where)) if p.where in mine else p for p in problems]


def _config_problems(loaded: Trainable, values: Mapping[str, Any]) -> list[Problem]:
    try:
        loaded.config(values)
    except UserError as error:
        return list(error.problems)
    except (TypeError, ValueError) as error:
        return [Problem(str(error), "parameters")]
    return []


def _key(name: str) -> str:
    return f"parameters.{name}"
