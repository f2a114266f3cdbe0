"""Shapes in Optuna's terms, for the view that optuna-dashboard opens."""

from __future__ import annotations

import random

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from tune_app.space import optuna_domains
from tune_app.space.domains import Drawn, sample, to_document

SHAPES = [
    Drawn("uniform", 3.0, 16.0, 8),
    Drawn("log_uniform", 3.0, 300.0, 8),
    Drawn("normal", 10.0, 4.0, 2),
    Drawn("log_normal", -3.0, 1.0),
    Drawn("beta", 2.0, 5.0),
]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_a_value_comes_back_as_it_was(shape: Drawn) -> None:
    domain, rng = to_document(shape), random.Random(1)
    bounds = optuna_domains.distribution(domain)
    assert isinstance(bounds, FloatDistribution)
    for value in (sample(shape, rng) for _ in range(200)):
        if shape.low <= value <= shape.high:
            held = optuna_domains.to_optuna(domain, value)
            # Raises for a value that the distribution does not hold.
            create_trial(params={"x": held}, distributions={"x": bounds}, value=0.0)
            assert repr(optuna_domains.from_optuna(domain, held)) == repr(value)


def test_a_value_far_out_in_a_tail_is_not_forced_into_the_range() -> None:
    with pytest.raises(ValueError, match="is outside of"):
        optuna_domains.to_optuna(to_document(Drawn("normal", 0.0, 1.0)), 9.0)
