"""Journals of version 0.1.0, written before a study had a typed definition, are gone on with.

`asha` was interrupted with Ctrl-C, `pbt` with `kill -9`. What is expected is what the version that
wrote them said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tune_app.budget import Unit
from tune_app.core.definition import StudyDefinition
from tune_app.core.state import StudyState, rebuild
from tune_app.core.trial import Outcome, Status
from tune_app.plugins import make
from tune_app.simulation.simulation import Simulation

JOURNALS = Path(__file__).parents[1] / "fixtures" / "journals"
NAMES = ["asha", "pbt"]


def events(name: str) -> list[dict[str, Any]]:
    text = (JOURNALS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def state(name: str) -> StudyState:
    return rebuild(events(name))


def test_the_study_is_read_with_all_that_it_says() -> None:
    study = state("asha").definition
    assert (study.budget.unit, study.budget.amount, study.budget.trials) == (
        Unit.TOKENS,
        40_000,
        12,
    )
    assert study.budget.fewest_steps == 78
    assert (study.scheduler.name, dict(study.scheduler.options)) == ("asha", {"eta": 3})
    assert study.when == {"adam_beta2": "optim in ['adamw_torch']"}
    assert study.prior["learning_rate"].octaves == 2
    assert study.metric.reported == "eval_loss"
    assert study.baseline_params is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_document_is_written_as_it_was_read(name: str) -> None:
    study = state(name).definition
    again = StudyDefinition.from_document(json.loads(json.dumps(study.to_document())))
    assert again == study
    assert events(name)[0]["study"].keys() <= study.to_document().keys()


def test_trials_stand_where_they_stood() -> None:
    trials = state("asha").trials.values()
    assert [trial.status for trial in trials] == [Status.ENDED, *[Status.PAUSED] * 7]
    assert [trial.top_rung for trial in trials] == [2, 0, 1, 0, 0, 0, 0, 0]
    assert [trial.id for trial in trials if trial.due] == ["0006"]
    killed = state("pbt")
    assert [trial.id for trial in killed.with_status(Status.RUNNING)] == ["0001", "0002"]
    assert any(trial.takeovers for trial in killed.trials.values())


def test_searcher_and_scheduler_say_what_they_would_have_said() -> None:
    asha, pbt = state("asha"), state("pbt")
    promoted = make.scheduler(asha.definition).promote(asha, draining=True)
    assert promoted is not None
    assert promoted.id == "0002"
    suggested = make.searcher(pbt.definition).suggest(pbt, 8)
    assert suggested == {
        "learning_rate": pytest.approx(0.00010124031956242691),
        "weight_decay": pytest.approx(0.022493533356434392),
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_study_goes_on_to_its_end(name: str) -> None:
    before = events(name)
    simulation = Simulation(state(name).definition, events=before, workers=2, max_steps=78)
    ended = simulation.run()
    assert ended.ended is not None
    assert len(ended.trials) == ended.definition.budget.trials
    assert simulation.events[: len(before)] == before
    assert all(trial.outcome is not None for trial in ended.trials.values())
    assert sum(trial.outcome is Outcome.COMPLETED for trial in ended.trials.values()) >= 2
