"""Independent draws from the space; the baseline for all searchers.

If the study has a prior, some of the draws follow it: the first one, and fewer with each trial that
has diverged or reached a rung.
"""

from __future__ import annotations

import random
from typing import Any

from tune_app.core.state import StudyState
from tune_app.searchers._priors import share
from tune_app.searchers._tried import Seen, any_untried, first_untried, fresh, stream
from tune_app.space import prior
from tune_app.space.domains import Space, sample, searched
from tune_app.space.prior import Belief

ATTEMPTS = 100
"""Draws before the remaining combinations of a finite space are listed."""


class Random:
    """Proposes random configurations without a trial."""

    learns_from_history = False

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._seen = Seen(space)

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        rng = random.Random(stream(self._seed, "random", number))
        seen, constraints = self._seen(state), state.definition.constraints
        follows = self.followed(state, number)
        for _ in range(ATTEMPTS):
            params = fresh(self.draw(rng, follows), self._space, seen, constraints)
            if params is not None:
                return params
        if constraints:
            return any_untried(self._space, seen, constraints, rng)
        return first_untried(self._space, seen)

    def followed(self, state: StudyState, number: int) -> dict[str, Belief]:
        """The beliefs that trial `number` is drawn from; empty for most trials."""
        beliefs = state.definition.prior
        rng = random.Random(stream(self._seed, "prior", number))
        return beliefs if beliefs and rng.random() < share(state, self._space, beliefs) else {}

    def draw(self, rng: random.Random, beliefs: dict[str, Belief]) -> dict[str, Any]:
        """One draw with beliefs as the prior, which may have a trial already."""
        return {
            name: prior.draw(domain, beliefs[name], rng) if name in beliefs else sample(domain, rng)
            for name, domain in searched(self._space).items()
        }


def create(space: Space, seed: int) -> Random:
    """The searcher; it has no options."""
    return Random(space, seed)
