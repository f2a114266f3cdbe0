"""Hyperband's brackets: how many trials each gets, and ASHA's rule within each."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.simulated import Simulation, context, crossing, document, searched
from tests.support.state_story import Story
from tune_app.core.trial import Decision
from tune_app.schedulers import asha, hyperband


@pytest.mark.parametrize(
    ("eta", "rungs", "sizes"),
    # ceil((s_max + 1) / (s + 1) * eta^s) for s = s_max, …, 0.
    [(3, 5, [81, 34, 15, 8, 5]), (4, 3, [16, 6, 3]), (2, 4, [8, 6, 4, 4]), (3, 1, [1])],
)
def test_brackets_have_the_sizes_of_algorithm_1(eta: float, rungs: int, sizes: list[int]) -> None:
    assert hyperband.bracket_sizes(hyperband.create(context(), eta=eta, rungs=rungs).rungs) == sizes


def test_rounds_are_dealt_out_as_in_algorithm_1() -> None:
    scheduler = hyperband.create(context(), eta=3, rungs=5)
    dealt = [scheduler.bracket(number) for number in range(2 * 143)]
    assert dealt[:143] == sorted(dealt[:143]) == dealt[143:]
    assert [dealt[:143].count(b) for b in range(5)] == hyperband.bracket_sizes(scheduler.rungs)


def test_a_study_of_less_than_a_round_has_some_of_each_bracket() -> None:
    scheduler = hyperband.create(context(20), eta=3, rungs=5)
    dealt = Counter(scheduler.bracket(number) for number in range(20))
    for bracket, size in enumerate(hyperband.bracket_sizes(scheduler.rungs)):
        assert abs(dealt[bracket] - 20 * size / 143) < 1


def numbers_of(scheduler: hyperband.Hyperband, bracket: int, count: int) -> list[int]:
    """The first trials of a bracket."""
    found = [number for number in range(1, 1000) if scheduler.bracket(number) == bracket]
    return found[:count]


def test_a_trial_is_compared_with_its_own_bracket_and_from_its_first_rung_on() -> None:
    story, scheduler = Story(), hyperband.create(context(), eta=2, rungs=[0.25, 0.5, 1])
    low, high = numbers_of(scheduler, 0, 3), numbers_of(scheduler, 1, 2)

    def arrive(number: int, rung: int, value: float) -> Decision:
        name = f"{number:04d}"
        if name not in story.state.trials:
            own = {"bracket": scheduler.bracket(number), "params": {}, "kind": "search"}
            story.tell("trial_created", trial=name, number=number, **own)
        trial = story.state.trials[name]
        story.start(trial)
        story.report(trial, 1 + rung, value, rung=rung)
        decision = scheduler.decide(story.state, trial, rung)
        story.tell("decision", trial=trial.id, rung=rung, decision=decision.value)
        return decision

    assert arrive(high[0], 0, 9.0) is Decision.CONTINUE, "its bracket begins above"
    assert arrive(low[0], 0, 5.0) is Decision.PAUSE
    assert arrive(high[1], 0, 1.0) is Decision.CONTINUE
    assert arrive(low[1], 0, 6.0) is Decision.PAUSE
    promoted = scheduler.promote(story.state, draining=False)
    assert promoted is not None
    assert promoted.number == low[0], "best of two of its bracket, worse than one of another"
    assert arrive(high[0], 1, 9.0) is Decision.PAUSE
    assert arrive(low[0], 1, 1.0) is Decision.PAUSE
    assert arrive(high[1], 1, 8.0) is Decision.CONTINUE, "best of two of bracket 1"


def test_a_trial_of_the_last_bracket_runs_to_the_end_at_once() -> None:
    resolved = document(scheduler={"name": "hyperband", "eta": 2, "rungs": 3}, trials=30)
    scheduler = hyperband.create(context(resolved["budget"]["trials"]), eta=2, rungs=3)
    state = Simulation(resolved).run()
    for trial in searched(state):
        if scheduler.bracket(trial.number) == 2:
            assert trial.segments == 1
            assert state.final_value(trial) is not None


@pytest.mark.parametrize("seed", range(8))
def test_with_one_bracket_it_is_asha(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = document(trials=24, seed=seed)
    monkeypatch.setattr(hyperband.Hyperband, "bracket", lambda self, number: 0)
    workers = 1 + seed % 3
    one = Simulation(resolved, workers=workers, curve=crossing, scheduler=asha.create(context()))
    other = Simulation(
        resolved, workers=workers, curve=crossing, scheduler=hyperband.create(context(), rungs=3)
    )
    one.run()
    other.run()
    for event in other.events:
        event.pop("bracket", None)
    assert one.events == other.events
