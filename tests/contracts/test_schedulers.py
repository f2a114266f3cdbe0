"""Every scheduler that is found keeps the contract of `tune_app.ports.Scheduler`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.unit.simulation import Simulation, document, ends, result, sometimes_diverging
from tune_app import plugins
from tune_app.ports import Scheduler
from tune_app.state import StudyState
from tune_app.trial import Decision, Kind, Status, TrialState

NAMES = plugins.names("scheduler")


class Watched:
    """A scheduler whose every answer is checked; it is made anew for each question."""

    def __init__(self, name: str) -> None:
        self._make = plugins.load("scheduler", name).create
        self.asked = 0

    @property
    def rungs(self) -> tuple[float, ...]:
        rungs: tuple[float, ...] = self._make().rungs
        return rungs

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        return Decision(self._ask(state, lambda made: made.decide(state, trial, rung)))

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        trial: TrialState | None = self._ask(state, lambda made: made.promote(state, draining))
        if trial is not None:
            assert state.trials[trial.id] is trial
            assert (trial.status, trial.due, trial.kind) == (Status.PAUSED, False, Kind.SEARCH)
            assert trial.rung_values
        return trial

    def hopeless(self, state: StudyState) -> list[TrialState]:
        found: list[TrialState] = self._ask(state, lambda made: made.hopeless(state))
        assert len({trial.id for trial in found}) == len(found)
        for trial in found:
            assert (trial.status, trial.due, trial.kind) == (Status.PAUSED, False, Kind.SEARCH)
        return found

    def _ask(self, state: StudyState, question: Any) -> Any:
        self.asked += 1
        before = repr(state)
        answer, again = question(self._make()), question(self._make())
        assert answer == again
        assert repr(state) == before
        return answer


@pytest.mark.parametrize("name", NAMES)
def test_rungs_are_ascending_shares_that_end_with_the_whole_budget(name: str) -> None:
    scheduler: Scheduler = plugins.load("scheduler", name).create()
    assert scheduler.rungs[-1] == 1.0
    assert scheduler.rungs[0] > 0
    assert all(low < high for low, high in pairwise(scheduler.rungs))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(6))
def test_a_study_ends_with_an_answer_and_every_trial_ends_once(name: str, seed: int) -> None:
    study = document(scheduler={"name": name}, trials=3 + 3 * seed, seed=seed)
    watched = Watched(name)
    simulation = Simulation(study, workers=1 + seed % 3, scheduler=watched, death=0.05, seed=seed)
    state = simulation.run()
    assert watched.asked
    assert sorted(ends(simulation.events)) == sorted(state.trials)
    assert any(trial.kind is Kind.SEARCH for trial in state.completed())


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_driver_changes_no_result_with_one_worker(name: str) -> None:
    study = document(scheduler={"name": name}, trials=7)
    whole = Simulation(study, curve=sometimes_diverging)
    undisturbed = whole.run()
    for length in range(1, len(whole.events)):
        prefix = whole.events[:length]
        resumed = Simulation(study, curve=sometimes_diverging, events=prefix)
        state = resumed.run()
        assert sorted(ends(resumed.events)) == sorted(state.trials)
        assert result(state) == result(undisturbed)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_without_trials_asks_for_nothing(name: str) -> None:
    state = StudyState()
    state.apply({"event": "study_started", "time": 0, "study": document(scheduler={"name": name})})
    scheduler: Scheduler = plugins.load("scheduler", name).create()
    assert scheduler.promote(state, draining=True) is None
    assert scheduler.hopeless(state) == []


@pytest.mark.parametrize("name", NAMES)
def test_options_are_keywords_with_defaults(name: str) -> None:
    module = plugins.load("scheduler", name)
    assert plugins.option_problems(module, {}, "") == []
    assert plugins.option_problems(module, {"no_such_option": 1}, "")
