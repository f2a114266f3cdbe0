"""Independent draws from the space; the yardstick of all searchers."""

from __future__ import annotations

import random
from typing import Any

from tune_app.searchers._memory import first_untried, is_new, stream, tried
from tune_app.space.domains import Space, sample, searched
from tune_app.state import StudyState

ATTEMPTS = 100
"""Draws before what is left of a finite space is looked up."""


class Random:
    """Proposes what was not tried yet."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        rng = random.Random(stream(self._seed, "random", number))
        seen = tried(state, self._space)
        for _ in range(ATTEMPTS):
            params = {name: sample(d, rng) for name, d in searched(self._space).items()}
            if is_new(params, self._space, seen):
                return params
        return first_untried(self._space, seen)


def create(space: Space, seed: int) -> Random:
    """The searcher; it has no options."""
    return Random(space, seed)
