"""A study's prior on rows of the unit cube."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tune_app.space import prior
from tune_app.space.cube import Array, Cube
from tune_app.space.domains import Space
from tune_app.space.prior import Belief

LEAST = -4.0


def log_densities(
    cube: Cube,
    space: Space,
    rows: Array,
    beliefs: Mapping[str, Belief],
) -> Array:
    """How likely a prior makes each row (rows,), as a logarithm, up to a constant.

    No single belief counts for less than `LEAST`: far from a narrow one all values are alike, and a
    wrong one is outgrown.
    """
    return np.array(
        [
            sum(
                max(prior.log_density(space[name], beliefs[name], value), LEAST)
                for name, value in cube.from_unit(row).items()
                if name in beliefs
            )
            for row in rows
        ]
    )
