"""The rungs that `auto` chooses, and that it is ASHA on them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulation import Simulation, document
from tune_app.schedulers import auto


def budget(trials: int, unit: str = "tokens", amount: float = 1e9) -> dict[str, Any]:
    return {"unit": unit, "amount": amount, "trials": trials, "evaluations": 9}


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
    assert auto.create(budget(trials)).rungs == rungs


@pytest.mark.parametrize(
    ("steps", "rungs"), [(1, 1), (2, 1), (3, 2), (8, 2), (9, 3), (26, 3), (27, 4)]
)
def test_no_rung_lies_before_the_first_step(steps: int, rungs: int) -> None:
    found = auto.create(budget(100, "steps", steps)).rungs
    assert len(found) == rungs
    assert all(share * steps >= 1 for share in found)


@pytest.mark.parametrize("trials", [1, 2, 5, 20, 80])
def test_a_study_is_that_of_asha_on_these_rungs(trials: int) -> None:
    automatic = document(scheduler={"name": "auto"}, trials=trials)
    by_hand = {"name": "asha", "eta": 3, "rungs": automatic["rungs"]}
    one = Simulation(automatic, workers=2)
    other = Simulation(document(scheduler=by_hand, trials=trials), workers=2)
    one.run()
    other.run()
    assert one.events[1:] == other.events[1:]
