"""The searcher that replays on learning-curve tables speak for: `gp` first, `tpe` from then on.

A Gaussian process learns more from few trials; its cost grows with the cube of their number, that
of Parzen estimators in proportion. docs/log.md has the figures.
"""

from __future__ import annotations

from tune_app.searchers import gp, tpe
from tune_app.searchers._handover import Handover
from tune_app.space.domains import Space

HANDOVER = 60
"""Trials from which on `tpe` proposes."""


def create(space: Space, seed: int) -> Handover:
    """The searcher; it has no options."""
    few = gp.Gp(space, seed, gp.STARTUP)
    return Handover(few, tpe.create(space, seed), HANDOVER)
