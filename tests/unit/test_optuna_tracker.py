"""The Optuna view against Optuna's own storage."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from tests.support.story import AWKWARD, DOCUMENT, EFFECTIVE, FLOAT, Story
from tune_app.core.state import StudyState
from tune_app.space import optuna_domains
from tune_app.trackers import optuna as optuna_tracker


def reopened(folder: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(folder / optuna_tracker.FILE_NAME)))
    return optuna.load_study(study_name="tiny study", storage=storage)


def test_the_optuna_view_has_states_values_and_intermediate_values(tmp_path: Path) -> None:
    story = Story(tmp_path, optuna_tracker.create(tmp_path))
    story.start()
    story.three_trials()
    story.begin(3)
    study = reopened(tmp_path)
    completed, stopped, diverged, running = study.trials
    assert [trial.state for trial in study.trials] == [
        OptunaState.COMPLETE,
        OptunaState.PRUNED,
        OptunaState.FAIL,
        OptunaState.RUNNING,
    ]
    assert completed.value == 2.0
    assert list(completed.intermediate_values) == [1000, 3000, 6000, 9000]
    assert stopped.intermediate_values == {1000: 4.5}
    assert diverged.intermediate_values == {1000: 4.25}
    assert diverged.user_attrs["not_finite_at_tokens"] == [2000, 3000]
    outcomes = [trial.user_attrs.get("outcome") for trial in study.trials]
    assert outcomes == ["completed", "stopped", "diverged", None]
    assert running.user_attrs["effective"] == EFFECTIVE
    assert study.best_trial.params["optim"] == "adafactor"
    assert study.direction == optuna.study.StudyDirection.MINIMIZE


def test_a_resumed_optuna_view_has_no_duplicates(tmp_path: Path) -> None:
    story = Story(tmp_path, optuna_tracker.create(tmp_path))
    story.start()
    story.complete(0)
    unfinished = story.begin(1)
    story.report(unfinished, 10, 4.0, rung=0)
    view = tmp_path / optuna_tracker.FILE_NAME
    with open(view, "ab") as file:
        file.write(b'{"op_code": 4, "worke')  # a driver killed in the middle of a line
    (tmp_path / f"{view.name}.lock").touch()  # and with the lock in its hand
    story.tracker = optuna_tracker.create(tmp_path)
    story.tell("study_resumed", software={}, machine={})
    story.end(unfinished, "cancelled")
    study = reopened(tmp_path)
    assert [trial.user_attrs["trial"] for trial in study.trials] == ["0000", "0001"]
    assert study.trials[1].state is OptunaState.FAIL


def test_feeding_all_events_again_changes_nothing_in_the_optuna_view(tmp_path: Path) -> None:
    story = Story(tmp_path, optuna_tracker.create(tmp_path))
    story.start()
    story.three_trials()
    before = (tmp_path / optuna_tracker.FILE_NAME).read_bytes()
    again = optuna_tracker.create(tmp_path)
    replay = StudyState()
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        replay.apply(event)
        again.on_event(event, replay)
    assert (tmp_path / optuna_tracker.FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("value", AWKWARD, ids=repr)
def test_values_of_any_type_survive_the_optuna_view(tmp_path: Path, value: Any) -> None:
    story = Story(tmp_path, optuna_tracker.create(tmp_path))
    story.start()
    story.complete(0, awkward=value)
    held = reopened(tmp_path).trials[0].params["awkward"]
    back = optuna_domains.from_optuna(DOCUMENT["parameters"]["awkward"], held)
    assert json.dumps(back) == json.dumps(value)


def test_a_baseline_outside_of_the_space_is_told_in_an_attribute(tmp_path: Path) -> None:
    story = Story(tmp_path, optuna_tracker.create(tmp_path))
    story.start()
    story.complete(0, learning_rate=0.5, optim="sgd")
    trial = reopened(tmp_path).trials[0]
    assert trial.user_attrs["params"] == {"learning_rate": 0.5, "optim": "sgd"}
    assert set(trial.params) == {"warmup_steps", "awkward"}


def test_trials_have_the_distributions_of_the_space_that_preflight_left(tmp_path: Path) -> None:
    story = Story(tmp_path, optuna_tracker.create(tmp_path))
    story.start()
    story.tell("choice_dropped", parameter="optim", value="adamw_torch", reason="not here")
    left = {"type": "choice", "values": ["adafactor"], "weights": None}
    added = {"type": "int", "low": 1, "high": 8, "log": False, "step": None}
    space = DOCUMENT["parameters"] | {"optim": left, "depth": added}
    del space["warmup_steps"]
    story.tell("study_prepared", parameters=space)
    story.complete(0, depth=2)
    trial = reopened(tmp_path).trials[0]
    searched = {name: domain for name, domain in space.items() if domain["type"] != "fixed"}
    assert trial.distributions == {
        name: optuna_domains.distribution(domain) for name, domain in searched.items()
    }
    assert trial.user_attrs["params"] == {"warmup_steps": 10}


def test_an_optuna_view_that_cannot_be_written_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / optuna_tracker.FILE_NAME).mkdir()
    story = Story(tmp_path, optuna_tracker.create(tmp_path))
    with caplog.at_level(logging.WARNING):
        story.start()
        story.three_trials()
    assert len(caplog.records) == 1


def number(kind: str, low: float, high: float, log: bool, step: float | None) -> dict[str, Any]:
    return {"type": kind, "low": low, "high": high, "log": log, "step": step}


NUMBERS = [
    number("float", 0.0, 1.0, False, None),
    number("float", 0.0, 0.3, False, 0.1),
    number("float", 0.0, 1.0, False, 0.3),
    number("float", 0.05, 0.9, True, 0.05),
    FLOAT,
    number("int", 1, 10, False, 4),
    number("int", 1, 1000, True, None),
    number("int", 4, 1000, True, 4),
]


@pytest.mark.parametrize("domain", NUMBERS, ids=str)
@pytest.mark.filterwarnings("error")
def test_suggestions_come_back_on_the_step_and_can_be_told_again(domain: dict[str, Any]) -> None:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    distribution = optuna_domains.distribution(domain)
    for _ in range(50):
        suggested = study.ask({"x": distribution}).params["x"]
        value = optuna_domains.from_optuna(domain, suggested)
        assert type(value) is (int if domain["type"] == "int" else float)
        assert domain["low"] <= value <= domain["high"]
        if domain["step"] is not None:
            steps = (value - domain["low"]) / domain["step"]
            assert steps == pytest.approx(round(steps))
        told = optuna_domains.to_optuna(domain, value)
        # Raises for a value that the distribution does not hold.
        create_trial(params={"x": told}, distributions={"x": distribution}, value=0.0)
        assert optuna_domains.from_optuna(domain, told) == value


@pytest.mark.parametrize("value", [2.0, -1.0, True, "0.5", None, float("nan")])
def test_a_number_outside_of_its_range_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"outside|is no"):
        optuna_domains.to_optuna(NUMBERS[0], value)


def test_choices_that_differ_for_optuna_keep_their_raw_values() -> None:
    domain = {"type": "choice", "values": [1, 2.5, None, "a"], "weights": None}
    distribution = optuna_domains.distribution(domain)
    assert isinstance(distribution, optuna.distributions.CategoricalDistribution)
    assert distribution.choices == (1, 2.5, None, "a")
    with pytest.raises(ValueError, match="is not among"):
        optuna_domains.to_optuna(domain, True)


def test_a_fixed_value_has_no_distribution() -> None:
    with pytest.raises(ValueError, match="fixed"):
        optuna_domains.distribution({"type": "fixed", "value": 1})
