"""A Gaussian process over the unit cube, with a separate noise variance for each observation.

Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, Algorithm 2.1 and section
5.4.1; Matérn 5/2 kernel with one length scale for each axis. Length scales, amplitude and noise are
maximum a posteriori estimates under log-normal priors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import erfcx, ndtr

from tune_app.space.cube import Array, Cube

LENGTH = (np.log(0.7), 0.8)
AMPLITUDE = (0.0, 1.0)
NOISE = (np.log(0.02), 1.0)
"""Priors: mean and standard deviation of the logarithm; amplitude and noise are variances."""
BOUNDS = {"length": (-3.0, 3.0), "amplitude": (-3.0, 3.0), "noise": (np.log(1e-4), 0.0)}
ITERATIONS = 20
JITTER = 1e-8
ROOT5 = np.sqrt(5.0)
FAR = 1e3
"""Beyond this many standard deviations, the expected improvement is computed by its limit."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """The hyper-parameters of a process, as logarithms: length scale of each axis, variances."""

    lengths: Array
    amplitude: float
    noise: float

    def covariance(self, gaps: list[Array]) -> Array:
        """The covariance (left, right) from squared distances of that shape along each axis."""
        root, decay = _distances(gaps, self.lengths)
        covariance: Array = np.exp(self.amplitude) * (1 + ROOT5 * root + 5 / 3 * root**2) * decay
        return covariance


def _distances(gaps: list[Array], lengths: Array) -> tuple[Array, Array]:
    squares = sum(np.exp(-2 * length) * gap for length, gap in zip(lengths, gaps, strict=True))
    root = np.sqrt(squares + 1e-12)
    return root, np.exp(-ROOT5 * root)


def fit(cube: Cube, points: Array, values: Array, variances: Array) -> Kernel:
    """The MAP kernel for values (n,) at points (n, axes) with known noise variances (n,)."""
    scale = float(values.std()) or 1.0
    targets = (values - values.mean()) / scale
    extra = variances / scale**2
    gaps = cube.gaps(points, points)
    axes = len(gaps)
    start = np.array([LENGTH[0]] * axes + [AMPLITUDE[0], np.log(0.05)])
    theta = minimize(
        _objective,
        start,
        args=(gaps, targets, extra),
        jac=True,
        method="L-BFGS-B",
        bounds=[BOUNDS["length"]] * axes + [BOUNDS["amplitude"], BOUNDS["noise"]],
        options={"maxiter": ITERATIONS},
    ).x
    return Kernel(theta[:axes], float(theta[axes]), float(theta[axes + 1]))


def _objective(
    theta: Array, gaps: list[Array], targets: Array, extra: Array
) -> tuple[float, Array]:
    """Negative log posterior of log parameters, and its gradient."""
    axes = len(gaps)
    kernel = Kernel(theta[:axes], theta[axes], theta[axes + 1])
    root, decay = _distances(gaps, kernel.lengths)
    amplitude, noise = np.exp(kernel.amplitude), np.exp(kernel.noise)
    signal = amplitude * (1 + ROOT5 * root + 5 / 3 * root**2) * decay
    lower = cholesky(signal + np.diag(extra + noise + JITTER), lower=True)
    weights = cho_solve((lower, True), targets)
    inverse = cho_solve((lower, True), np.eye(len(targets)))
    slope = 0.5 * (inverse - np.outer(weights, weights))
    per_axis = slope * amplitude * (5 / 3) * (1 + ROOT5 * root) * decay
    gradient = np.array(
        [
            *(np.sum(per_axis * g) * np.exp(-2 * t) for t, g in zip(theta, gaps, strict=False)),
            np.sum(slope * signal),
            np.trace(slope) * noise,
        ]
    )
    middles = np.array([LENGTH[0]] * axes + [AMPLITUDE[0], NOISE[0]])
    widths = np.array([LENGTH[1]] * axes + [AMPLITUDE[1], NOISE[1]])
    off = (theta - middles) / widths
    value = 0.5 * targets @ weights + np.log(np.diag(lower)).sum() + 0.5 * off @ off
    return float(value), gradient + off / widths


class Process:
    """A process conditioned on values (n,) at points (n, axes) with known variances (n,)."""

    def __init__(
        self, cube: Cube, kernel: Kernel, points: Array, values: Array, variances: Array
    ) -> None:
        self._cube = cube
        self._kernel = kernel
        self._points = points
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        noise = variances / self._scale**2 + np.exp(kernel.noise) + JITTER
        covariance = kernel.covariance(cube.gaps(points, points))
        self._lower = cholesky(covariance + np.diag(noise), lower=True)
        self._weights = cho_solve((self._lower, True), (values - self._mean) / self._scale)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Means and standard deviations of the noiseless function at points (n, axes)."""
        across = self._kernel.covariance(self._cube.gaps(points, self._points))
        explained = solve_triangular(self._lower, across.T, lower=True)
        variance = np.exp(self._kernel.amplitude) - (explained**2).sum(axis=0)
        mean: Array = self._mean + self._scale * (across @ self._weights)
        deviation: Array = self._scale * np.sqrt(np.maximum(variance, 1e-10))
        return mean, deviation


def nothing(points: Array) -> Array:
    """The prior mean without earlier runs: zero, (n,) for points (n, axes)."""
    return np.zeros(len(points))


@dataclass(frozen=True, slots=True)
class NoisyValues:
    """Values (n,) with their noise variances (n,) at points (n, axes)."""

    points: Array
    values: Array
    variances: Array


NEAR_BEST = 5
"""Number of points in `Model.best`."""


@dataclass(frozen=True, slots=True)
class Model:
    """A process plus a prior mean."""

    process: Process
    base: Callable[[Array], Array]
    incumbent: float
    """The lowest mean at any observed point."""
    best: Array
    """The observed points with the lowest means: (n, axes)."""

    @classmethod
    def of(
        cls,
        cube: Cube,
        kernel: Kernel,
        observed: NoisyValues,
        pending: Array,
        base: Callable[[Array], Array],
    ) -> Model:
        """Conditioned on observations, and on pending points with their predicted means."""
        process = Process(cube, kernel, observed.points, observed.values, observed.variances)
        means = process.predict(observed.points)[0] + base(observed.points)
        best = observed.points[np.argsort(means, kind="stable")[:NEAR_BEST]]
        if len(pending):
            believed, _ = process.predict(pending)
            points = np.concatenate([observed.points, pending])
            values = np.concatenate([observed.values, believed])
            variances = np.concatenate([observed.variances, np.zeros(len(believed))])
            process = Process(cube, kernel, points, values, variances)
        return cls(process, base, float(means.min()), best)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Means and standard deviations at points (n, axes)."""
        mean, deviation = self.process.predict(points)
        return mean + self.base(points), deviation


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Logarithm (n,) of the expected improvement below `best`; finite even where it underflows.

    Jones et al., "Efficient Global Optimization of Expensive Black-Box Functions", 1998. In the
    tail, the numerically stable form of Ament et al., "Unexpected Improvements to Expected
    Improvement for Bayesian Optimization", NeurIPS 2023.
    """
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    near = np.log(np.maximum(density + z * ndtr(z), 1e-300))
    tail = np.clip(z, -FAR, -1.0)
    share = np.log1p(tail * np.sqrt(np.pi / 2) * erfcx(-tail / np.sqrt(2)))
    share = np.where(z > -FAR, share, -2 * np.log(np.maximum(-z, 1.0)))
    far = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) + share
    log_improvement: Array = np.where(z > -1, near, far) + np.log(deviation)
    return log_improvement
