"""Candidates: the points of the cube among which a model chooses."""

from __future__ import annotations

import numpy as np

from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Cube

SPREAD = 512
"""Number of independent draws from the space."""
NEAR = 256
"""Number of points near the best ones."""
ENOUGH = 8
"""If a density gives fewer allowed rows than this, rows near good ones are added."""
WIDTHS = (0.02, 0.1, 0.3)
"""Standard deviations of the move of a near point along an axis."""
MOVED = 0.5
"""The probability that a near point moves along an axis."""
RESET = 0.1
"""The probability that a moved coordinate is drawn from the whole axis."""


def candidates(
    cube: Cube, best: Array, rng: np.random.Generator, constraints: Constraints, extra: Array
) -> Array:
    """Rows (candidates, axes): independent draws, rows near those of `best`, and `extra` rows."""
    spread = cube.draw(rng, SPREAD)
    rows = np.concatenate([spread, extra, near(cube, best, rng, NEAR)])
    return active(cube, rows, constraints)


def from_density(
    cube: Cube, drawn: Array, good: Array, rng: np.random.Generator, constraints: Constraints
) -> Array:
    """The active coordinates of rows `drawn` from a density around the rows of `good`.

    If constraints allow few of them, adds rows that differ from good ones along some axes only:
    constraints between the other parameters then remain satisfied.
    """
    rows = active(cube, drawn, constraints)
    if (
        not constraints.required
        or sum(map(constraints.allows, map(cube.from_unit, rows))) >= ENOUGH
    ):
        return rows
    return np.concatenate([rows, active(cube, near(cube, good, rng, NEAR), constraints)])


def near(cube: Cube, best: Array, rng: np.random.Generator, count: int) -> Array:
    """Rows (count, axes) that differ from rows of `best` along some axes."""
    axes = len(cube.axes)
    if not len(best) or not axes:
        return np.empty((0, axes))
    base = best[rng.integers(len(best), size=count)]
    anew = cube.draw(rng, count)
    # An inactive axis of the base row gets a coordinate, as it may be active in the new row.
    base = np.where(np.isnan(base), anew, base)
    width = rng.choice(WIDTHS, size=(count, 1))
    moved = rng.random((count, axes)) < MOVED
    moved[np.arange(count), rng.integers(axes, size=count)] = True
    shifted = np.clip(base + width * rng.standard_normal((count, axes)), 0, 1)
    unordered = np.array([not axis.ordered for axis in cube.axes.values()])
    jump = unordered | (rng.random((count, axes)) < RESET)
    return cube.snap(np.where(moved, np.where(jump, anew, shifted), base))


def active(cube: Cube, rows: Array, constraints: Constraints) -> Array:
    """Rows (n, axes) with NaN for inactive parameters."""
    if not constraints.when:
        return rows
    kept = rows.copy()
    names = list(cube.axes)
    for row in kept:
        present = constraints.active(cube.from_unit(row))
        row[[name not in present for name in names]] = np.nan
    return kept


def in_order(rows: Array, merits: Array) -> Array:
    """Rows (n, axes) sorted by their merits (n,), the largest first."""
    return rows[np.argsort(-merits, kind="stable")]
