"""Population based training: who takes over from whom, with what, and what a crash leaves."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.support.simulated import (
    InTurn,
    MemoryJournal,
    Simulation,
    context,
    crossing,
    defined,
    document,
    searched,
)
from tune_app.analysis import report_sections
from tune_app.console import screens
from tune_app.core.conductor import EXHAUSTED
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, Kind, Status
from tune_app.errors import UserError
from tune_app.schedulers import pbt
from tune_app.simulation.simulation import Curve
from tune_app.space.domains import Domain, Drawn, Float, Int, contains, to_document
from tune_app.storage.checkpoints import FolderCheckpoints
from tune_app.storage.retention import Retention
from tune_app.trackers import _wandb_run
from tune_app.trackers import optuna as optuna_tracker

SPACE = {
    "learning_rate": {"type": "float", "low": 0.1, "high": 1.0, "log": False, "step": None},
    "width": {"type": "int", "low": 1, "high": 64, "log": False, "step": None},
}
OPTIONS = {"name": "pbt", "interval": 0.25}


def population(trials: int = 8, **changes: Any) -> dict[str, Any]:
    return document(parameters=SPACE, scheduler=OPTIONS, trials=trials, baseline=False, **changes)


def exploits(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "trial_exploited"]


def by_width(params: Any, step: int) -> float:
    """Wider is better at every step."""
    return float(100.0 - params["width"] + params["learning_rate"] / 10)


@pytest.mark.parametrize("curve", [crossing, by_width])
@pytest.mark.parametrize("workers", [1, 3, 8])
def test_the_worst_quarter_takes_over_from_the_best_at_the_same_rung(
    workers: int, curve: Curve
) -> None:
    simulation = Simulation(population(), workers=workers, curve=curve)
    simulation.run()
    state, found = StudyState(), 0
    for event in simulation.events:
        if event["event"] == "trial_exploited":
            found += 1
            order = sorted(
                state.trials.values(), key=lambda t: (t.rung_values[event["rung"]], t.number)
            )
            assert event["trial"] in [trial.id for trial in order[-2:]]
            source = state.trials[event["source"]]
            assert source in order[:2]
            assert event["checkpoint"] == (source.checkpoint and source.checkpoint.name)
            assert event["checkpoint"].endswith(f"step-{6 * (event['rung'] + 1)}")
        state.apply(event)
    assert found == 2 * 3, "two of eight, at each of three intervals"


def test_a_takeover_copies_all_values_and_changes_the_mutable_ones() -> None:
    simulation = Simulation(population(), workers=2, curve=by_width)
    simulation.run()
    state = StudyState()
    for event in simulation.events:
        if event["event"] == "trial_exploited":
            before = state.trials[event["source"]].params
            own = state.trials[event["trial"]].params
            assert event["params"]["width"] == before["width"]
            moved = [before["learning_rate"] * factor for factor in (0.8, 1.2)]
            allowed = [min(max(value, 0.1), 1.0) for value in moved]
            assert event["params"]["learning_rate"] in allowed
            state.apply(event)
            trial = state.trials[event["trial"]]
            assert (trial.params, trial.due) == (event["params"], True)
            assert trial.takeovers[-1].params == own
            continue
        state.apply(event)


@pytest.mark.parametrize("seed", range(4))
def test_neither_the_number_of_workers_nor_their_speed_changes_who_takes_over(seed: int) -> None:
    resolved = population(seed=seed)
    journals = []
    for workers in (1, 2, 5, 8):
        simulation = Simulation(resolved, workers=workers)
        simulation.run()
        journals.append([{**e, "time": 0} for e in exploits(simulation.events)])
    assert journals[0]
    assert all(journal == journals[0] for journal in journals)


def test_a_population_smaller_than_the_study_asks_for_trains_side_by_side() -> None:
    """There are three values for nine trials."""
    choice = {"learning_rate": {"type": "choice", "values": [0.1, 0.2, 0.3], "weights": None}}
    times = []
    for trials in (3, 9):
        resolved = population(trials=trials) | {"parameters": choice}
        simulation = Simulation(resolved, workers=3)
        state = simulation.run()
        times.append(simulation.now)
        assert len(state.completed()) == 3
    assert times[0] == times[1]
    assert state.is_exhausted
    assert state.ended == EXHAUSTED


def test_all_wait_until_the_last_has_come() -> None:
    simulation = Simulation(population(trials=3))
    simulation.run()
    kinds = [
        (event["event"], event["trial"], event.get("rung"))
        for event in simulation.events
        if event["event"] in ("decision", "segment_started")
    ]
    begun = [trial for event, trial, _ in kinds if event == "segment_started"]
    assert begun[:3] == ["0000", "0001", "0002"]
    assert all(e["decision"] == Decision.PAUSE for e in simulation.events if "decision" in e)


@pytest.mark.parametrize("trials", [1, 2, 3, 5])
def test_small_populations_run_to_the_end(trials: int) -> None:
    state = Simulation(population(trials=trials), workers=2).run()
    assert len(state.completed()) == trials


@pytest.mark.parametrize("seed", range(6))
def test_lost_workers_change_nothing_but_the_time(seed: int) -> None:
    calm = Simulation(population(), workers=2)
    rough = Simulation(population(), workers=2, death=0.05, seed=seed)
    state = rough.run()
    calm.run()
    if all(trial.losses <= 3 for trial in state.trials.values()):
        assert [e["params"] for e in exploits(rough.events)] == [
            e["params"] for e in exploits(calm.events)
        ]


def test_a_driver_killed_after_any_event_takes_over_the_same() -> None:
    whole = Simulation(population(trials=5), workers=3)
    whole.run()
    expected = [{**e, "time": 0} for e in exploits(whole.events)]
    for length in range(1, len(whole.events)):
        resumed = Simulation(population(trials=5), workers=3, events=whole.events[:length])
        state = resumed.run()
        assert [{**e, "time": 0} for e in exploits(resumed.events)] == expected
        assert all(t.status is Status.ENDED for t in state.trials.values())


def test_a_change_that_breaks_a_constraint_is_not_made() -> None:
    resolved = population(constraints=["learning_rate < 0.55"])
    simulation = Simulation(resolved, workers=2)
    state = simulation.run()
    assert exploits(simulation.events)
    assert all(trial.params["learning_rate"] < 0.55 for trial in searched(state))


def test_a_change_that_makes_a_parameter_count_gives_it_a_value() -> None:
    kinds = {
        "kind": {"type": "choice", "values": ["a", "b"], "weights": None},
        "depth": {"type": "int", "low": 1, "high": 4, "log": False, "step": None},
    }
    resolved = population(trials=12, when={"depth": "kind == 'b'"})
    resolved |= {"parameters": SPACE | kinds, "scheduler": {**OPTIONS, "mutate": ["kind"]}}
    simulation = Simulation(resolved, workers=4, curve=by_width)
    state = simulation.run()
    taken = [event["params"] for event in exploits(simulation.events)]
    assert {params["kind"] for params in taken} == {"a", "b"}
    for params in [*taken, *(trial.params for trial in searched(state))]:
        assert ("depth" in params) == (params["kind"] == "b")


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (Float(0.0, 1.0), 0.5, {0.4, 0.6}),
        (Float(0.0, 1.0), 0.9, {0.72, 1.0}),
        (Float(0.0, 1.0, step=0.1), 0.1, {0.0, 0.2}),
        (Int(1, 10), 1, {1, 2}),
        (Int(0, 10), 2, {1, 3}),
        (Int(0, 100), 50, {40, 60}),
        (Drawn("log_normal", -7.0, 2.0), 1e-3, {0.8e-3, 1.2e-3}),
        (Drawn("log_uniform", 1e-5, 1e-1, 1e-5), 1e-3, {0.8e-3, 1.2e-3}),
        (Drawn("log_normal", 0.0, 1.0, 1), 0, {0, 1}),
        (Drawn("normal", 0.0, 1.0, 0.5), -0.5, {-1.0, 0.0}),
    ],
)
def test_a_number_moves_by_a_fifth_or_a_step_and_stays_in_its_range(
    domain: Domain, value: float, expected: set[float]
) -> None:
    study = defined(parameters={"x": to_document(domain)})
    moved = {
        pbt.Pbt(0.25, 0.25, ("x",))._changed(study, {"x": value}, Random(seed))["x"]
        for seed in range(30)
    }
    assert sorted(moved) == pytest.approx(sorted(expected))
    assert all(contains(domain, number) for number in moved)


def test_the_baseline_takes_no_part() -> None:
    resolved = population(trials=5) | {"baseline": True, "baseline_params": {"width": 1}}
    resolved["baseline_params"]["learning_rate"] = 0.5
    simulation = Simulation(resolved, curve=by_width)
    state = simulation.run()
    named = {e[key] for e in exploits(simulation.events) for key in ("trial", "source")}
    assert named
    assert not {t.id for t in state.trials.values() if t.kind is Kind.BASELINE} & named


def test_mirrors_have_the_last_values_and_those_before(tmp_path: Path) -> None:
    tracker = optuna_tracker.create(tmp_path)
    resolved = population() | {"trainable": "t", "method": "random", "project": "p"}
    simulation = Simulation(resolved, curve=by_width, trackers=[tracker])
    state = simulation.run()
    trial = state.trials[exploits(simulation.events)[0]["trial"]]
    config = _wandb_run.describe(state, trial).config
    assert config["width"] == trial.params["width"]
    assert config["tune"]["takeovers"][0]["params"] == trial.takeovers[0].params
    study = optuna.load_study(
        study_name=None,
        storage=JournalStorage(JournalFileBackend(str(tmp_path / optuna_tracker.FILE_NAME))),
    )
    (mirrored,) = [t for t in study.trials if t.user_attrs["trial"] == trial.id]
    assert mirrored.user_attrs["last_params"] == trial.params
    assert mirrored.params == trial.takeovers[0].params


def test_the_report_has_the_values_that_the_best_trial_had_on_its_way() -> None:
    simulation = Simulation(population(trials=12))
    state = simulation.run()
    changed = next(trial for trial in state.completed() if trial.takeovers)
    lines = report_sections.schedule(state, changed).splitlines()[4:]
    assert len(lines) == len(changed.takeovers) + 1
    assert [line.split("|")[2].strip() for line in lines[1:]] == [
        takeover.source for takeover in changed.takeovers
    ]
    plain = next(trial for trial in state.completed() if not trial.takeovers)
    assert report_sections.schedule(state, plain) == ""


def test_a_takeover_is_told_in_one_line() -> None:
    simulation = Simulation(population(), curve=by_width)
    state = simulation.run()
    event = exploits(simulation.events)[0]
    line = screens.told(event, state)
    assert line is not None
    assert line.startswith(f"trial {event['trial']} takes over from trial {event['source']}: ")
    assert "learning_rate" in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"interval": 0, "quantile": 0.6}, 2),
        ({"interval": "often"}, 1),
        ({"mutate": "learning_rate"}, 1),
        ({"mutate": ["learning_rate", "optim", "seed"]}, 2),
        ({"mutate": ["learning_rate", "learnin_rate", "weight_decay"]}, 2),
    ],
)
def test_options_that_do_not_fit_are_all_told(options: dict[str, Any], told: int) -> None:
    with pytest.raises(UserError) as caught:
        pbt.create(context(20, None, "learning_rate", "optim"), **options)
    assert len(caught.value.problems) == told


class Disk:
    """Writes the checkpoints that workers would, and checks those they load."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.loaded = 0

    def on_event(self, event: dict[str, Any], state: StudyState) -> None:
        if event["event"] == "report" and event["checkpoint"]:
            (self._folder / event["checkpoint"]).mkdir(parents=True)
        if event["event"] == "segment_started" and event["checkpoint"]:
            self.loaded += 1
            assert (self._folder / event["checkpoint"]).is_dir()
        for trial in state.with_status(Status.RUNNING):
            if trial.checkpoint and trial.takeovers:
                assert (self._folder / trial.checkpoint.name).is_dir()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("death", [0.0, 0.1])
def test_a_checkpoint_is_kept_until_nobody_begins_from_it_and_no_longer(
    tmp_path: Path, workers: int, death: float
) -> None:
    disk = Disk(tmp_path)
    simulation = Simulation(
        population(),
        workers=workers,
        death=death,
        keeper=InTurn(disk, Retention(FolderCheckpoints(tmp_path))),
        journal=MemoryJournal(),
    )
    state = simulation.run()
    assert disk.loaded
    left = sorted(path.parent.name for path in tmp_path.glob("checkpoints/*/step-*"))
    assert left == sorted(trial.id for trial in state.completed()[:3])
