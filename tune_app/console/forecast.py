"""How much of a study is done, and when it will be over."""

from __future__ import annotations

from tune_app.state import StudyState
from tune_app.trial import Status


def expected_runs(state: StudyState) -> float:
    """Full runs that the study will cost, if each rung passes on what its ladder plans for.

    With rungs 1/9, 1/3, 1 a third of the trials passes each rung, and one at least.
    """
    document = state.document
    rungs, trials = document["rungs"], document["budget"]["trials"]
    searching = trials - (1 if document["baseline"] else 0)
    total, before = float(trials - searching), 0.0
    for rung in rungs:
        reaching = max(1.0, searching * rungs[0] / rung) if searching else 0.0
        total += reaching * (rung - before)
        before = rung
    return total


def spent_runs(state: StudyState) -> float:
    """Full runs spent so far."""
    return sum(trial.fraction for trial in state.trials.values())


def remaining_s(state: StudyState, training_s: float) -> float | None:
    """Seconds to go at the pace so far, None while there is none.

    `training_s` is the time since the first trial started.
    """
    spent = spent_runs(state)
    if spent < 0.05 or training_s <= 0:
        return None
    left = max(expected_runs(state) - spent, certain_runs(state))
    return left * training_s / spent


def certain_runs(state: StudyState) -> float:
    """Full runs that will be spent whatever happens: to the next rung of all that run or will."""
    rungs = state.document["rungs"]
    to_start = state.document["budget"]["trials"] - len(state.trials)
    running = [trial.fraction for trial in state.with_status(Status.RUNNING)]
    steps = (min((r for r in rungs if r > done), default=1.0) - done for done in running)
    return float(to_start * rungs[0]) + sum(steps)
