"""Estimates how much of a study is done and how long the rest will take."""

from __future__ import annotations

import json
from functools import cache

from tune_app.core.definition import StudyDefinition
from tune_app.core.state import StudyState
from tune_app.core.trial import Status
from tune_app.simulation.rehearsal import full_runs

MOST_REHEARSED = 200
"""The most trials in a rehearsal; a larger study is extrapolated."""


def expected_runs(state: StudyState) -> float:
    """Full runs that the study is expected to cost, from a rehearsal with its scheduler."""
    return _rehearsed(json.dumps(state.definition.to_document(), sort_keys=True))


@cache
def _rehearsed(document: str) -> float:
    study = StudyDefinition.from_document(json.loads(document))
    trials = study.budget.trials
    few = min(trials, MOST_REHEARSED)
    return full_runs(study.with_trials(few)) * trials / few


def spent_runs(state: StudyState) -> float:
    """Full runs spent so far: the sum of the trials' shares of the budget."""
    return sum(trial.fraction for trial in state.trials.values())


def remaining_s(state: StudyState, training_s: float) -> float | None:
    """Remaining seconds at the speed so far, None while too little was spent.

    `training_s` is the seconds since the first trial started, without pauses.
    """
    spent = spent_runs(state)
    if spent < 0.05 or training_s <= 0:
        return None
    left = max(expected_runs(state) - spent, certain_runs(state))
    return left * training_s / spent


def certain_runs(state: StudyState) -> float:
    """Full runs that are spent in any case: up to the next rung of running and new trials."""
    rungs = state.definition.rungs
    to_start = state.trials_planned - len(state.trials)
    running = [trial.fraction for trial in state.with_status(Status.RUNNING)]
    steps = (min((r for r in rungs if r > done), default=1.0) - done for done in running)
    return to_start * rungs[0] + sum(steps)
