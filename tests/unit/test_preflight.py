"""What preflight makes of a budget, once the data is there and steps can be counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tune_app.core.definition import Metric, StudyDefinition
from tune_app.errors import UserError
from tune_app.plugins import make
from tune_app.study import file as study_file
from tune_app.training.preflight import preflight
from tune_app.training.preflight.messages import Findings

SWEEP = """
method: bayes
metric: {{name: final_eval_loss, goal: minimize}}
parameters:
  per_device_train_batch_size: {{values: [2, 8]}}
  gradient_accumulation_steps: {{values: [1, 2]}}
  dataset: {{value: "{corpus}"}}
  vocab_size: {{value: 400}}
  block_size: {{value: 32}}
  size: {{value: nano}}
  eval_tokens: {{value: 256}}
tune:
  trainable: causal_lm
  budget: {{{unit}: {amount}, trials: 40, evaluations: 2}}
  {scheduler}
"""
LARGEST_STEP = 8 * 2 * 32
"""Tokens of an optimiser step of the largest batch."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n".join(f"{i} books on checkpoints {i * i}" for i in range(2000)))
    return path


def study_of(
    corpus: Path, amount: float, unit: str = "tokens", scheduler: str = ""
) -> StudyDefinition:
    path = corpus.parent / "study.yaml"
    path.write_text(SWEEP.format(corpus=corpus, unit=unit, amount=amount, scheduler=scheduler))
    return study_file.load(path).to_definition()


def prepare(study: StudyDefinition, corpus: Path) -> Findings:
    return preflight.prepare(study, corpus.parent / "cache", lambda line: None)


@pytest.mark.parametrize(
    ("steps", "first"), [(60, 1 / 27), (54, 1 / 27), (53, 1 / 9), (17, 1 / 3), (5, 1.0)]
)
def test_automatic_rungs_leave_the_largest_batch_two_steps(
    corpus: Path, steps: int, first: float
) -> None:
    study = study_of(corpus, steps * LARGEST_STEP)
    assert study.rungs[0] == 1 / 27
    found = prepare(study, corpus)
    assert (found.budget.fewest_steps, found.rungs[0]) == (steps, first)
    told = [note for note in found.notes if "first rung" in note]
    assert len(told) == (first != 1 / 27)
    prepared = replace(study, budget=found.budget, rungs=found.rungs)
    assert make.scheduler(prepared).rungs == found.rungs


def test_rungs_that_were_asked_for_stay_and_need_a_step_each(corpus: Path) -> None:
    asked = "scheduler: {name: asha, rungs: [0.01, 0.02, 1]}"
    assert prepare(study_of(corpus, 3 * LARGEST_STEP, scheduler=asked), corpus).rungs[0] == 0.01
    with pytest.raises(UserError, match="are 2 optimiser steps at batch size 8 x accumulation 2"):
        prepare(study_of(corpus, 2 * LARGEST_STEP, scheduler=asked), corpus)


def test_a_metric_that_no_trial_will_report_is_refused_before_the_first(corpus: Path) -> None:
    study = study_of(corpus, 60 * LARGEST_STEP)
    resolved = replace(study, metric=Metric("final_eval_accuracy"))
    with pytest.raises(UserError, match="the trainable reports no 'eval_accuracy'"):
        prepare(resolved, corpus)


def test_a_goal_that_would_keep_the_worst_trial_is_told(corpus: Path) -> None:
    study = study_of(corpus, 60 * LARGEST_STEP)
    assert not [note for note in prepare(study, corpus).notes if "goal" in note]
    wrong = replace(study, metric=replace(study.metric, goal="maximize"))
    (note,) = [note for note in prepare(wrong, corpus).notes if "goal" in note]
    assert "a lower eval_loss is better (write goal: minimize)" in note


def test_a_budget_in_seconds_has_its_rungs_before_any_step_is_known(corpus: Path) -> None:
    found = prepare(study_of(corpus, 60, "seconds"), corpus)
    assert found.budget.fewest_steps is None
    assert found.rungs[0] == 1 / 27
