"""The unit cube of a space: one axis in [0, 1] for each searched parameter.

Models work in the cube. Ranges keep their own scale (linear or logarithmic), choices among numbers
become ordered levels, other choices unordered ones. An inactive parameter has the coordinate NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from tune_app.space import drawn
from tune_app.space.domains import (
    Choice,
    Drawn,
    Float,
    Int,
    Searched,
    Space,
    grid,
    identity,
    searched,
    snap,
)

Array = NDArray[np.float64]
OFF_AXIS = 0.75
"""Squared distance from the middle of an ordered axis to the point of an inactive parameter."""
MAX_LEVELS = 1000
"""A stepped range with more values than this is treated as continuous."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of one parameter."""

    to_unit: Callable[[Any], float]
    from_unit: Callable[[float], Any]
    levels: Array | None = None
    """All coordinates of a discrete axis, ascending; None for a continuous one."""
    shares: Array | None = None
    """The probability of each level; None if all are equal."""
    ordered: bool = True

    @property
    def count(self) -> int:
        """The number of levels; 2 for a continuous axis, which has none."""
        return 2 if self.levels is None else len(self.levels)

    def snap(self, units: Array) -> Array:
        """The nearest levels to `units` (n,); NaN stays NaN."""
        if self.levels is None:
            return units
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        levels = self.levels[np.searchsorted(middles, np.nan_to_num(units))]
        return np.where(np.isnan(units), np.nan, levels)

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Independent draws by the parameter's own distribution: (count,)."""
        if self.shares is not None and self.levels is not None:
            return rng.choice(self.levels, count, p=self.shares)
        return self.snap(rng.random(count))

    def at(self, share: float) -> float:
        """The quantile of the draws at a share in [0, 1]."""
        if self.shares is not None and self.levels is not None:
            index = int(np.searchsorted(np.cumsum(self.shares), share))
            return float(self.levels[min(index, len(self.levels) - 1)])
        return float(self.snap(np.array([share]))[0])


class Cube:
    """The axes of a space, in its order."""

    def __init__(self, space: Space) -> None:
        self.axes = {name: axis(domain) for name, domain in searched(space).items()}

    def to_unit(self, params: Mapping[str, Any]) -> Array:
        """The coordinates of a trial: (axes,)."""
        return np.array(
            [axis.to_unit(params[n]) if n in params else np.nan for n, axis in self.axes.items()]
        )

    def from_unit(self, row: Array) -> dict[str, Any]:
        """Values of the active parameters of a row (axes,)."""
        items = zip(self.axes.items(), row, strict=True)
        return {name: axis.from_unit(float(u)) for (name, axis), u in items if not math.isnan(u)}

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Independent draws from the space: (count, axes)."""
        return self._columns([axis.draw(rng, count) for axis in self.axes.values()], count)

    def snap(self, rows: Array) -> Array:
        """Rows (n, axes) moved to the nearest points of the space."""
        axes = self.axes.values()
        return self._columns([a.snap(column) for a, column in zip(axes, rows.T, strict=True)], 0)

    @staticmethod
    def _columns(columns: Sequence[Array], count: int) -> Array:
        return np.stack(columns, axis=1) if columns else np.empty((count, 0))

    def gaps(self, left: Array, right: Array) -> list[Array]:
        """Squared distances along each axis between rows: (left, right) each.

        Unordered values are 0 or 1 apart. An inactive parameter is a point beside the axis, as far
        from both ends as these are from each other, so that the distances stay Euclidean.
        """
        return [
            _gap(left[:, index], right[:, index], axis.ordered)
            for index, axis in enumerate(self.axes.values())
        ]


def _gap(left: Array, right: Array, ordered: bool) -> Array:
    difference = left[:, None] - right[None, :]
    squares = difference**2 if ordered else np.where(np.abs(difference) > 0, 1.0, 0.0)
    one, other = np.isnan(left)[:, None], np.isnan(right)[None, :]
    if not (one.any() or other.any()):
        return squares
    place = np.where(one, right[None, :], left[:, None])
    away = OFF_AXIS + (place - 0.5) ** 2 if ordered else 1.0
    return np.where(one | other, np.where(one & other, 0.0, away), squares)


def axis(domain: Searched) -> Axis:
    """The axis of one parameter."""
    match domain:
        case Choice():
            return _choice(domain)
        case Float() | Int():
            return _range(domain)
        case Drawn():
            return _drawn(domain)
        case _:
            assert_never(domain)


def _choice(domain: Choice) -> Axis:
    values = list(domain.values)
    ordered = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    order = sorted(range(len(values)), key=lambda i: values[i]) if ordered else range(len(values))
    listed = [values[index] for index in order]
    places = {identity(value): cell for cell, value in enumerate(listed)}
    count = len(listed)
    shares = None
    if domain.weights is not None:
        shares = np.array([domain.weights[index] for index in order])
        shares = shares / shares.sum()
    return Axis(
        to_unit=lambda value: (places[identity(value)] + 0.5) / count,
        from_unit=lambda unit: listed[min(int(unit * count), count - 1)],
        levels=(np.arange(count) + 0.5) / count,
        shares=shares,
        ordered=ordered or count == 2,
    )


def _range(domain: Float | Int) -> Axis:
    step = domain.step or (1 if isinstance(domain, Int) else 0)
    warp: Callable[[float], float] = math.log if domain.log else float
    # Half a step more at both ends of a stepped range makes all of its values equally likely.
    low, high = domain.low - step / 2, domain.high + step / 2
    if domain.log and low <= 0:
        low = domain.low / 2
    begin, length = warp(low), (warp(high) - warp(low)) or 1.0

    def to_unit(value: float) -> float:
        return min(max((warp(value) - begin) / length, 0.0), 1.0)

    def from_unit(unit: float) -> Any:
        value = begin + unit * length
        value = math.exp(value) if domain.log else value
        value = min(max(value, domain.low), domain.high)
        return value if not step else _on_step(domain, value, step)

    values = grid(domain) if step else None
    few = values is not None and len(values) <= MAX_LEVELS
    return Axis(to_unit, from_unit, np.array([to_unit(v) for v in values or ()]) if few else None)


def _on_step(domain: Float | Int, value: float, step: float) -> Any:
    levels = snap(value, domain.low, domain.high, step)
    return int(levels) if isinstance(domain, Int) else levels


def _drawn(domain: Drawn) -> Axis:
    return Axis(
        to_unit=lambda value: drawn.to_unit(domain, value),
        from_unit=lambda unit: drawn.from_unit(domain, unit),
    )
