"""The best combination in replays of learning-curve tables: `gp` first, `tpe` later.

A Gaussian process learns more from few trials, but its cost grows with the cube of their number;
the cost of Parzen estimators grows linearly. docs/log.md has the figures.
"""

from __future__ import annotations

from tune_app.searchers import gp, tpe
from tune_app.searchers._handover import Handover
from tune_app.space.domains import Space

HANDOVER = 60
"""The number of the first trial that `tpe` proposes."""


def create(space: Space, seed: int) -> Handover:
    """The searcher; it has no options."""
    few = gp.Gp(space, seed, gp.STARTUP)
    return Handover(few, tpe.create(space, seed), HANDOVER)
