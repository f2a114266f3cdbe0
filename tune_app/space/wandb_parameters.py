"""Reads the parameters of a W&B sweep into domains: distributions, ranges, choices.

Ends of ranges are included; the bounds of `log_uniform` are exponents of e, those of
`log_uniform_values` are values. Problems are collected, so that all are told at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from tune_app.errors import Problem, nearest
from tune_app.space.domains import Choice, Domain, Fixed, Float, Int, identity

Path = tuple[str | int, ...]
Where = Callable[[Path], str]
"""Says where in the user's file a key path stands, e.g. `sweep.yaml:4:3 parameters.lr.min`."""

PARAMETER_KEYS = ("value", "values", "probabilities", "distribution", "min", "max", "q")
_PLAIN = {"uniform", "int_uniform", "q_uniform"}
_LOG_VALUES = {"log_uniform_values", "q_log_uniform_values"}
_LOG_EXPONENTS = {"log_uniform", "q_log_uniform"}
_RANGES = _PLAIN | _LOG_VALUES | _LOG_EXPONENTS
_LISTS = {"categorical", "categorical_w_probabilities"}
DISTRIBUTIONS = ("constant", *sorted(_LISTS), *sorted(_RANGES))

_FORMS = (
    (("value",), {"value"}, {"constant"}),
    (("values",), {"values", "probabilities"}, _LISTS),
    (("min", "max"), {"min", "max", "q"}, _RANGES),
)
"""The three ways to write a parameter: keys that make it, all of its keys, its distributions."""


class Reader:
    """Collects the problems of a file while it is read."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self.problems: list[Problem] = []

    def problem(self, path: Path, what: str, expected: str = "", fix: str = "") -> None:
        self.problems.append(Problem(what, self._where(path), expected, fix))

    def text(self, document: Mapping[str, Any], key: str) -> str | None:
        value = document.get(key)
        if value is None or isinstance(value, str):
            return value
        self.problem((key,), f"{value!r} is not text", expected="a string")
        return None


def parameters(document: Mapping[str, Any], reader: Reader) -> dict[str, Domain]:
    """The domains of a sweep; what is wrong with it goes to the reader."""
    entries = document.get("parameters")
    path: Path = ("parameters",)
    if not isinstance(entries, Mapping) or not entries:
        what = "no parameters to search" if not entries else f"{entries!r} is not a mapping"
        example = "parameters: {learning_rate: {min: 1e-5, max: 1e-3}}"
        reader.problem(path, what, expected=example)
        return {}
    space: dict[str, Domain] = {}
    for name, entry in entries.items():
        if not isinstance(name, str):
            reader.problem((*path, name), f"the name {name!r} is not text", expected="a string")
            continue
        domain = _domain((*path, name), entry, reader)
        if domain is not None:
            space[name] = domain
    return space


def _domain(path: Path, entry: Any, reader: Reader) -> Domain | None:
    if not isinstance(entry, Mapping):
        fix = f"{path[-1]}: {{value: {entry}}}"
        reader.problem(path, f"{entry!r} is not a mapping", "value, values, or min and max", fix)
        return None
    for key in entry:
        if key not in PARAMETER_KEYS:
            hint = nearest(str(key), PARAMETER_KEYS)
            if key == "parameters":
                hint = "nested parameters are not read yet: name them on the top level"
            reader.problem((*path, key), f"unknown key {key!r}", fix=hint)
    if any(key not in PARAMETER_KEYS for key in entry):
        return None
    distribution = entry.get("distribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        hint = nearest(str(distribution), DISTRIBUTIONS)
        what = f"unknown distribution {distribution!r}"
        reader.problem((*path, "distribution"), what, fix=hint)
        return None
    given = tuple(key for key in ("value", "values", "min", "max") if key in entry)
    form = next((form for form in _FORMS if form[0] == given), None)
    if form is None:
        got = " and ".join(given) if given else "none of them"
        expected = "either value, or values, or both min and max"
        reader.problem(path, f"{got} given", expected)
        return None
    if not _fits_form(path, entry, form, reader):
        return None
    read = {"value": _constant, "values": _choice, "min": _range}[given[0]]
    return read(path, entry, reader)


def _fits_form(
    path: Path, entry: Mapping[str, Any], form: tuple[Any, set[str], set[str]], reader: Reader
) -> bool:
    """Whether no key and no distribution of another form stands beside."""
    makers, keys, distributions = form
    text, before = " and ".join(makers), len(reader.problems)
    for key in entry:
        if key not in keys | {"distribution"}:
            reader.problem((*path, key), f"{key} has no meaning beside {text}")
    distribution = entry.get("distribution")
    if distribution is not None and distribution not in distributions:
        expected = " | ".join(sorted(distributions))
        reader.problem((*path, "distribution"), f"{distribution} has no {text}", expected)
    return len(reader.problems) == before


def _constant(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    if _is_sayable((*path, "value"), entry["value"], reader):
        return Fixed(entry["value"])
    return None


def _is_sayable(path: Path, value: Any, reader: Reader) -> bool:
    """Whether the journal, which is strict JSON, can hold a value."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        reader.problem(path, f"{value!r} is not a finite number", "a number, e.g. 1e9")
        return False
    return True


def _choice(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    values = entry["values"]
    if not isinstance(values, list) or not values:
        reader.problem(
            (*path, "values"), f"{values!r} offers no choice", "a list of one or more values"
        )
        return None
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        _is_sayable((*path, "values", index), value, reader)
        first = seen.setdefault(identity(value), index)
        if first != index:
            reader.problem((*path, "values", index), f"{value!r} is listed twice")
    weights = entry.get("probabilities")
    if weights is None:
        return Choice(tuple(values)) if len(values) > 1 else Fixed(values[0])
    numbers = isinstance(weights, list) and all(
        _is_number(weight) and 0 < weight <= 1 for weight in weights
    )
    good = numbers and len(weights) == len(values) and math.isclose(sum(weights), 1, abs_tol=1e-6)
    if not good:
        expected = f"{len(values)} numbers above 0 that add up to 1"
        reader.problem((*path, "probabilities"), f"{weights!r} does not fit", expected)
        return None
    return Choice(tuple(values), tuple(weights))


def _range(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    if not _is_range(path, entry, reader):
        return None
    low, high = entry["min"], entry["max"]
    whole = isinstance(low, int) and isinstance(high, int)
    distribution = entry.get("distribution") or ("int_uniform" if whole else "uniform")
    if "q" in entry and not distribution.startswith("q_"):
        fix = f"distribution: q_{distribution.removeprefix('int_')}"
        reader.problem((*path, "q"), f"{distribution} has no q", fix=fix)
        return None
    if distribution == "int_uniform":
        if float(low).is_integer() and float(high).is_integer():
            return Int(int(low), int(high))
        reader.problem(path, f"[{low}, {high}] are no whole numbers", "int_uniform has whole ends")
        return None
    if distribution in _LOG_EXPONENTS:
        low, high = _powers(low, high)
        if not 0 < low < high < math.inf:
            what = "e to the power of these bounds is no range of numbers"
            reader.problem(path, what, fix="distribution: log_uniform_values")
            return None
    if distribution in _LOG_VALUES and low <= 0:
        what = f"min {low} has no logarithm"
        reader.problem((*path, "min"), what, expected=f"a number above 0 for {distribution}")
        return None
    log = distribution not in _PLAIN
    if distribution.startswith("q_"):
        return _quantised(path, entry, low, high, log, reader)
    return Float(float(low), float(high), log=log)


def _is_range(path: Path, entry: Mapping[str, Any], reader: Reader) -> bool:
    bad = [key for key in ("min", "max") if not _is_number(entry[key])]
    for key in bad:
        value = entry[key]
        reader.problem((*path, key), f"{value!r} is no bound of a range", "a number, e.g. 1e-5")
    if bad:
        return False
    low, high = entry["min"], entry["max"]
    if low >= high:
        fix = f"min: {high}, max: {low}" if low > high else "value, with that value alone"
        what = f"range [{low}, {high}] is empty" if low > high else f"[{low}, {high}] is one value"
        reader.problem(path, what, expected="min below max", fix=fix)
    return bool(low < high)


def _powers(low: float, high: float) -> tuple[float, float]:
    try:
        return math.exp(low), math.exp(high)
    except OverflowError:
        return 0.0, math.inf


def _quantised(
    path: Path,
    entry: Mapping[str, Any],
    low: float,
    high: float,
    log: bool,
    reader: Reader,
) -> Domain | None:
    """What W&B draws: round(x / q) * q for x in [low, high], whole numbers where q is one.

    The ends are rounded as the draws are, so a value may lie outside of min and max.
    https://github.com/wandb/sweeps/blob/master/src/sweeps/params.py
    """
    q = entry.get("q", 1)
    if not _is_number(q) or q <= 0:
        reader.problem((*path, "q"), f"{q!r} is no step", expected="a number above 0")
        return None
    if not math.isfinite(high / q):
        reader.problem((*path, "q"), f"{q!r} is too small for max {high}")
        return None
    first, last = round(low / q), round(high / q)
    if first == last:
        what = f"in steps of {q}, [{low:g}, {high:g}] is the one value {first * q:g}"
        reader.problem((*path, "q"), what, expected="a q below max - min")
        return None
    if log and first == 0:
        what = f"{low:g} is 0 in steps of {q}, and 0 has no logarithm"
        reader.problem((*path, "min"), what, expected=f"at least half of q, e.g. {q}")
        return None
    if isinstance(q, int):
        return Int(first * q, last * q, log, q)
    step = float(q)
    bottom, top = (float(f"{index * step:.15g}") for index in (first, last))
    return Float(bottom, top, log, step)


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and -LARGEST <= value <= LARGEST


LARGEST = 2**53
"""Samplers count with floats, in which whole numbers beyond this are not exact."""
