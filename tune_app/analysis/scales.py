"""Maps values of a hyper-parameter to positions on an axis; independent of Matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tune_app.core.state import StudyState
from tune_app.space import domains


@dataclass(frozen=True, slots=True)
class Numeric:
    """An axis of numbers from `low` to `high`; logarithmic if `log`, then `low` > 0."""

    low: float
    high: float
    log: bool
    whole: bool

    def coordinate(self, value: Any) -> float | None:
        """The coordinate of `value`, None if it has none on this axis."""
        if not _is_number(value) or (self.log and value <= 0):
            return None
        return float(value)

    def unit(self, value: Any) -> float | None:
        """The position of `value` as a share of the axis, 0 at `low` and 1 at `high`."""
        at = self.coordinate(value)
        if at is None:
            return None
        low, high = self.low, self.high
        if self.log:
            at, low, high = math.log(at), math.log(low), math.log(high)
        return (at - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Categorical:
    """One position for each of `values`, which may be any JSON, in this order."""

    values: tuple[Any, ...]

    def coordinate(self, value: Any) -> float | None:
        """The index of `value`, None if it is not among the values."""
        keys = [domains.identity(item) for item in self.values]
        key = domains.identity(value)
        return float(keys.index(key)) if key in keys else None

    def unit(self, value: Any) -> float | None:
        """The position as a share of the axis, each value in the middle of its own part."""
        at = self.coordinate(value)
        return None if at is None else (at + 0.5) / len(self.values)


Scale = Numeric | Categorical


def scales(state: StudyState) -> dict[str, Scale]:
    """A scale for each searched parameter, in the order of the search space.

    It covers the space and every value of a trial: the untuned defaults may
    lie outside of the space.
    """
    space = domains.searched(state.definition.space)
    return {name: _scale(domain, seen(state, name)) for name, domain in space.items()}


def seen(state: StudyState, name: str) -> list[Any]:
    """The values of one parameter over all trials that have it."""
    return [trial.params[name] for trial in state.trials.values() if name in trial.params]


def most_varied(state: StudyState, limit: int) -> list[str]:
    """At most `limit` searched parameters with the most distinct values, in the space's order."""
    names = list(scales(state))
    distinct = {name: len({domains.identity(item) for item in seen(state, name)}) for name in names}
    kept = set(sorted(names, key=lambda name: -distinct[name])[:limit])
    return [name for name in names if name in kept]


def _scale(domain: domains.Searched, values: list[Any]) -> Scale:
    if isinstance(domain, domains.Choice):
        return Categorical(_unique([*domain.values, *values]))
    placed = [
        float(value)
        for value in [domain.low, domain.high, *values]
        if _is_number(value) and not (domain.log and value <= 0)
    ]
    low, high = min(placed), max(placed)
    if low == high:
        low, high = (low / 2, high * 2) if domain.log else (low - 0.5, high + 0.5)
    whole = isinstance(domain, domains.Int) or isinstance(getattr(domain, "q", None), int)
    return Numeric(low, high, domain.log, whole)


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({domains.identity(value): value for value in values}.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
