"""Reads spaces of Optuna and Ray Tune by the attributes of their objects; imports neither."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tune_app.space.domains import Choice, Domain, Fixed, Float, Int
from tune_app.space.drawn import Drawn
from tune_app.space.reader import Path, Reader

OPTUNA = ("FloatDistribution", "IntDistribution", "CategoricalDistribution")


def is_optuna(document: Mapping[str, Any]) -> bool:
    """Whether each value is in the format of `optuna.distributions.distribution_to_json`."""
    return bool(document) and all(_optuna_item(item) is not None for item in document.values())


def from_optuna(document: Mapping[str, Any], reader: Reader) -> dict[str, Domain]:
    """The domains of Optuna distributions, each as JSON text or as the parsed mapping."""
    space: dict[str, Domain] = {}
    for name, value in document.items():
        item = _optuna_item(value)
        domain = None if item is None else _optuna_domain((name,), item, reader)
        if domain is not None:
            space[name] = domain
    return space


def _optuna_item(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    is_item = isinstance(value, dict) and {"name", "attributes"} <= value.keys()
    return value if is_item and isinstance(value["attributes"], dict) else None


def _optuna_domain(path: Path, item: dict[str, Any], reader: Reader) -> Domain | None:
    kind, attributes = item["name"], item["attributes"]
    if kind == "CategoricalDistribution" and isinstance(attributes.get("choices"), list):
        return _choice(attributes["choices"])
    low, high, step = attributes.get("low"), attributes.get("high"), attributes.get("step")
    if kind in OPTUNA and _is_range(low, high, whole=kind == "IntDistribution"):
        if low == high:
            return Fixed(low)
        log = bool(attributes.get("log"))
        if log and low <= 0:
            reader.problem(path, f"low {low} has no logarithm", "a number above 0")
            return None
        if kind == "IntDistribution":
            return Int(low, high, log, None if step in (None, 1) else step)
        return Float(float(low), float(high), log, step)
    expected = f"one of {', '.join(OPTUNA)} with low below high, or choices"
    reader.problem(path, f"{json.dumps(item)} is not a distribution of Optuna 3 or newer", expected)
    return None


def from_ray(space: Mapping[str, Any], reader: Reader, prefix: str = "") -> dict[str, Domain]:
    """The domains of a Ray Tune `param_space`; nested mappings get dotted names."""
    domains: dict[str, Domain] = {}
    for key, value in space.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "grid_search" not in value:
            domains |= from_ray(value, reader, f"{name}.")
            continue
        domain = _ray_domain((name,), value, reader)
        if domain is not None:
            domains[name] = domain
    return domains


def _ray_domain(path: Path, value: Any, reader: Reader) -> Domain | None:
    if isinstance(value, Mapping):
        return _choice(value["grid_search"])
    if hasattr(value, "categories"):
        return _choice(value.categories)
    if hasattr(value, "get_sampler") and hasattr(value, "lower"):
        return _ray_range(path, value, reader)
    if callable(value) or hasattr(value, "func"):
        fix = "write it as a constraint, or as a parameter of the trainable"
        reader.problem(path, "a function draws its values: no searcher can model that", fix=fix)
        return None
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        reader.problem(path, f"{value!r} cannot be written as JSON", "plain values")
        return None
    return Fixed(value)


def _ray_range(path: Path, value: Any, reader: Reader) -> Domain | None:
    """Ray's ranges: `randint` excludes its upper end, a quantised range includes it."""
    outer = value.get_sampler()
    q = getattr(outer, "q", None)
    sampler = outer.get_sampler() if q is not None else outer
    kind = type(sampler).__name__.strip("_")
    if kind == "Normal":
        return Drawn("normal", float(sampler.mean), float(sampler.sd), q)
    if kind not in ("Uniform", "LogUniform"):
        reader.problem(path, f"{kind} is an unknown distribution", "uniform, log or normal")
        return None
    log, whole = kind == "LogUniform", type(value).__name__ == "Integer"
    low, high = value.lower, value.upper
    if q not in (None, 1):
        return Drawn("log_uniform" if log else "uniform", float(low), float(high), q)
    if not _is_range(low, high, whole=False):
        reader.problem(path, f"[{low}, {high}] is not a range of numbers", "two finite ends")
        return None
    if not whole:
        return Float(float(low), float(high), log)
    last = high if q == 1 else high - 1
    return Int(low, last, log) if last > low else Fixed(low)


def _choice(values: Any) -> Domain:
    items = tuple(values)
    return Choice(items) if len(items) > 1 else Fixed(items[0])


def _is_range(low: Any, high: Any, whole: bool) -> bool:
    kinds = int if whole else (int, float)
    numbers = [isinstance(n, kinds) and not isinstance(n, bool) for n in (low, high)]
    return all(numbers) and math.isfinite(low) and math.isfinite(high) and low <= high
