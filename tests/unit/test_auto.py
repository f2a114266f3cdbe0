"""The rungs that `auto` chooses, and that it is ASHA on them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.simulated import Simulation, context, document
from tune_app.budget import Unit
from tune_app.core.definition import Budget, PlugIn
from tune_app.plugins import make
from tune_app.schedulers import auto


@pytest.mark.parametrize(
    ("trials", "rungs"),
    [
        (1, (1,)),
        (2, (1,)),
        (3, (1 / 3, 1)),
        (8, (1 / 3, 1)),
        (9, (1 / 9, 1 / 3, 1)),
        (26, (1 / 9, 1 / 3, 1)),
        (27, (1 / 27, 1 / 9, 1 / 3, 1)),
        (10_000, (1 / 27, 1 / 9, 1 / 3, 1)),
    ],
)
def test_fewer_trials_have_fewer_rungs(trials: int, rungs: tuple[float, ...]) -> None:
    assert auto.create(context(trials)).rungs == rungs


@pytest.mark.parametrize("unit", ["steps", "tokens"])
@pytest.mark.parametrize(
    ("steps", "rungs"), [(1, 1), (5, 1), (6, 2), (17, 2), (18, 3), (53, 3), (54, 4)]
)
def test_no_rung_lies_before_the_second_step_of_any_trial(
    unit: str, steps: int, rungs: int
) -> None:
    in_steps = unit == "steps"
    budget = Budget(Unit(unit), steps if in_steps else 1e9, 100, 9)
    budget = budget if in_steps else replace(budget, fewest_steps=steps)
    found = make.scheduler_of(PlugIn("auto"), budget, {}).rungs
    assert len(found) == rungs
    assert all(share * steps >= 2 for share in found[:-1])


@pytest.mark.parametrize("trials", [1, 2, 5, 20, 80])
def test_a_study_is_that_of_asha_on_these_rungs(trials: int) -> None:
    automatic = document(scheduler={"name": "auto"}, trials=trials)
    by_hand = {"name": "asha", "eta": 3, "rungs": automatic["rungs"]}
    one = Simulation(automatic, workers=2)
    other = Simulation(document(scheduler=by_hand, trials=trials), workers=2)
    one.run()
    other.run()
    assert one.events[1:] == other.events[1:]
