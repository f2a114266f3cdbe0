"""Draws the seed for a model's suggestion, if the seed is searched."""

from __future__ import annotations

import random
from typing import Any

from tune_app.searchers._tried import stream
from tune_app.space.domains import Space, sample
from tune_app.space.nuisance import SEED, searched_seed


def drawn_seed(space: Space, study_seed: int, number: int) -> dict[str, Any]:
    """The seed of trial `number`, by its name; empty if the seed is not searched."""
    domain = searched_seed(space)
    if domain is None:
        return {}
    return {SEED: sample(domain, random.Random(stream(study_seed, SEED, number)))}
