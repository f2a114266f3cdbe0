"""Bayesian optimisation with a Gaussian process over every trial's projected final value.

All rungs count: `_projection` extrapolates each trial to the full budget, with a variance that is
larger the earlier its rung, and the process uses that variance as noise. The next trial has the
largest expected improvement among many candidates. Running trials without a value count as if they
had the predicted mean (the kriging believer of Ginsbourger et al., 2010), diverged ones as bad. A
second process avoids regions where trials ran out of memory.

Earlier runs (`warm_start`) give the prior mean of the model, in fewer suggestions the more trials
there are. A prior fades as well: the improvement is multiplied by its density to a power that falls
with the number of observed trials: Hvarfner et al., "πBO: Augmenting Acquisition Functions with
User Beliefs for Bayesian Optimization", ICLR 2022.

The cost of the process grows with the cube of the number of trials: after a few hundred, `tpe`
takes over.
"""

from __future__ import annotations

import numpy as np

from tune_app.core.observations import Observations
from tune_app.core.state import StudyState
from tune_app.searchers import _gaussian_process, tpe
from tune_app.searchers._candidates import candidates
from tune_app.searchers._gaussian_process import Kernel, Model, NoisyValues, Process, nothing
from tune_app.searchers._handover import Handover
from tune_app.searchers._model_searcher import ModelSearcher, checked_startup
from tune_app.searchers._priors import TRUST, log_densities, share
from tune_app.searchers._projection import project
from tune_app.searchers._warm_start import WarmStartPrior
from tune_app.searchers.quasirandom import QuasiRandom
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Space
from tune_app.space.prior import Belief

STARTUP = 8
"""Quasi-random trials before the model is used."""
HANDOVER = 250
"""The number of the first trial that `tpe` proposes."""
GROWTH = 1.15
"""The kernel is fitted again each time the number of trials has grown by this factor."""
FOLLOWERS = 64
"""Number of candidates that are drawn from a prior."""


WARM_START_TRUST = 10
"""After this many trials, every second suggestion uses the earlier runs."""
WARM_START_ALONE = 3
"""With fewer trials than this, the model consists of the earlier runs alone."""


class Gp(ModelSearcher):
    """Proposes the candidate with the largest expected improvement."""

    name = "gp"

    def __init__(self, space: Space, seed: int, startup: int) -> None:
        self._startup = startup
        self._first = QuasiRandom(space, seed)
        super().__init__(space, seed, self._first)
        self._without = WarmStartPrior(space, ())
        self._kernels = _Kernels(self._cube)
        self._kernels_of_memory = _Kernels(self._cube)

    def _judged(
        self,
        state: StudyState,
        observations: Observations,
        constraints: Constraints,
        rng: np.random.Generator,
    ) -> tuple[Array, Array] | None:
        """Candidates (n, axes), and the logarithm of their acquisition function: (n,)."""
        # Less and less often, so that misleading earlier runs cannot confine all trials.
        is_asked = rng.random() < WARM_START_TRUST / (WARM_START_TRUST + len(observations.points))
        earlier = self._prior_of_earlier_runs(state) if is_asked else self._without
        if not observations.is_enough(self._startup) and not earlier:
            return None
        model = self._model(observations, earlier)
        beliefs = state.definition.prior
        if beliefs and rng.random() >= share(state, self._space, beliefs):
            beliefs = {}
        followers = self._followers(beliefs, rng)
        rows = candidates(self._cube, model.best, rng, constraints, followers)
        merits = _gaussian_process.log_expected_improvement(*model.predict(rows), model.incumbent)
        if beliefs:
            trust = TRUST / max(len(observations.points), 1)
            merits = merits + trust * log_densities(self._cube, self._space, rows, beliefs)
        if len(observations.infeasible):
            merits = merits + self._log_feasible(observations, rows)
        return rows, merits

    def _model(self, observations: Observations, earlier: WarmStartPrior) -> Model:
        """The model of all trials; pending ones count with their predicted mean."""
        if len(observations.points) < min(self._startup, WARM_START_ALONE) and earlier:
            asked = np.concatenate([observations.points, observations.pending])
            return Model.of(self._cube, earlier.kernel, earlier.runs, asked, nothing)
        means, variances = project(observations.values)
        base = earlier.scaled_to(observations.points, means) if earlier else nothing
        above = means - base(observations.points)
        residuals = NoisyValues(observations.points, above, variances)
        return Model.of(
            self._cube, self._kernel(observations), residuals, observations.pending, base
        )

    def _kernel(self, observations: Observations) -> Kernel:
        """The kernel fitted to the lowest rung of the trials up to the last milestone."""
        count = _milestone(len(observations.points), self._startup)
        points, lowest = observations.points[:count], observations.values[:count, :1]
        values, _ = project(np.where(np.isfinite(lowest), lowest, np.inf))
        return self._kernels.fitted(points, values)

    def _followers(self, beliefs: dict[str, Belief], rng: np.random.Generator) -> Array:
        if not beliefs:
            return np.empty((0, len(self._cube.axes)))
        return np.array(
            [self._cube.to_unit(self._first.draw(rng, beliefs)) for _ in range(FOLLOWERS)]
        )

    def _log_feasible(self, observations: Observations, rows: Array) -> Array:
        """The log probability (rows,) that memory suffices: a process on yes (1) and no (0)."""
        if not len(observations.points):
            return np.zeros(len(rows))
        points = np.concatenate([observations.infeasible, observations.points])
        fits = np.repeat([0.0, 1.0], [len(observations.infeasible), len(observations.points)])
        # Fitted again after another out-of-memory trial, or at the next milestone of the others.
        count = len(observations.infeasible) + _milestone(len(observations.points), self._startup)
        kernel = self._kernels_of_memory.fitted(points[:count], fits[:count])
        chance, _ = Process(self._cube, kernel, points, fits, np.zeros(len(points))).predict(rows)
        return np.log(np.clip(chance, 1e-3, 1.0))


class _Kernels:
    """Fits kernels and caches the last one, which depends on its data alone."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._last: tuple[bytes, Kernel] | None = None

    def fitted(self, points: Array, values: Array) -> Kernel:
        """The kernel of values (n,) at points (n, axes)."""
        key = points.tobytes() + values.tobytes()
        if self._last is None or self._last[0] != key:
            kernel = _gaussian_process.fit(self._cube, points, values, np.zeros(len(points)))
            self._last = key, kernel
        return self._last[1]


def _milestone(count: int, first: int) -> int:
    """The last number of a geometric series that `count` has reached."""
    reached = first
    while (grown := max(reached + 1, int(reached * GROWTH))) <= count:
        reached = grown
    return reached


def create(space: Space, seed: int, *, startup: int = STARTUP) -> Handover:
    """The searcher.

    Args:
        space: all parameters.
        seed: of the study.
        startup: quasi-random trials before the model is used.

    Raises:
        UserError: `startup` is not a whole number above 0.
    """
    return Handover(Gp(space, seed, checked_startup(startup)), tpe.create(space, seed), HANDOVER)
