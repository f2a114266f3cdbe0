"""Points of a scrambled Sobol sequence: random, but more evenly spread than independent draws.

Sobol, 1967, scrambled as in Owen, 1998, by SciPy. Trial n gets point n of the sequence. If that
point has a trial already or is not allowed, or if the trial follows a prior, `random` proposes.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from scipy.stats import qmc

from tune_app.core.state import StudyState
from tune_app.searchers._tried import Seen, fresh, stream
from tune_app.searchers.random import Random
from tune_app.space.cube import Cube
from tune_app.space.domains import Space
from tune_app.space.prior import Belief

BITS = 30


class QuasiRandom:
    """Proposes the trial's own point of the sequence."""

    learns_from_history = False

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._cube = Cube(space)
        self._seen = Seen(space)
        self._random = Random(space, seed)

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        if self._cube.axes and not self._random.followed(state, number):
            constraints = state.definition.constraints
            params = fresh(self._point(number), self._space, self._seen(state), constraints)
            if params is not None:
                return params
        return self._random.suggest(state, number)

    def draw(self, rng: np.random.Generator, beliefs: dict[str, Belief]) -> dict[str, Any]:
        """One draw with beliefs as the prior, which may have a trial already."""
        return self._random.draw(random.Random(int(rng.integers(2**32))), beliefs)

    def _point(self, number: int) -> dict[str, Any]:
        sobol = qmc.Sobol(
            len(self._cube.axes), scramble=True, bits=BITS, rng=stream(self._seed, "sobol")
        )
        if number:
            sobol.fast_forward(number)
        axes = zip(self._cube.axes.values(), sobol.random(1)[0], strict=True)
        row = np.array([axis.at(float(share)) for axis, share in axes])
        return self._cube.from_unit(row)


def create(space: Space, seed: int) -> QuasiRandom:
    """The searcher; it has no options."""
    return QuasiRandom(space, seed)
