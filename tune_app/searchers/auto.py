"""The searcher that replays on learning-curve tables speak for: `gp` first, `tpe` from then on.

A Gaussian process learns more from few trials; its cost grows with the cube of their number, that
of Parzen estimators in proportion. docs/log.md has the figures.
"""

from __future__ import annotations

from typing import Any

from tune_app.searchers import gp, tpe
from tune_app.space.domains import Space
from tune_app.state import StudyState

HANDOVER = 60
"""Trials from which on `tpe` proposes."""


class Auto:
    """Hands each question to the one or the other."""

    def __init__(self, space: Space, seed: int) -> None:
        self._few = gp.create(space, seed)
        self._many = tpe.create(space, seed)

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        searcher = self._few if number < HANDOVER else self._many
        return searcher.suggest(state, number)


def create(space: Space, seed: int) -> Auto:
    """The searcher; it has no options."""
    return Auto(space, seed)
