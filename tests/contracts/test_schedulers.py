"""Every scheduler that is found keeps the contract of `tune_app.core.ports.Scheduler`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated import (
    Curve,
    Simulation,
    crossing,
    defined,
    document,
    ends,
    result,
    sometimes_diverging,
)
from tune_app import plugins
from tune_app.budget import Unit
from tune_app.core.definition import Budget, PlugIn, StudyDefinition
from tune_app.core.journal import Event
from tune_app.core.ports import Bracketed, Exploit, Exploiting, Scheduler, SchedulerContext
from tune_app.core.state import StudyState, rebuild
from tune_app.core.trial import Decision, Kind, Outcome, Status, TrialState
from tune_app.plugins import make
from tune_app.simulation.simulation import MAX_STEPS, plan_of
from tune_app.space.domains import Fixed

NAMES = plugins.names("scheduler")


class Watched:
    """A scheduler whose every answer is checked; it is made anew for each question."""

    def __init__(self, study: dict[str, Any]) -> None:
        self._make: Callable[[], Scheduler] = lambda: make.scheduler(
            StudyDefinition.from_document(study)
        )
        self.asked = 0

    @property
    def rungs(self) -> tuple[float, ...]:
        return self._make().rungs

    def bracket(self, number: int) -> int:
        return _bracket(self._make(), number)

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        return Decision(self._ask(state, lambda made: made.decide(state, trial, rung)))

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        trial: TrialState | None = self._ask(state, lambda made: made.promote(state, draining))
        if trial is not None:
            assert state.trials[trial.id] is trial
            assert (trial.status, trial.due, trial.kind) == (Status.PAUSED, False, Kind.SEARCH)
            assert trial.rung_values
        return trial

    def exploit(self, state: StudyState, trial: TrialState) -> Exploit | None:
        found: Exploit | None = self._ask(state, lambda made: _exploit(made, state, trial))
        return found

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


def _bracket(scheduler: Scheduler, number: int) -> int:
    return scheduler.bracket(number) if isinstance(scheduler, Bracketed) else 0


def _exploit(scheduler: Scheduler, state: StudyState, trial: TrialState) -> Exploit | None:
    return scheduler.exploit(state, trial) if isinstance(scheduler, Exploiting) else None


def _told(exploit: Exploit | None) -> tuple[str, dict[str, Any]] | None:
    return None if exploit is None else (exploit.source.id, exploit.params)


@pytest.mark.parametrize("name", NAMES)
def test_rungs_are_ascending_shares_that_end_with_the_whole_budget(name: str) -> None:
    scheduler = make.scheduler(defined(scheduler={"name": name}))
    assert scheduler.rungs[-1] == 1.0
    assert scheduler.rungs[0] > 0
    assert all(low < high for low, high in pairwise(scheduler.rungs))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(6))
def test_a_study_ends_with_an_answer_and_every_trial_ends_once(name: str, seed: int) -> None:
    study = document(scheduler={"name": name}, trials=3 + 3 * seed, seed=seed)
    watched = Watched(study)
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
    scheduler = make.scheduler(defined(scheduler={"name": name}))
    assert scheduler.promote(state, draining=True) is None
    assert scheduler.hopeless(state) == []


@pytest.mark.parametrize("name", NAMES)
def test_options_are_keywords_with_defaults(name: str) -> None:
    module = plugins.load("scheduler", name)
    assert plugins.option_problems(module, {}, "") == []
    assert plugins.option_problems(module, {"no_such_option": 1}, "")


OWN = """
class Own:
    rungs = (1.0,)


def create(context, *, budget, parameters=0):
    made = Own()
    made.told = context, budget, parameters
    return made
"""


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        ({"unit": Unit.STEPS, "amount": 40}, 40),
        ({"unit": Unit.TOKENS, "amount": 40}, None),
        ({"unit": Unit.TOKENS, "amount": 40, "fewest_steps": 7}, 7),
    ],
)
def test_a_scheduler_is_told_of_the_study_whatever_its_options_are_called(
    tmp_path: Path, budget: dict[str, Any], steps: float | None
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    own = PlugIn(str(tmp_path / "own.py"), {"budget": 3, "parameters": [1]})
    given = Budget(**budget | {"trials": 5, "evaluations": 9})
    made: Any = make.scheduler_of(own, given, {"lr": Fixed(1), "size": Fixed(2)})
    assert made.told == (SchedulerContext(5, steps, frozenset({"lr", "size"})), 3, [1])


Question = Callable[[Scheduler, StudyState], Any]


class Recorded:
    """A scheduler that writes down each question with its answer and the journal's length then."""

    def __init__(self, study: dict[str, Any]) -> None:
        self._inner = make.scheduler(StudyDefinition.from_document(study))
        self.simulation: Simulation | None = None
        self.asked: list[tuple[int, Question, Any]] = []

    @property
    def rungs(self) -> tuple[float, ...]:
        return self._inner.rungs

    def bracket(self, number: int) -> int:
        return _bracket(self._inner, number)

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        _check_is_at_rung(state, trial, rung)
        answer = self._ask(state, lambda made, now: made.decide(now, now.trials[trial.id], rung))
        return Decision(answer)

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        found = self._ask(state, lambda made, now: _id(made.promote(now, draining)))
        return None if found is None else state.trials[found]

    def exploit(self, state: StudyState, trial: TrialState) -> Exploit | None:
        found = self._ask(state, lambda made, now: _told(_exploit(made, now, now.trials[trial.id])))
        return None if found is None else Exploit(state.trials[found[0]], found[1])

    def hopeless(self, state: StudyState) -> list[TrialState]:
        found = self._ask(state, lambda made, now: [t.id for t in made.hopeless(now)])
        return [state.trials[name] for name in found]

    def _ask(self, state: StudyState, question: Question) -> Any:
        answer = question(self._inner, state)
        if self.simulation is not None:
            self.asked.append((len(self.simulation.events), question, answer))
        return answer


def _id(trial: TrialState | None) -> str | None:
    return None if trial is None else trial.id


def _check_is_at_rung(state: StudyState, trial: TrialState, rung: int) -> None:
    """A finite value, exactly at the rung, of a competitor that is not done, and asked once."""
    plan = plan_of(state.definition, MAX_STEPS)
    assert trial.reports[-1].step == plan.rung_steps[rung]
    assert trial.top_rung == rung < state.full_rung
    assert trial.kind is Kind.SEARCH
    assert math.isfinite(trial.rung_values[rung])
    assert trial.decided_rung is None or trial.decided_rung < rung


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_state_rebuilt_at_any_point_gives_every_answer_that_was_given_there(
    name: str, workers: int
) -> None:
    study = document(scheduler={"name": name}, trials=24, seed=workers)
    recorded = Recorded(study)
    simulation = Simulation(
        study, workers=workers, curve=sometimes_diverging, scheduler=recorded, seed=workers
    )
    recorded.simulation = simulation
    simulation.run()
    assert any(event["event"] == "trial_ended" for event in simulation.events)
    states: dict[int, StudyState] = {}
    for length, question, answer in recorded.asked:
        if length not in states:
            states = {length: rebuild(simulation.events[:length])}
        assert (
            question(make.scheduler(StudyDefinition.from_document(study)), states[length]) == answer
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("curve", [crossing, sometimes_diverging])
def test_a_driver_killed_after_any_event_decides_the_same_with_one_worker(
    name: str, curve: Curve
) -> None:
    study = document(scheduler={"name": name}, trials=12)
    whole = Simulation(study, curve=curve)
    whole.run()
    for length in range(1, len(whole.events)):
        resumed = Simulation(study, curve=curve, events=whole.events[:length])
        resumed.run()
        assert verdicts(resumed.events) == verdicts(whole.events)


def verdicts(events: list[Event]) -> tuple[list[Any], list[Any]]:
    """All that was decided about trials in order, and how each ended.

    Several that become hopeless at once end in whatever order.
    """
    keys = ("event", "trial", "params", "rung", "decision", "source", "outcome", "reason")
    kept = ("trial_created", "trial_exploited", "decision")
    told = [(e["event"], [e.get(key) for key in keys]) for e in events]
    in_order = [fields for event, fields in told if event in kept]
    return in_order, sorted(map(str, (f for event, f in told if event == "trial_ended")))


@pytest.mark.parametrize("name", NAMES)
def test_a_value_that_is_not_finite_ends_a_trial_and_no_scheduler_sees_it(name: str) -> None:
    study = document(scheduler={"name": name}, trials=20)
    recorded = Recorded(study)
    simulation = Simulation(study, workers=3, curve=sometimes_diverging, scheduler=recorded)
    recorded.simulation = simulation
    state = simulation.run()
    diverged = [t for t in state.trials.values() if t.outcome is Outcome.DIVERGED]
    assert diverged
    for trial in diverged:
        assert not math.isfinite(trial.latest("eval_loss") or 0.0)
        assert all(math.isfinite(value) for value in trial.rung_values.values())
