"""The conductor with real ASHA, searchers and journals, over simulated workers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated import (
    Curve,
    MemoryJournal,
    Simulation,
    crossing,
    defined,
    document,
    ends,
    on_disk,
    result,
    searched,
    sometimes_diverging,
)
from tune_app.core.conductor import BROKEN, EXHAUSTED, UNREPORTED, Conductor
from tune_app.core.definition import StudyDefinition
from tune_app.core.failures import BACKOFF_S, MAX_LOSSES, Losses, own_traceback
from tune_app.core.journal import FILE_NAME, Event, Journal, read
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState, rebuild
from tune_app.core.trial import Checkpoint, Decision, Kind, Outcome, Status
from tune_app.errors import UserError
from tune_app.plugins import make


def variety(seed: int) -> tuple[dict[str, Any], int]:
    """A study and a number of workers, different for each seed."""
    resolved = document(
        seed=seed,
        trials=1 + seed * 7 % 30,
        eta=2 + seed % 3,
        rungs=1 + seed // 3 % 4,
        baseline=seed % 5 != 0,
    )
    return resolved, 1 + seed // 2 % 4


def completed(state: StudyState) -> set[str]:
    return {trial.id for trial in state.completed()}


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("curve", [crossing, sometimes_diverging])
def test_every_trial_ends_once_and_the_study_ends(seed: int, curve: Curve) -> None:
    resolved, workers = variety(seed)
    simulation = Simulation(resolved, workers=workers, curve=curve, seed=seed)
    state = simulation.run()
    assert sorted(ends(simulation.events)) == sorted(state.trials)
    assert len(state.trials) == resolved["budget"]["trials"]
    assert all(trial.status is Status.ENDED for trial in state.trials.values())
    assert state.ended is not None
    assert simulation.events[-1]["event"] == "study_ended"


@pytest.mark.parametrize("seed", range(60))
def test_a_trial_completes_as_long_as_one_can(seed: int) -> None:
    resolved, workers = variety(seed)
    state = Simulation(resolved, workers=workers, curve=sometimes_diverging, seed=seed).run()
    steps = range(1, 25)
    able = [
        trial.id
        for trial in searched(state)
        if all(math.isfinite(sometimes_diverging(trial.params, step)) for step in steps)
    ]
    assert bool(completed(state) & {t.id for t in searched(state)}) == bool(able)


@pytest.mark.parametrize("seed", range(30))
def test_the_baseline_always_runs_to_the_end(seed: int) -> None:
    resolved, workers = variety(seed)
    resolved["baseline"] = True

    def hopeless_baseline(params: Mapping[str, Any], step: int) -> float:
        return 99.0 if params == resolved["baseline_params"] else crossing(params, step)

    state = Simulation(resolved, workers=workers, curve=hopeless_baseline).run()
    baseline = state.baseline()
    assert baseline is not None
    assert baseline.outcome is Outcome.COMPLETED
    assert baseline.number == 0
    assert [trial.kind for trial in state.trials.values()].count(Kind.BASELINE) == 1


def test_the_same_seed_gives_the_same_journal_and_another_seed_another_one() -> None:
    first = Simulation(document(searcher="tpe", trials=14, seed=3))
    again = Simulation(document(searcher="tpe", trials=14, seed=3))
    other = Simulation(document(searcher="tpe", trials=14, seed=4))
    for simulation in (first, again, other):
        simulation.run()
    assert first.events == again.events
    assert params(first.events) != params(other.events)


def params(events: list[Event]) -> list[Any]:
    return [event["params"] for event in events if event["event"] == "trial_created"]


def prefixes(events: list[Event]) -> list[list[Event]]:
    """All that a driver's death can leave of a journal, but nothing and everything."""
    return [events[:length] for length in range(1, len(events))]


@pytest.mark.parametrize("searcher", ["random", "tpe"])
@pytest.mark.parametrize("curve", [crossing, sometimes_diverging])
@pytest.mark.parametrize(("eta", "rungs"), [(3, 3), (2, 4), (2, 1)])
def test_a_driver_killed_after_any_event_changes_no_result_with_one_worker(
    searcher: str, curve: Curve, eta: int, rungs: int
) -> None:
    trials = 9 if searcher == "tpe" else 14
    resolved = document(eta=eta, rungs=rungs, trials=trials, searcher=searcher)
    whole = Simulation(resolved, curve=curve)
    undisturbed = whole.run()
    for prefix in prefixes(whole.events):
        resumed = Simulation(resolved, curve=curve, events=prefix)
        state = resumed.run()
        assert sorted(ends(resumed.events)) == sorted(state.trials)
        assert params(resumed.events) == params(whole.events)
        assert result(state) == result(undisturbed)
        assert completed(state) == completed(undisturbed)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("curve", [crossing, sometimes_diverging])
def test_a_driver_killed_after_any_event_loses_no_trial(workers: int, curve: Curve) -> None:
    resolved = document(eta=2, rungs=3, trials=10)
    whole = Simulation(resolved, workers=workers, curve=curve, death=0.05)
    whole.run()
    for prefix in prefixes(whole.events):
        resumed = Simulation(resolved, workers=workers, curve=curve, events=prefix)
        state = resumed.run()
        assert sorted(ends(resumed.events)) == sorted(state.trials)
        assert len(state.trials) == 10
        assert result(state) is not None


def test_a_study_survives_a_driver_that_dies_again_and_again() -> None:
    resolved = document(trials=12)
    undisturbed = Simulation(resolved).run()
    events: list[Event] = []
    for _ in range(200):
        simulation = Simulation(resolved, events=events)
        state = simulation.run(die_after=7)
        events = simulation.events
        if state.ended is not None:
            break
    assert state.ended is not None
    assert result(state) == result(undisturbed)
    assert completed(state) == completed(undisturbed)


@pytest.mark.parametrize("after", [1, 2, 5, 9, 16, 24])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_study_keeps_every_trial_for_its_resume(after: int, workers: int) -> None:
    resolved = document(trials=10)
    simulation = Simulation(resolved, workers=workers)
    state = simulation.run(interrupt_after=after)
    assert state.ended is None
    assert not state.with_status(Status.RUNNING)
    before = {trial.id: trial.outcome for trial in state.trials.values()}
    resumed = Simulation(resolved, workers=workers, events=simulation.events)
    final = resumed.run()
    assert sorted(ends(resumed.events)) == sorted(final.trials)
    assert all(final.trials[i].outcome is outcome for i, outcome in before.items() if outcome)
    if workers == 1:
        assert result(final) == result(Simulation(resolved).run())


def test_an_interrupted_conductor_hands_out_no_work() -> None:
    simulation = Simulation(document())
    simulation.conductor.interrupted = True
    assert simulation.conductor.next_segment() is None
    assert simulation.conductor.finished


@pytest.mark.parametrize("seed", range(20))
def test_lost_workers_cost_no_trial_as_long_as_they_are_few(seed: int) -> None:
    resolved, workers = variety(seed)
    simulation = Simulation(resolved, workers=workers, death=0.1, seed=seed)
    state = simulation.run()
    assert sorted(ends(simulation.events)) == sorted(state.trials)
    for trial in state.trials.values():
        assert (trial.outcome is Outcome.LOST) == (trial.losses_here > MAX_LOSSES)


def test_a_trial_whose_workers_all_die_is_begun_again_so_often_and_not_more() -> None:
    simulation = Simulation(document(trials=2, baseline=False), death=1.0)
    state = simulation.run()
    assert {trial.outcome for trial in state.trials.values()} == {Outcome.LOST}
    assert {trial.segments for trial in state.trials.values()} == {1 + MAX_LOSSES}


def test_a_lost_worker_costs_only_what_came_after_the_last_checkpoint() -> None:
    simulation = Simulation(document(trials=1))
    conductor, state = simulation.conductor, simulation.state
    segment = conductor.next_segment()
    assert segment is not None
    report = {"tokens": 10, "fraction": 0.1, "seconds": 1.0, "metrics": {"eval_loss": 2.0}}
    saved = {"rung": 0, "checkpoint": "checkpoints/0000/step-3"}
    conductor.on_message(segment.trial, "report", {"step": 3, **report, **saved})
    unsaved = {"rung": None, "checkpoint": None}
    conductor.on_message(segment.trial, "report", {"step": 5, **report, **unsaved})
    conductor.on_worker_gone(segment.trial, "power cut")
    again = conductor.next_segment()
    assert again is not None
    assert (again.trial, again.checkpoint) == (segment.trial, Checkpoint("0000", 3))
    assert [report.step for report in state.trials[segment.trial].reports] == [3]


def test_three_failures_before_any_success_stop_the_study() -> None:
    simulation = Simulation(document(trials=20), workers=2, outcomes=lambda number: "failed")
    state = simulation.run()
    outcomes = [trial.outcome for trial in state.trials.values()]
    assert state.ended == BROKEN
    assert outcomes.count(Outcome.FAILED) == 3
    assert set(outcomes) <= {Outcome.FAILED, Outcome.CANCELLED}
    assert sorted(ends(simulation.events)) == sorted(state.trials)


def late(simulation: Simulation, names: list[str], kinds: list[str]) -> StudyState:
    """These trials report half of the budget, then fail in these ways."""
    report: dict[str, Any] = {"tokens": 10, "step": 12, "fraction": 0.5, "seconds": 1.0}
    report |= {"metrics": {"eval_loss": 2.0}, "rung": None, "checkpoint": None}
    for name, kind in zip(names, kinds, strict=True):
        simulation.conductor.on_message(name, "report", report)
        ended = {"outcome": "failed", "reason": f"{kind}: at {name}", "error": ""}
        simulation.conductor.on_message(name, "trial_ended", ended)
    return simulation.state


def begun(count: int) -> tuple[Simulation, list[str]]:
    simulation = Simulation(document(trials=20), workers=count)
    segments = [simulation.conductor.next_segment() for _ in range(count)]
    return simulation, [segment.trial for segment in segments if segment is not None]


def test_a_bug_that_no_trial_gets_past_stops_the_study_however_late_it_comes() -> None:
    simulation, names = begun(4)
    rung: dict[str, Any] = {"tokens": 10, "step": 3, "fraction": 0.1, "seconds": 1.0}
    rung |= {"metrics": {"eval_loss": 2.0}, "rung": 0, "checkpoint": "checkpoints/0000/step-3"}
    simulation.conductor.on_message(names[3], "report", rung)
    assert late(simulation, names[:3], ["IndexError"] * 3).ended == BROKEN


def test_trials_that_fail_each_in_its_own_way_do_not_stop_the_study() -> None:
    simulation, names = begun(4)
    assert late(simulation, names[:3], ["IndexError", "KeyError", "IndexError"]).ended is None


def test_a_trial_that_got_past_where_others_fail_clears_the_trainable() -> None:
    simulation, names = begun(4)
    further: dict[str, Any] = {"tokens": 10, "step": 15, "fraction": 0.6, "seconds": 1.0}
    further |= {"metrics": {"eval_loss": 2.0}, "rung": None, "checkpoint": None}
    simulation.conductor.on_message(names[3], "report", further)
    assert late(simulation, names[:3], ["IndexError"] * 3).ended is None


def test_a_traceback_is_told_from_the_trainables_own_lines_on() -> None:
    ours = '  File "/x/tune_app/training/segment.py", line 9, in _train\n    build()\n'
    own = '  File "/home/me/net.py", line 3, in build\n    raise KeyError(1)\n'
    head = "Traceback (most recent call last):\n"
    assert own_traceback(head + ours + own + "KeyError: 1\n") == head + own + "KeyError: 1"


def half() -> dict[str, Any]:
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    return {"reason": "OutOfMemoryError: 80 GB", **sizes}


def test_a_trial_out_of_memory_goes_on_from_its_checkpoint_with_the_values_asked_for() -> None:
    simulation, (name,) = begun(1)
    conductor, trial = simulation.conductor, simulation.state.trials[name]
    params, checkpoint = dict(trial.params), "checkpoints/0000/step-3"
    saved: dict[str, Any] = {"tokens": 10, "step": 3, "fraction": 0.1, "seconds": 1.0}
    saved |= {"metrics": {}, "rung": None, "checkpoint": checkpoint}
    conductor.on_message(name, "report", saved)
    assert conductor.on_message(name, "batch_halved", half()) is Decision.STOP
    conductor.on_worker_gone(name, "its segment is over")
    again = conductor.next_segment()
    assert again is not None
    assert (again.trial, again.checkpoint, again.is_halved) == (name, Checkpoint("0000", 3), True)
    assert again.params == params
    assert trial.losses == 0
    ended = {"outcome": "out_of_memory", "reason": "", "error": ""}
    conductor.on_message(name, "trial_ended", ended)
    assert trial.outcome is Outcome.OUT_OF_MEMORY


def test_losses_are_forgiven_where_a_trial_gets_on_between_them() -> None:
    simulation, (name,) = begun(1)
    conductor, trial = simulation.conductor, simulation.state.trials[name]
    for step in range(1, 3 * MAX_LOSSES):
        saved = {"tokens": 10, "fraction": 0.1, "seconds": 1.0, "metrics": {}, "rung": None}
        saved |= {"step": step, "checkpoint": f"checkpoints/0000/step-{step}"}
        conductor.on_message(name, "report", saved)
        conductor.on_message(name, "segment_lost", {"reason": "EIO"})
        assert conductor.next_segment() is not None
    assert trial.outcome is None
    for _ in range(MAX_LOSSES):
        conductor.on_worker_gone(name, "killed")
        conductor.next_segment()
    assert trial.outcome is Outcome.LOST


def test_failures_after_a_trial_reached_a_rung_do_not_stop_the_study() -> None:
    outcomes = {0: "completed", 6: "completed"}
    simulation = Simulation(document(trials=7), outcomes=lambda n: outcomes.get(n, "failed"))
    state = simulation.run()
    assert state.ended != BROKEN
    assert [trial.outcome for trial in state.trials.values()].count(Outcome.FAILED) == 5


def test_trials_that_wait_for_a_new_worker_are_cancelled_when_the_trainable_is_broken() -> None:
    simulation = Simulation(document(trials=20), workers=4)
    conductor = simulation.conductor
    segments = [conductor.next_segment() for _ in range(4)]
    names = [segment.trial for segment in segments if segment is not None]
    conductor.on_worker_gone(names[3], "killed")
    for name in names[:3]:
        ended = {"outcome": "failed", "reason": "KeyError", "error": ""}
        conductor.on_message(name, "trial_ended", ended)
    assert simulation.state.ended == BROKEN
    assert simulation.state.trials[names[3]].outcome is Outcome.CANCELLED


def test_a_crash_while_a_broken_study_is_being_ended_is_made_good_by_the_next_failure() -> None:
    whole = Simulation(document(trials=20), workers=4, outcomes=lambda number: "failed")
    whole.run()
    cancelled = next(
        i for i, event in enumerate(whole.events) if event.get("outcome") == "cancelled"
    )
    events = whole.events[: cancelled + 1]
    resumed = Simulation(document(trials=20), outcomes=lambda number: "failed", events=events)
    assert resumed.run().ended == BROKEN


@pytest.mark.parametrize("outcome", list(Outcome))
def test_messages_of_a_trial_that_has_ended_change_nothing(outcome: Outcome) -> None:
    simulation = Simulation(document(), workers=2)
    conductor = simulation.conductor
    segment = conductor.next_segment()
    assert segment is not None
    conductor.end_trial(simulation.state.trials[segment.trial], outcome)
    before = list(simulation.events)
    report = {"step": 3, "tokens": 1, "fraction": 0.1, "seconds": 1.0, "metrics": {"eval_loss": 1}}
    messages: list[tuple[str, dict[str, Any]]] = [
        ("report", {**report, "rung": 0, "checkpoint": "x-3"}),
        ("trial_ended", {"outcome": "completed", "reason": "", "error": ""}),
        ("trial_interrupted", {"checkpoint": None}),
        ("sample", {"stage": "trained", "prompt": "", "text": ""}),
    ]
    for event, fields in messages:
        assert conductor.on_message(segment.trial, event, fields) is Decision.STOP
    conductor.on_worker_gone(segment.trial, "too late")
    assert simulation.events == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rung", [0, 2])
def test_an_objective_that_is_not_finite_at_a_rung_is_divergence(value: float, rung: int) -> None:
    steps = {0: 3, 2: 24}

    def curve(params: Mapping[str, Any], step: int) -> float:
        return value if step >= steps[rung] and params["x"] != 0.9 else crossing(params, step)

    state = Simulation(document(trials=6), curve=curve, workers=2).run()
    assert not completed(state) - {"0000"}
    assert Outcome.DIVERGED in {trial.outcome for trial in searched(state)}
    if rung == 0:
        assert {trial.outcome for trial in searched(state)} == {Outcome.DIVERGED}


def test_a_trial_that_reports_no_objective_fails_with_the_metrics_it_has() -> None:
    metric = {"name": "final_eval_los", "goal": "minimize"}
    state = Simulation(document(metric=metric), metric="eval_loss").run()
    assert state.ended == UNREPORTED
    assert "did you mean 'eval_loss'?" in state.trials["0000"].reason
    assert len(state.trials) == 1


def test_a_trial_that_says_completed_before_its_budget_is_spent_has_failed() -> None:
    simulation = Simulation(document())
    segment = simulation.conductor.next_segment()
    assert segment is not None
    ended = {"outcome": "completed", "reason": "", "error": ""}
    simulation.conductor.on_message(segment.trial, "trial_ended", ended)
    assert simulation.state.trials[segment.trial].outcome is Outcome.FAILED
    assert simulation.state.best() is None


def test_a_small_space_ends_the_study_when_all_of_it_was_tried() -> None:
    parameters = {"x": {"type": "int", "low": 1, "high": 4, "log": False, "step": None}}
    for searcher in ("random", "tpe", "grid"):
        resolved = document(trials=30, parameters=parameters, searcher=searcher, baseline=False)
        state = Simulation(resolved, workers=2).run()
        assert state.ended == EXHAUSTED
        assert sorted(trial.params["x"] for trial in state.trials.values()) == [1, 2, 3, 4]


def test_only_the_first_trial_is_asked_for_an_untrained_sample() -> None:
    conductor = Simulation(document(), workers=3).conductor
    wanted = [conductor.next_segment() for _ in range(3)]
    assert [s.wants_untrained_sample for s in wanted if s is not None] == [True, False, False]


def test_trackers_see_every_event_after_the_state_has_it() -> None:
    seen: list[tuple[str, float | None]] = []

    class Tracker:
        def on_event(self, event: Event, state: StudyState) -> None:
            assert state.updated == event["time"]
            seen.append((event["event"], state.updated))

        def close(self, timeout_s: float) -> None:
            raise AssertionError

    simulation = Simulation(document(trials=3), trackers=[Tracker()])
    simulation.run()
    assert [name for name, _ in seen] == [event["event"] for event in simulation.events]


def test_a_journal_on_disk_says_what_the_state_says(tmp_path: Path) -> None:
    simulation = on_disk(tmp_path, document(trials=6), workers=2, curve=sometimes_diverging)
    state = simulation.run()
    events, tail = read(tmp_path / FILE_NAME)
    assert tail is None
    assert repr(rebuild(events)) == repr(state)


def test_a_journal_cut_at_any_byte_can_be_resumed(tmp_path: Path) -> None:
    on_disk(tmp_path, document(trials=4)).run()
    raw = (tmp_path / FILE_NAME).read_bytes()
    first_line = raw.index(b"\n") + 1
    ended = raw.rindex(b'{"event":"study_ended"')
    expected = result(Simulation(document(trials=4)).run())
    for cut in range(first_line, ended, 97):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / FILE_NAME).write_bytes(raw[:cut])
        events, tail = read(folder / FILE_NAME)
        if tail is not None:
            journal = Journal(folder)
            journal.repair(tail)
            journal.close()
        assert read(folder / FILE_NAME) == (events, None)
        assert result(Simulation(document(trials=4), events=events).run()) == expected


def test_a_stop_that_was_decided_but_not_carried_out_holds_after_a_crash() -> None:
    """Written for schedulers that stop; ASHA only pauses."""

    class Stopper:
        rungs = (0.5, 1.0)

        def decide(self, state: StudyState, trial: Any, rung: int) -> Decision:
            return Decision.STOP

        def promote(self, state: StudyState, draining: bool) -> None:
            return None

        def hopeless(self, state: StudyState) -> list[Any]:
            return []

    resolved = document(trials=3, rungs=2)
    whole = Simulation(resolved, scheduler=Stopper())
    whole.run()
    cut = 1 + next(i for i, e in enumerate(whole.events) if e.get("decision") == "stop")
    resumed = Simulation(resolved, scheduler=Stopper(), events=whole.events[:cut])
    state = resumed.run()
    stopped = next(e["trial"] for e in whole.events if e.get("decision") == "stop")
    assert state.trials[stopped].outcome is Outcome.STOPPED
    assert state.trials[stopped].segments == 1


def test_the_memory_journal_keeps_what_a_file_would() -> None:
    event = MemoryJournal().append("report", metrics={"a": math.nan}, steps=(1, 2))
    assert event == {"event": "report", "time": 0.0, "metrics": {"a": "NaN"}, "steps": [1, 2]}


def lossy(trials: int = 8) -> tuple[Conductor, list[float]]:
    """A conductor as the engine has it, and its clock."""
    study, now = defined(trials=trials, baseline=False), [0.0]
    recorder = Recorder(StudyState(), MemoryJournal())
    losses = Losses(lambda: now[0])
    conductor = Conductor(recorder, make.searcher(study), make.scheduler(study), losses=losses)
    conductor.record("study_started", study=study.to_document(), software={}, machine={})
    return conductor, now


def begin(conductor: Conductor) -> str:
    segment = conductor.next_segment()
    assert segment is not None
    return segment.trial


def test_a_trial_that_loses_workers_at_one_place_waits_and_keeps_its_slot() -> None:
    conductor, now = lossy()
    conductor.on_worker_gone(begin(conductor), "died")
    assert begin(conductor) == "0000"
    conductor.on_worker_gone("0000", "died")
    assert conductor.occupied == 1
    assert begin(conductor) == "0001"
    now[0] += BACKOFF_S[2]
    assert conductor.occupied == 1
    assert begin(conductor) == "0000"


def test_a_study_does_not_end_while_its_last_trial_waits() -> None:
    conductor, now = lossy(trials=1)
    for _ in range(2):
        conductor.on_worker_gone(begin(conductor), "died")
    assert conductor.next_segment() is None
    assert conductor.state.ended is None
    now[0] += BACKOFF_S[2]
    assert begin(conductor) == "0000"


def test_a_machine_that_kills_all_workers_stops_the_study_and_not_its_trials() -> None:
    conductor, now = lossy()
    for _ in range(3):
        for trial in [begin(conductor), begin(conductor)]:
            conductor.on_worker_gone(trial, "no such folder")
        now[0] += 100
    last = begin(conductor)
    with pytest.raises(UserError, match=r"no trial makes progress: no such folder[\s\S]*resume"):
        conductor.on_worker_gone(last, "no such folder")
    assert [trial.outcome for trial in conductor.state.trials.values()] == [None, None]
    assert conductor.state.ended is None


def test_workers_may_die_as_often_as_they_like_where_trials_come_further() -> None:
    conductor, now = lossy()
    healthy = begin(conductor)
    report = {"step": 1, "tokens": 1, "fraction": 0.01, "seconds": 1.0, "metrics": {}}
    for _ in range(5):
        for _ in range(1 + MAX_LOSSES):
            conductor.on_worker_gone(begin(conductor), "died")
            now[0] += 100
        rest: dict[str, Any] = {"system": {}, "rung": None, "checkpoint": None}
        conductor.on_message(healthy, "report", {**report, **rest})
    lost = [t.id for t in conductor.state.trials.values() if t.outcome is Outcome.LOST]
    assert lost == ["0001", "0002", "0003", "0004", "0005"]


def test_what_a_searcher_raises_is_told_with_its_place_and_the_study_stays(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "class Mine:\n"
        "    def suggest(self, state, number):\n"
        "        return [{'x': 0.5}][number - 1]\n\n"
        "def create(space, seed):\n"
        "    return Mine()\n"
    )
    simulation = on_disk(tmp_path, document(searcher=str(path)))
    with pytest.raises(UserError, match=r"mine.py, line 3: the searcher raised IndexError") as told:
        simulation.run()
    assert "--debug" in str(told.value)
    events, tail = read(tmp_path / FILE_NAME)
    assert tail is None
    assert [e["trial"] for e in events if e["event"] == "trial_created"] == ["0000", "0001"]
    assert rebuild(events).ended is None


@pytest.mark.parametrize("call", ["decide", "promote", "hopeless", "bracket"])
def test_what_a_scheduler_raises_is_told_with_its_place(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = document(scheduler={"name": "hyperband" if call == "bracket" else "asha"})
    scheduler = make.scheduler(StudyDefinition.from_document(resolved))

    def raises(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(scheduler, call, raises)
    simulation = Simulation(resolved, scheduler=scheduler)
    with pytest.raises(UserError, match=r"test_conductor.py, line \d+: the scheduler raised Zero"):
        simulation.run()


def test_a_task_has_no_inactive_constant() -> None:
    parameters = {
        "optim": {"type": "choice", "values": ["adamw", "apex"], "weights": None},
        "beta": {"type": "fixed", "value": 0.95},
    }
    when = {"beta": "optim == 'adamw'"}
    study = document(parameters=parameters, when=when, baseline=False, searcher="grid")
    conductor = Simulation(study).conductor
    tasks = [conductor.next_segment(), conductor.next_segment()]
    assert [task and dict(task.params) for task in tasks] == [
        {"optim": "adamw", "beta": 0.95},
        {"optim": "apex"},
    ]


def evaluated(step: int, rung: int | None = None, **metrics: float) -> dict[str, Any]:
    """A report of a trial of 24 steps."""
    saved = None if rung is None else f"checkpoints/0000/step-{step}"
    figures = {"tokens": step, "step": step, "fraction": step / 24, "seconds": 1.0}
    return {**figures, "metrics": metrics, "rung": rung, "checkpoint": saved}


@pytest.mark.parametrize("rung", [None, 0])
def test_a_metric_that_the_first_evaluation_lacks_ends_the_study_with_its_first_trial(
    rung: int | None,
) -> None:
    simulation, names = begun(2)
    conductor, state = simulation.conductor, simulation.state
    trained = evaluated(1, train_loss=2.0, grad_norm=1.0)
    assert conductor.on_message(names[0], "report", trained) is Decision.CONTINUE
    first = evaluated(3, rung, train_loss=2.0, eval_loose=2.0, eval_f1=0.5)
    assert conductor.on_message(names[0], "report", first) is Decision.STOP
    trial, other = (state.trials[name] for name in names)
    assert trial.outcome is Outcome.FAILED
    assert trial.reason == (
        "it reports no 'eval_loss' but eval_f1, eval_loose: did you mean 'eval_loose'?"
    )
    assert other.outcome is Outcome.CANCELLED
    assert state.ended == UNREPORTED
    assert conductor.next_segment() is None
    assert rebuild(simulation.events).ended == UNREPORTED


def test_figures_of_the_training_are_not_proposed_where_an_evaluation_reports_nothing() -> None:
    simulation, names = begun(1)
    told = evaluated(3, 0, train_loss=2.0, grad_norm=1.0)
    simulation.conductor.on_message(names[0], "report", told)
    assert simulation.state.trials[names[0]].reason == (
        "it reports no 'eval_loss': its evaluations report nothing"
    )
    assert simulation.state.ended == UNREPORTED


def test_a_metric_that_some_trial_reports_fails_only_those_that_do_not() -> None:
    simulation, names = begun(2)
    conductor, state = simulation.conductor, simulation.state
    conductor.on_message(names[0], "report", evaluated(3, eval_loss=2.0))
    conductor.on_message(names[1], "report", evaluated(3, eval_f1=2.0))
    assert state.trials[names[1]].outcome is Outcome.FAILED
    assert state.ended is None
    # Once is enough until a rung: it may be too dear for every evaluation.
    later = evaluated(4, eval_f1=2.0)
    assert conductor.on_message(names[0], "report", later) is Decision.CONTINUE
    assert conductor.on_message(names[0], "report", evaluated(5, 0, eval_f1=2.0)) is Decision.STOP


def test_a_trial_that_fails_before_its_first_evaluation_says_nothing_of_the_metric() -> None:
    simulation, names = begun(2)
    simulation.conductor.on_message(names[0], "report", evaluated(1, train_loss=2.0))
    ended = {"outcome": "failed", "reason": "ValueError: no", "error": ""}
    simulation.conductor.on_message(names[0], "trial_ended", ended)
    assert simulation.state.ended is None
