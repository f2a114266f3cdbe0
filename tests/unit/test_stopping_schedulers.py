"""Schedulers that stop for good, against decisions worked out by hand from the papers' rules."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.simulated import context
from tests.support.state_story import Story
from tune_app.core.ports import Scheduler
from tune_app.core.trial import Decision
from tune_app.errors import UserError
from tune_app.schedulers import asha_stopping, median

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
    story, scheduler = Story(), asha_stopping.create(context(), eta=eta)
    answers = [arrive(story, scheduler, n, [value]) for n, value in enumerate(values, start=1)]
    assert answers == expected


def test_each_rung_is_judged_on_its_own() -> None:
    story, scheduler = Story(), asha_stopping.create(context(), eta=2)
    assert arrive(story, scheduler, 1, [3.0]) is GO
    assert arrive(story, scheduler, 2, [2.0]) is GO
    assert arrive(story, scheduler, 2, [9.0], first_rung=1) is GO
    assert arrive(story, scheduler, 1, [9.5], first_rung=1) is STOP


def test_larger_is_better_where_the_metric_is_maximised() -> None:
    story = Story(metric={"name": "final_eval_loss", "goal": "maximize"})
    scheduler = asha_stopping.create(context(), eta=2)
    assert [arrive(story, scheduler, n, [float(n)]) for n in (1, 2, 3)] == [GO, GO, GO]


def test_a_trial_worse_than_the_median_of_running_averages_is_stopped() -> None:
    story, scheduler = Story(), median.create(context(), rungs=3, grace=0, min_trials=3)
    # Running averages at rung 1: 4, 6 and 3; their median is 4.
    for number, values in enumerate([[5.0, 3.0], [7.0, 5.0], [4.0, 2.0]], start=1):
        assert arrive(story, scheduler, number, values) is GO
    assert arrive(story, scheduler, 4, [9.0, 4.1]) is STOP
    assert arrive(story, scheduler, 5, [9.0, 3.9]) is GO


def test_the_best_value_so_far_counts_and_a_tie_goes_on() -> None:
    story, scheduler = Story(), median.create(context(), rungs=3, grace=0, min_trials=1)
    assert arrive(story, scheduler, 1, [5.0, 3.0]) is GO
    assert arrive(story, scheduler, 2, [4.0, 99.0]) is GO


def test_with_an_even_number_of_others_the_median_lies_between() -> None:
    story, scheduler = Story(), median.create(context(), rungs=2, grace=0, min_trials=2)
    for number, value in enumerate([2.0, 4.0], start=1):
        assert arrive(story, scheduler, number, [value]) is GO
    assert arrive(story, scheduler, 3, [3.1]) is STOP
    assert arrive(story, scheduler, 4, [3.0]) is GO


def test_nothing_is_stopped_in_the_grace_or_with_too_few_others() -> None:
    story, scheduler = (
        Story(),
        median.create(context(), rungs=[0.2, 0.5, 1], grace=0.5, min_trials=2),
    )
    for number, value in enumerate([1.0, 2.0, 9.0], start=1):
        assert arrive(story, scheduler, number, [value]) is GO
    assert arrive(story, scheduler, 1, [1.0], first_rung=1) is GO
    assert arrive(story, scheduler, 2, [2.0], first_rung=1) is GO, "worse than one other"
    assert arrive(story, scheduler, 3, [8.0], first_rung=1) is STOP


def test_the_median_of_a_maximised_metric_stops_what_is_lower() -> None:
    story = Story(metric={"name": "final_eval_loss", "goal": "maximize"})
    scheduler = median.create(context(), rungs=2, grace=0, min_trials=1)
    assert [arrive(story, scheduler, n, [v]) for n, v in ((1, 2.0), (2, 1.9), (3, 2.1))] == [
        GO,
        STOP,
        GO,
    ]


def test_rungs_of_the_median_rule_are_evenly_spaced() -> None:
    assert median.create(context(), rungs=4).rungs == (0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rungs": 0, "grace": 2, "min_trials": 0}, 3),
        ({"grace": "soon"}, 1),
        ({"min_trials": 1.5}, 1),
        ({"rungs": [0.5]}, 1),
    ],
)
def test_options_of_the_median_rule_that_do_not_fit_are_all_told(
    options: dict[str, Any], told: int
) -> None:
    with pytest.raises(UserError) as caught:
        median.create(context(), **options)
    assert len(caught.value.problems) == told
