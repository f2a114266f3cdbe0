"""The orders kept up event by event are what sorting all trials anew would give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

import pytest

from tests.support.simulated import Simulation, document, searched, sometimes_diverging
from tests.support.state_story import Story
from tune_app.core.state import StudyState, rebuild
from tune_app.core.trial import Outcome, Status, TrialState


def numbers(trials: Iterable[TrialState]) -> list[int]:
    return [trial.number for trial in trials]


def sorted_anew(
    state: StudyState, rung: int, belongs: Callable[[TrialState], bool]
) -> list[TrialState]:
    """Competitors with a value at `rung` for which `belongs` holds, best first."""
    found = [t for t in searched(state) if rung in t.rung_values and belongs(t)]
    return sorted(found, key=lambda t: (state.sign * t.rung_values[rung], t.number))


def check(state: StudyState) -> None:
    rankings, trials = state.rankings, list(state.trials.values())
    for status in Status:
        expected = [t for t in trials if t.status is status]
        assert numbers(rankings.with_status(status)) == numbers(expected)
        assert state.with_status(status) == expected
    assert numbers(rankings.due()) == numbers(t for t in trials if t.due)
    competitors = searched(state)
    assert numbers(rankings.open()) == numbers(
        t for t in competitors if t.status is not Status.ENDED
    )
    finals = [(state.final_value(t), t.number) for t in trials]
    ranks = sorted((state.sign * value, number) for value, number in finals if value is not None)
    assert numbers(state.completed()) == [number for _, number in ranks]
    for source in trials:
        expected = [t for t in trials if t.status is not Status.ENDED and source.id in heir_of(t)]
        assert numbers(rankings.heirs(source.id)) == numbers(expected)
    for rung in range(state.full_rung + 1):
        reached = sorted_anew(state, rung, lambda t: True)
        assert numbers(rankings.reached(rung)) == numbers(reached)
        assert [rankings.reached(rung).rank(t) for t in reached] == list(range(len(reached)))
        means = sorted((state.sign * fmean(values_until(t, rung)), t.number) for t in reached)
        assert numbers(rankings.averages(rung)) == [number for _, number in means]
        ended = sorted_anew(state, rung, lambda t: t.status is Status.ENDED)
        assert numbers(rankings.ended(rung)) == numbers(ended)
        paused = sorted_anew(state, rung, lambda t: t.status is Status.PAUSED and not t.due)
        waiting = [t for t in paused if t.top_rung == rung]
        assert numbers(rankings.waiting(rung)) == numbers(waiting)


def heir_of(trial: TrialState) -> list[str]:
    return [takeover.source for takeover in trial.takeovers[-1:]]


def values_until(trial: TrialState, rung: int) -> list[float]:
    return [value for index, value in trial.rung_values.items() if index <= rung]


def events_of(seed: int) -> list[dict[str, Any]]:
    """A study with deaths, interruptions, divergences and a resume."""
    goal = {"name": "final_eval_loss", "goal": "maximize" if seed % 2 else "minimize"}
    resolved = document(seed=seed, trials=12, eta=2, rungs=1 + seed % 4, metric=goal)
    options: dict[str, Any] = {"workers": 1 + seed % 3, "curve": sometimes_diverging, "seed": seed}
    first = Simulation(resolved, death=0.1, **options)
    first.run(interrupt_after=10 + seed if seed % 3 else None, die_after=15 + 2 * seed)
    again = Simulation(resolved, death=0.1, events=first.events, **options)
    again.run()
    return again.events


@pytest.mark.parametrize("seed", range(24))
def test_every_order_is_what_sorting_anew_gives_after_every_event(seed: int) -> None:
    state = StudyState()
    events = events_of(seed)
    for event in events:
        state.apply(event)
        check(state)
    assert repr(rebuild(events)) == repr(state)
    check(rebuild(events))


@pytest.mark.parametrize("seed", range(4))
def test_the_leaders_of_a_rung_are_the_best_of_each_bracket(seed: int) -> None:
    study = document(scheduler={"name": "hyperband", "eta": 2, "rungs": 3}, trials=14, seed=seed)
    simulation = Simulation(study, workers=3, curve=sometimes_diverging, seed=seed)
    simulation.run()
    state = StudyState()
    for event in simulation.events:
        state.apply(event)
        for rung in range(state.full_rung + 1):
            best: dict[int, TrialState] = {}
            for trial in sorted_anew(state, rung, lambda t: True):
                best.setdefault(trial.bracket, trial)
            by_number = sorted(state.rankings.leaders(rung), key=lambda trial: trial.number)
            assert numbers(by_number) == sorted(numbers(best.values()))


def test_a_rung_that_is_run_again_replaces_the_value() -> None:
    story = Story()
    first, second = story.create(1), story.create(2)
    for trial, value in ((first, 2.0), (second, 3.0)):
        story.start(trial)
        story.report(trial, 3, value, rung=0)
    story.tell("segment_lost", trial=second.id, reason="")
    story.start(second)
    story.report(second, 3, 1.0, rung=0)
    assert numbers(story.state.rankings.reached(0)) == [2, 1]
    check(story.state)


def test_a_trial_that_ends_waits_nowhere() -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    story.report(trial, 3, 2.0, rung=0)
    story.tell("decision", trial=trial.id, rung=0, decision="pause")
    assert numbers(story.state.rankings.waiting(0)) == [1]
    story.end(trial, Outcome.STOPPED)
    assert numbers(story.state.rankings.waiting(0)) == []
    assert numbers(story.state.rankings.ended(0)) == [1]
    check(story.state)
