"""Bayesian optimisation with a Gaussian process over every trial's projected final value.

All rungs count: `_projection` takes each trial to the full budget, with a doubt that is the larger
the earlier it stands, and the process weighs it by that doubt. The next trial has the largest
expected improvement among many candidates. Trials that run without a value yet count as if the
model were right about them (the kriging believer of Ginsbourger et al., 2010), diverged ones as
bad, and a second process keeps away from where memory did not suffice.

Earlier runs (`warm_start`) are the prior mean of the model, in fewer suggestions the more trials
there are. Like them, a prior fades: it multiplies the improvement by its density to a power that
falls with the trials told of: Hvarfner et al., "πBO: Augmenting Acquisition Functions with User
Beliefs", ICLR 2022.

What the process costs grows with the cube of the trials: from a few hundred on `tpe` proposes.
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
"""Trials from which on `tpe` proposes."""
GROWTH = 1.15
"""By this factor the trials grow until the kernel is fitted anew."""
FOLLOWERS = 64
"""Candidates that follow a prior."""


WARM_START_TRUST = 10
"""With as many trials every second suggestion asks the earlier runs."""
WARM_START_ALONE = 3
"""With fewer trials than this, earlier runs speak alone."""


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
        """Candidates and the logarithm of what is to be gained from each."""
        # Less and less often, so that a wrong earlier cannot keep all trials where it likes them.
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
        """What all trials together say; pending ones are believed to be as expected."""
        if len(observations.points) < min(self._startup, WARM_START_ALONE) and earlier:
            asked = np.concatenate([observations.points, observations.pending])
            return Model.of(self._cube, earlier.kernel, earlier.runs, asked, nothing)
        means, variances = project(observations.values)
        base = earlier.scaled_to(observations.points, means) if earlier else nothing
        told = NoisyValues(observations.points, means - base(observations.points), variances)
        return Model.of(self._cube, self._kernel(observations), told, observations.pending, base)

    def _kernel(self, observations: Observations) -> Kernel:
        """Fitted to the first trials, at their lowest rung; anew when they have grown enough."""
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
        """The logarithm of the chance that memory suffices: a process on yes (1) and no (0)."""
        if not len(observations.points):
            return np.zeros(len(rows))
        points = np.concatenate([observations.infeasible, observations.points])
        fits = np.repeat([0.0, 1.0], [len(observations.infeasible), len(observations.points)])
        # Anew when another trial did not fit, or those that did have grown enough.
        count = len(observations.infeasible) + _milestone(len(observations.points), self._startup)
        kernel = self._kernels_of_memory.fitted(points[:count], fits[:count])
        chance, _ = Process(self._cube, kernel, points, fits, np.zeros(len(points))).predict(rows)
        return np.log(np.clip(chance, 1e-3, 1.0))


class _Kernels:
    """Fits kernels, and keeps the last one: it follows from its data alone, so this saves time."""

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
    """The last number of a geometric series that `count` has come to."""
    reached = first
    while (grown := max(reached + 1, int(reached * GROWTH))) <= count:
        reached = grown
    return reached


def create(space: Space, seed: int, *, startup: int = STARTUP) -> Handover:
    """The searcher.

    Args:
        space: what may vary.
        seed: of the study.
        startup: quasi-random trials before the model is used.
    """
    return Handover(Gp(space, seed, checked_startup(startup)), tpe.create(space, seed), HANDOVER)
