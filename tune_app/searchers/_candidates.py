"""Points of the cube that a model chooses among."""

from __future__ import annotations

import numpy as np

from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Cube

SPREAD = 512
"""Independent draws from the space."""
NEAR = 256
"""Points near the best ones."""
ENOUGH = 8
"""Allowed rows that a density must give."""
WIDTHS = (0.02, 0.1, 0.3)
"""How far a near point moves along an axis, as a standard deviation."""
MOVED = 0.5
"""The share of axes along which a near point moves."""
RESET = 0.1
"""The share of moved axes whose coordinate is drawn anew."""


def candidates(
    cube: Cube, best: Array, rng: np.random.Generator, constraints: Constraints, extra: Array
) -> Array:
    """Rows (candidates, axes): spread ones, ones near the rows of `best`, and `extra` ones."""
    spread = cube.draw(rng, SPREAD)
    rows = np.concatenate([spread, extra, near(cube, best, rng, NEAR)])
    return active(cube, rows, constraints)


def from_density(
    cube: Cube, drawn: Array, good: Array, rng: np.random.Generator, constraints: Constraints
) -> Array:
    """Rows `drawn` from a density around those of `good`.

    Where constraints allow few of them, ones that differ from good rows along some axes only: what
    ties two parameters together then holds as it does there.
    """
    rows = active(cube, drawn, constraints)
    if (
        not constraints.required
        or sum(map(constraints.allows, map(cube.from_unit, rows))) >= ENOUGH
    ):
        return rows
    return np.concatenate([rows, active(cube, near(cube, good, rng, NEAR), constraints)])


def near(cube: Cube, best: Array, rng: np.random.Generator, count: int) -> Array:
    """Rows that differ from those of `best` along some axes."""
    axes = len(cube.axes)
    if not len(best) or not axes:
        return np.empty((0, axes))
    base = best[rng.integers(len(best), size=count)]
    anew = cube.draw(rng, count)
    # An axis that does not count at the base gets a coordinate, in case it does count here.
    base = np.where(np.isnan(base), anew, base)
    width = rng.choice(WIDTHS, size=(count, 1))
    moved = rng.random((count, axes)) < MOVED
    moved[np.arange(count), rng.integers(axes, size=count)] = True
    shifted = np.clip(base + width * rng.standard_normal((count, axes)), 0, 1)
    unordered = np.array([not axis.ordered for axis in cube.axes.values()])
    jump = unordered | (rng.random((count, axes)) < RESET)
    return cube.snap(np.where(moved, np.where(jump, anew, shifted), base))


def active(cube: Cube, rows: Array, constraints: Constraints) -> Array:
    """Rows without the coordinates that do not count beside the others."""
    if not constraints.when:
        return rows
    kept = rows.copy()
    names = list(cube.axes)
    for row in kept:
        counts = constraints.active(cube.from_unit(row))
        row[[name not in counts for name in names]] = np.nan
    return kept


def in_order(rows: Array, merits: Array) -> Array:
    """Rows (n, axes), those with the largest merits (n,) first."""
    return rows[np.argsort(-merits, kind="stable")]
