"""The domain of one hyper-parameter: a float, an integer, a choice, or one fixed value."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, assert_never

from tune_app.space import drawn
from tune_app.space.drawn import Drawn as Drawn  # one of the domains


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in [low, high]; uniform in its logarithm when `log`.

    With a `step`: one of low, low + step, … up to high.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in [low, high], both ends included; `log` and `step` as for `Float`."""

    low: int
    high: int
    log: bool = False
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `values`, which may be any JSON values; `weights` are probabilities."""

    values: tuple[Any, ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """Not searched."""

    value: Any


Searched = Float | Int | Drawn | Choice
Domain = Searched | Fixed
Space = Mapping[str, Domain]


def identity(value: Any) -> str:
    """A key that tells apart all JSON values: unlike ==, it keeps 1, 1.0, "1" and True distinct."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def contains(domain: Domain, value: Any) -> bool:
    """Whether `value` can be drawn from `domain`."""
    match domain:
        case Float(low, high, _, step):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return False
            inside = low <= value <= high
            return inside and (step is None or _is_close(value, snap(value, low, high, step), step))
        case Int(low, high, _, step):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and low <= value <= high and (value - low) % (step or 1) == 0
        case Drawn():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return number and drawn.can_be(domain, value)
        case Choice(values):
            return identity(value) in map(identity, values)
        case Fixed(only):
            return identity(value) == identity(only)
        case _:
            assert_never(domain)


def own_value(domain: Domain, value: Any) -> Any:
    """The value of `domain` that is the same number as `value`, or `value` if there is none.

    A table may have 8.0 for 8, if a row of its column is empty, and 0.1 in single precision.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        return value
    own: list[float] = []
    match domain:
        case Choice(values):
            own = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        case Int():
            own = [round(value)]
        case Float(low, high, _, step):
            own = [low, high] if step is None else [snap(value, low, high, step)]
        case Drawn():
            own = [domain.low, domain.high] if domain.q is None else [domain.rounded(value)]
    if identity(value) in map(identity, own):
        return value
    return next((v for v in own if math.isclose(v, value, rel_tol=SINGLE)), value)


def sample(domain: Domain, rng: random.Random) -> Any:
    """One independent draw."""
    match domain:
        case Float(low, high, log, step):
            return _draw(low, high, log, step, rng)
        case Int(low, high, log, step):
            if not log:
                return rng.randrange(low, high + 1, step or 1)
            # Half a step more at both ends makes them as likely as their neighbours.
            half = (step or 1) / 2
            lowest = max(low - half, low / 2)
            number = math.exp(rng.uniform(math.log(lowest), math.log(high + half)))
            return int(snap(number, low, high, step or 1))
        case Drawn():
            return drawn.draw(domain, rng)
        case Choice(values, weights):
            return rng.choices(values, weights)[0]
        case Fixed(value):
            return value
        case _:
            assert_never(domain)


def _draw(low: float, high: float, log: bool, step: float | None, rng: random.Random) -> float:
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if log else rng.uniform(low, high)
    return min(max(value, low), high) if step is None else snap(value, low, high, step)


def snap(value: float, low: float, high: float, step: float) -> float:
    """The nearest to `value` of low, low + step, … up to high."""
    last = _last_index(low, high, step)
    point = low + min(max(round((value - low) / step), 0), last) * step
    # A float has 15 exact digits: 3 steps of 0.1 are 0.3 and not 0.30000000000000004.
    return point if isinstance(point, int) else min(max(float(f"{point:.15g}"), low), high)


def _last_index(low: float, high: float, step: float) -> int:
    """How many steps fit into the range; tolerates a rounding error at the last one."""
    if all(isinstance(number, int) for number in (low, high, step)):
        return int((high - low) // step)
    return math.floor((high - low) / step + ROUNDING)


def _is_close(value: float, point: float, step: float) -> bool:
    return abs(value - point) <= ROUNDING * step


SINGLE = 1e-6
"""Relative tolerance for a number that was stored in single precision."""

LISTABLE = 100_000
"""A domain with more values than this is not listed."""

ROUNDING = 1e-9
"""Tolerance for rounding errors, as a fraction of a step."""


def grid(domain: Domain) -> list[Any] | None:
    """All values of a finite domain in order, None where there are too many to list."""
    match domain:
        case Float(low, high, _, step):
            if step is None:
                return [low] if low == high else None
            count = _last_index(low, high, step) + 1
            if count > LISTABLE:
                return None
            return [snap(low + index * step, low, high, step) for index in range(count)]
        case Int(low, high, _, step):
            if _last_index(low, high, step or 1) >= LISTABLE:
                return None
            return list(range(low, high + 1, step or 1))
        case Drawn():
            return drawn.listed(domain, LISTABLE)
        case Choice(values):
            return list(values)
        case Fixed(value):
            return [value]
        case _:
            assert_never(domain)


def grid_size(space: Space) -> int | None:
    """The number of combinations, None where there are too many to list."""
    sizes = [values and len(values) for values in map(grid, space.values())]
    return math.prod(size for size in sizes if size) if all(sizes) else None


def without(domain: Choice, value: Any) -> Domain:
    """`domain` without one of its values; with a single value left, it becomes `Fixed`."""
    kept = [index for index, item in enumerate(domain.values) if identity(item) != identity(value)]
    values = tuple(domain.values[index] for index in kept)
    if len(values) == 1:
        return Fixed(values[0])
    weights = domain.weights
    return Choice(values, None if weights is None else tuple(weights[index] for index in kept))


def searched(space: Space) -> dict[str, Searched]:
    """The parameters that vary."""
    return {name: domain for name, domain in space.items() if not isinstance(domain, Fixed)}


def fixed(space: Space) -> dict[str, Any]:
    """The fixed parameters, with their values."""
    return {name: domain.value for name, domain in space.items() if isinstance(domain, Fixed)}


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with dots in their names as mappings: {"a.b": 1} -> {"a": {"b": 1}}."""
    whole: dict[str, Any] = {}
    for name, value in params.items():
        *groups, last = name.split(".")
        inner = whole
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return whole


_TYPES: dict[str, type[Float] | type[Int] | type[Drawn] | type[Choice] | type[Fixed]] = {
    "float": Float,
    "int": Int,
    "drawn": Drawn,
    "choice": Choice,
    "fixed": Fixed,
}


def to_document(domain: Domain) -> dict[str, Any]:
    """A domain as plain JSON for the journal."""
    kind = next(name for name, cls in _TYPES.items() if isinstance(domain, cls))
    return {"type": kind, **asdict(domain)}


def from_document(document: Mapping[str, Any]) -> Domain:
    """The domain that `to_document` wrote."""
    fields = {name: value for name, value in document.items() if name != "type"}
    for name in ("values", "weights"):
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    return _TYPES[document["type"]](**fields)


def describe(domain: Domain) -> str:
    """A short description of a domain for the user."""
    match domain:
        case Float(low, high, log, step) | Int(low, high, log, step):
            notes = [" (log)"] if log else []
            notes += [f" in steps of {step:g}"] if step is not None else []
            return f"{low:g} to {high:g}{''.join(notes)}"
        case Drawn():
            return drawn.describe(domain)
        case Choice(values):
            return ", ".join(v if isinstance(v, str) else json.dumps(v) for v in values)
        case Fixed(value):
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        case _:
            assert_never(domain)
