"""Schedulers that stop for good, against decisions worked out by hand from the papers' rules."""

from __future__ import annotations

import pytest

from tests.unit.test_state import Story
from tune_app.ports import Scheduler
from tune_app.schedulers import asha_stopping
from tune_app.trial import Decision

GO, STOP = Decision.CONTINUE, Decision.STOP


def arrive(
    story: Story, scheduler: Scheduler, number: int, values: list[float], first_rung: int = 0
) -> Decision:
    """The answer to a trial that reports `values` at its rungs, at the last of them."""
    trial = story.state.trials.get(f"{number:04d}") or story.create(number)
    story.start(trial)
    for rung, value in enumerate(values, start=first_rung):
        story.report(trial, 1 + rung, value, rung=rung)
    return scheduler.decide(story.state, trial, first_rung + len(values) - 1)


@pytest.mark.parametrize(
    ("eta", "values", "expected"),
    [
        # Best 1 of 1, of 2 and of 3; then the best 2 of 4 to 6.
        (3, [5, 6, 4, 4.5, 4.6, 3, 9], [GO, STOP, GO, GO, STOP, GO, STOP]),
        (3, [5, 4, 3, 2], [GO, GO, GO, GO]),
        (2, [1, 2, 3, 1.5], [GO, STOP, STOP, GO]),
        (4, [2, 2, 2, 2, 2], [GO, STOP, STOP, STOP, STOP]),
    ],
)
def test_the_best_one_in_eta_of_those_so_far_go_on(
    eta: float, values: list[float], expected: list[Decision]
) -> None:
    story, scheduler = Story(), asha_stopping.create(eta=eta)
    answers = [arrive(story, scheduler, n, [value]) for n, value in enumerate(values, start=1)]
    assert answers == expected


def test_each_rung_is_judged_on_its_own() -> None:
    story, scheduler = Story(), asha_stopping.create(eta=2)
    assert arrive(story, scheduler, 1, [3.0]) is GO
    assert arrive(story, scheduler, 2, [2.0]) is GO
    assert arrive(story, scheduler, 2, [9.0], first_rung=1) is GO
    assert arrive(story, scheduler, 1, [9.5], first_rung=1) is STOP


def test_larger_is_better_where_the_metric_is_maximised() -> None:
    story = Story(metric={"name": "final_eval_loss", "goal": "maximize"})
    scheduler = asha_stopping.create(eta=2)
    assert [arrive(story, scheduler, n, [float(n)]) for n in (1, 2, 3)] == [GO, GO, GO]
