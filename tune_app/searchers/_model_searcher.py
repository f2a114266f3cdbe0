"""What all searchers share that ask a model: what it learns from, and what its answer becomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from tune_app.core.observations import ObservationReader, Observations
from tune_app.core.ports import Searcher
from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError
from tune_app.searchers._candidates import in_order
from tune_app.searchers._seed import drawn_seed
from tune_app.searchers._tried import Seen, first_fresh, stream
from tune_app.searchers._warm_start import WarmStartPrior
from tune_app.space.constraints import Constraints
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Space
from tune_app.space.nuisance import without_seed


class ModelSearcher(ABC):
    """Proposes the best new candidate of a model, or what `fallback` says where there is none.

    A searched seed is no axis of the model: it is drawn.
    """

    learns_from_history = True
    name: ClassVar[str]
    """Of its stream of random numbers."""

    def __init__(self, space: Space, seed: int, fallback: Searcher) -> None:
        self._space = space
        self._seed = seed
        self._fallback = fallback
        modelled = without_seed(space)
        self._cube = Cube(modelled)
        self._observations = ObservationReader(modelled, self._cube)
        self._seen = Seen(space)
        self._earlier: WarmStartPrior | None = None

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        params = self._by_the_model(state, number) if self._cube.axes else None
        return self._fallback.suggest(state, number) if params is None else params

    def _by_the_model(self, state: StudyState, number: int) -> dict[str, Any] | None:
        constraints = state.definition.constraints
        observations = self._observations.read(state, constraints)
        rng = np.random.default_rng(stream(self._seed, self.name, number))
        drawn = drawn_seed(self._space, self._seed, number)
        constraints = constraints.beside(drawn)
        judged = self._judged(state, observations, constraints, rng)
        if judged is None:
            return None
        proposed = (self._cube.from_unit(row) | drawn for row in in_order(*judged))
        return first_fresh(proposed, self._space, self._seen(state), constraints)

    @abstractmethod
    def _judged(
        self,
        state: StudyState,
        observations: Observations,
        constraints: Constraints,
        rng: np.random.Generator,
    ) -> tuple[Array, Array] | None:
        """Candidates (n, axes) in the unit cube with their merits (n,): the higher, the better.

        None where the model has nothing to say yet, or is not to be asked.
        """

    def _prior_of_earlier_runs(self, state: StudyState) -> WarmStartPrior:
        """Made once, as earlier runs never change; empty, thus false, where there are none."""
        if self._earlier is None:
            self._earlier = WarmStartPrior(self._space, state.definition.earlier_runs)
        return self._earlier


def checked_startup(startup: int) -> int:
    """The number of trials before the model is used.

    Raises:
        UserError: it is no whole number above 0.
    """
    if type(startup) is not int or startup < 1:
        what = f"{startup!r} startup trials"
        raise UserError(Problem(what, "tune.searcher.startup", "a whole number above 0"))
    return startup
