"""Parzen estimators on the unit cube: densities that are sums of product kernels.

Ordered axes have Gaussian kernels; unordered ones the kernel of Aitchison & Aitken, 1976: a value
keeps 1 - width of its weight, the others share the rest. An inactive parameter is like one more
unordered value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri

from tune_app.space.cube import Array, Axis, Cube

ELSEWHERE = 0.1
"""The kernel's density if a parameter is active in one of two rows and inactive in the other."""


@dataclass(frozen=True, slots=True)
class Parzen:
    """One kernel at each row of `points` (n, axes), with `widths` (axes,).

    `truncated` kernels have all their weight inside the cube; `uniform` adds the space's own
    distribution, with the weight of one kernel.
    """

    cube: Cube
    points: Array
    widths: Array
    truncated: bool
    uniform: bool

    def log_density(self, rows: Array) -> Array:
        """Log densities (n,) of rows (n, axes), relative to the uniform density of each axis."""
        kernels = np.zeros((len(rows), len(self.points)))
        for index, axis in enumerate(self.cube.axes.values()):
            at, around = rows[:, index, None], self.points[None, :, index]
            kernels += self._log_kernel(axis, at, around, float(self.widths[index]))
        if self.uniform:
            kernels = np.concatenate([kernels, np.zeros((len(rows), 1))], axis=1)
        total: Array = logsumexp(kernels, axis=1) - np.log(kernels.shape[1])
        return total

    def _log_kernel(self, axis: Axis, at: Array, around: Array, width: float) -> Array:
        if axis.ordered:
            logs = -0.5 * ((at - around) / width) ** 2 - np.log(width * np.sqrt(2 * np.pi))
            if self.truncated:
                logs = logs - np.log(ndtr((1 - around) / width) - ndtr(-around / width))
        else:
            count = axis.count
            same, other = (1 - width) * count, width * count / (count - 1)
            logs = np.where(np.abs(at - around) < 1e-9, np.log(same), np.log(other))
        absent = np.isnan(at) ^ np.isnan(around)
        both = np.isnan(at) & np.isnan(around)
        return np.where(absent, np.log(ELSEWHERE), np.where(both, 0.0, logs))

    def draw(self, rng: np.random.Generator, count: int, widening: float = 1.0) -> Array:
        """Draws (count, axes) from kernels that are `widening` times as wide along ordered axes."""
        anew = self.cube.draw(rng, count)
        chosen = rng.integers(len(self.points) + self.uniform, size=count)
        own = chosen == len(self.points)
        rows = self.points[np.minimum(chosen, len(self.points) - 1)]
        columns = []
        for index, axis in enumerate(self.cube.axes.values()):
            around, width = rows[:, index], float(self.widths[index])
            if axis.ordered:
                moved = _truncated_normal(around, width * widening, rng)
            else:
                moved = np.where(rng.random(count) < width, anew[:, index], around)
            moved = np.where(own | np.isnan(around), anew[:, index], moved)
            columns.append(axis.snap(moved))
        return np.stack(columns, axis=1)


def _truncated_normal(around: Array, width: float, rng: np.random.Generator) -> Array:
    begin, end = ndtr(-around / width), ndtr((1 - around) / width)
    shares = begin + (end - begin) * rng.random(len(around))
    return np.clip(around + width * ndtri(shares), 0.0, 1.0)
