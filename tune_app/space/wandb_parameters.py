"""Reads the parameters of a W&B sweep into domains: constants, choices, ranges, nested groups.

A nested parameter gets a dotted name: the names of its groups, then its own. Names may be written
with dots as well. Trials get nested mappings for both.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from tune_app.errors import nearest
from tune_app.space.domains import Choice, Domain, Fixed, identity
from tune_app.space.reader import Path, Reader
from tune_app.space.wandb_ranges import (
    BETAS,
    LOG_EXPONENTS,
    LOG_VALUES,
    NORMALS,
    RANGES,
    bell,
    beta,
    bounded,
)

_LISTS = ("categorical", "categorical_w_probabilities")
DISTRIBUTIONS = (
    "constant",
    *_LISTS,
    *RANGES,
    *LOG_VALUES,
    *LOG_EXPONENTS,
    *NORMALS,
    *BETAS,
)
_KEYS_OF = {
    **dict.fromkeys(("constant",), ("value",)),
    **dict.fromkeys(_LISTS, ("values", "probabilities")),
    **dict.fromkeys((*RANGES, *LOG_VALUES, *LOG_EXPONENTS), ("min", "max", "q")),
    **dict.fromkeys(NORMALS, ("mu", "sigma", "q")),
    **dict.fromkeys(BETAS, ("a", "b", "q")),
}
"""By distribution, the keys that a parameter may have besides `distribution`."""
SYNONYMS = {"mean": "mu", "std": "sigma", "stddev": "sigma", "step": "q"}
"""Names that other libraries use for these keys."""
PARAMETER_KEYS = (
    *("value", "values", "probabilities", "distribution", "min", "max", "q"),
    *("mu", "sigma", "a", "b", "parameters"),
)


def parameters(document: Mapping[str, Any], reader: Reader) -> dict[str, Domain]:
    """The domains of a sweep, nested ones under dotted names; mistakes go to the reader."""
    entries = document.get("parameters")
    if not isinstance(entries, Mapping) or not entries:
        what = "no parameters to search" if not entries else f"{entries!r} is not a mapping"
        example = "parameters: {learning_rate: {min: 1e-5, max: 1e-3}}"
        reader.problem(("parameters",), what, expected=example)
        return {}
    space: dict[str, Domain] = {}
    _group(("parameters",), "", entries, space, reader)
    return space


def _group(
    path: Path, prefix: str, entries: Mapping[Any, Any], space: dict[str, Domain], reader: Reader
) -> None:
    for name, entry in entries.items():
        place = (*path, name)
        if not isinstance(name, str) or not all(name.split(".")):
            reader.problem(
                place, f"{name!r} cannot name a parameter", "text, such as learning_rate"
            )
            continue
        full = prefix + name
        if isinstance(entry, Mapping) and "parameters" in entry:
            _nested(place, full, entry, space, reader)
        elif full in space:
            reader.problem(place, f"{full} is given twice, with dots and nested", fix="keep one")
        elif (domain := _domain(place, entry, reader)) is not None:
            space[full] = domain


def _nested(
    path: Path, name: str, entry: Mapping[str, Any], space: dict[str, Domain], reader: Reader
) -> None:
    for key in (key for key in entry if key != "parameters"):
        what = f"{key} beside nested parameters"
        reader.problem((*path, key), what, "parameters alone, or a distribution alone")
    inner = entry["parameters"]
    if isinstance(inner, Mapping) and inner:
        _group((*path, "parameters"), f"{name}.", inner, space, reader)
    else:
        reader.problem((*path, "parameters"), f"{inner!r} holds no parameters", "a mapping of them")


def check_prefixes(space: Mapping[str, Domain], reader: Reader) -> None:
    """A name cannot be a value and hold others at the same time."""
    for name in space:
        parts = name.split(".")
        groups = (".".join(parts[:depth]) for depth in range(1, len(parts)))
        for group in groups:
            if group in space:
                what = f"{group} is a parameter, and {name} lies in it"
                fix = f"rename one of them, or make {group} a group without a value of its own"
                reader.problem(("parameters", *parts), what, "a value or a group, not both", fix)


def _domain(path: Path, entry: Any, reader: Reader) -> Domain | None:
    if not isinstance(entry, Mapping):
        return _bare(path, entry, reader)
    unknown = [key for key in entry if key not in PARAMETER_KEYS]
    if entry and len(unknown) == len(entry) and all(isinstance(entry[k], Mapping) for k in entry):
        what, fix = "a group without the key parameters", f"{path[-1]}: {{parameters: {{…}}}}"
        reader.problem(path, what, "value, values, min and max, or parameters", fix)
        return None
    for key in unknown:
        hint = f"did you mean {SYNONYMS[key]!r}?" if key in SYNONYMS else ""
        hint = hint or nearest(str(key), PARAMETER_KEYS)
        reader.problem((*path, key), f"unknown key {key!r}", fix=hint)
    distribution = entry.get("distribution")
    word = reader.word((*path, "distribution"), distribution, DISTRIBUTIONS)
    if distribution is not None and word not in DISTRIBUTIONS:
        hint = nearest(str(distribution), DISTRIBUTIONS)
        what = f"unknown distribution {distribution!r}"
        reader.problem((*path, "distribution"), what, fix=hint)
        return None
    named = {"distribution": word} if word is not None else {}
    return None if unknown else _read(path, {**entry, **named}, reader)


def _bare(path: Path, entry: Any, reader: Reader) -> Domain | None:
    """Reads a value in place of a mapping as a constant, unless it is a list."""
    text = json.dumps(entry, ensure_ascii=False, default=str)
    if isinstance(entry, list):
        readings = {"one of these": f"{{values: {text}}}", "all as one": f"{{value: {text}}}"}
        reader.ambiguous(path, f"the list {text} without a key", readings)
        return None
    if isinstance(entry, str) and re.match(r"(values?|min|max|distribution):", entry):
        reader.problem(path, f"{text}: a space is missing after the colon", "key: value")
        return None
    if entry is None:
        reader.problem(path, "has no value", "value, values, or min and max")
        return None
    reader.warn(path, f"{text} is read as a constant", f"{path[-1]}: {{value: {text}}}")
    return _constant(path, {"value": entry}, reader)


def _read(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    """Reads a parameter as the kind that its keys indicate."""
    distribution = entry.get("distribution")
    makers = {"value": _constant, "values": _choice}
    present = [key for key in ("value", "values", "min", "max") if key in entry]
    if distribution in (*NORMALS, *BETAS):
        kind, read = distribution, bell if distribution in NORMALS else beta
    elif present in (["value"], ["values"]):
        kind, read = ("constant" if present == ["value"] else "categorical"), makers[present[0]]
        if kind == "categorical" and "probabilities" in entry:
            kind = "categorical_w_probabilities"
        if not _settled(path, kind, distribution, reader):
            return None
    elif present == ["min", "max"]:
        kind, read = distribution or "uniform", bounded
        if kind not in (*RANGES, *LOG_VALUES, *LOG_EXPONENTS):
            expected = " | ".join((*RANGES, *LOG_VALUES, *LOG_EXPONENTS))
            reader.problem((*path, "distribution"), f"{kind} has no min and max", expected)
            return None
    else:
        _unclear(path, present, reader)
        return None
    return read(path, entry, reader) if _has_only(path, entry, str(kind), reader) else None


def _unclear(path: Path, present: list[str], reader: Reader) -> None:
    """Adds a problem with the fix for an incomplete form of a parameter, or for several forms."""
    begun = {form: keys for form, keys in _FORMS.items() if set(keys) & set(present)}
    readings = {}
    for form, keys in begun.items():
        out = " and ".join(key for key in present if key not in keys)
        more = " and ".join(key for key in keys if key not in present)
        mends = [f"take {out} out"] if out else []
        readings[form] = ", ".join([*mends, f"add {more}"] if more else mends)
    if len(begun) > 1:
        reader.ambiguous(
            path, " beside ".join(" and ".join(begun[form]) for form in begun), readings
        )
        return
    what = f"{' and '.join(present) or 'none of them'} given"
    expected = "either value, or values, or both min and max"
    reader.problem(path, what, expected, "".join(readings.values()))


_FORMS = {"a constant": ("value",), "a choice": ("values",), "a range": ("min", "max")}


def _settled(path: Path, kind: str, distribution: Any, reader: Reader) -> bool:
    """Whether `value` or `values` can be read in spite of the `distribution` given with it."""
    if distribution in (None, kind) or {kind, distribution} <= set(_LISTS):
        return True
    key = (*path, "distribution")
    if kind == "constant":
        reader.problem(key, f"{distribution} has no value", "min and max, or no distribution")
        return False
    what = f"{distribution} has no values: read as a choice among them, each as likely"
    reader.warn(key, what, "take the distribution out")
    return True


def _has_only(path: Path, entry: Mapping[str, Any], kind: str, reader: Reader) -> bool:
    strange = [key for key in entry if key != "distribution" and key not in _KEYS_OF[kind]]
    for key in strange:
        expected = ", ".join(_KEYS_OF[kind])
        reader.problem((*path, key), f"{key} has no meaning beside {kind}", expected)
    return not strange


def _constant(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    if _is_sayable((*path, "value"), entry["value"], reader):
        return Fixed(entry["value"])
    return None


def _is_sayable(path: Path, value: Any, reader: Reader) -> bool:
    """Whether a value can be written to the journal, which is strict JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        reader.problem(path, f"{value!r} is not a finite number", "a number, e.g. 1e9")
        return False
    return True


def _choice(path: Path, entry: Mapping[str, Any], reader: Reader) -> Domain | None:
    values, place = entry["values"], (*path, "values")
    if isinstance(values, str) and len(values.strip("[]").replace(",", " ").split()) > 1:
        items = ", ".join(values.strip("[]").replace(",", " ").split())
        readings = {"a list": f"values: [{items}]", "one text": f"value: {json.dumps(values)}"}
        reader.ambiguous(place, f"the text {values!r} without brackets", readings)
        return None
    if isinstance(values, (str, int, float)) and "probabilities" not in entry:
        reader.warn(place, f"{values!r} is not a list: read as a constant", f"value: {values}")
        return _constant(path, {"value": values}, reader)
    if not isinstance(values, list) or not values:
        reader.problem(place, f"{values!r} offers no choice", "a list of one or more values")
        return None
    sayable = [_is_sayable((*place, index), value, reader) for index, value in enumerate(values)]
    weights = _weights(path, entry, len(values), reader)
    return _merged(place, values, weights, reader) if all(sayable) and weights else None


def _weights(
    path: Path, entry: Mapping[str, Any], count: int, reader: Reader
) -> list[float] | None:
    """The probability of each choice; None if the probabilities are wrong."""
    weights = entry.get("probabilities")
    if weights is None:
        return [1 / count] * count
    numbers = isinstance(weights, list) and all(
        isinstance(weight, (int, float)) and not isinstance(weight, bool) and 0 <= weight <= 1
        for weight in weights
    )
    if numbers and len(weights) == count and math.isclose(sum(weights), 1, abs_tol=1e-4):
        return [float(weight) for weight in weights]
    expected = f"{count} numbers from 0 to 1 that add up to 1"
    reader.problem((*path, "probabilities"), f"{weights!r} does not fit", expected)
    return None


def _merged(path: Path, values: list[Any], weights: list[float], reader: Reader) -> Domain:
    """A choice without duplicates and without values of probability 0."""
    likely: dict[str, float] = {}
    first: dict[str, Any] = {}
    for index, (value, weight) in enumerate(zip(values, weights, strict=True)):
        key = identity(value)
        if key in likely:
            reader.warn((*path, index), f"{value!r} is listed twice: one choice, as likely as both")
        if weight == 0:
            reader.warn((*path, index), f"{value!r} has probability 0: left out")
            continue
        likely[key] = likely.get(key, 0.0) + weight
        first.setdefault(key, value)
    kept = tuple(first.values())
    if len(kept) == 1:
        return Fixed(kept[0])
    even = len(set(likely.values())) == 1
    return Choice(kept, None if even else tuple(likely.values()))
