"""The median stopping rule of Vizier: ends trials that fall behind what is usual.

Golovin et al., "Google Vizier", KDD 2017, section 3.2.2: a trial is stopped when its best objective
so far is strictly worse than the median of the other trials' running averages up to the same point.
Points are the rungs, so that all are compared at the same share of the budget; others are all that
have come as far, ended or not. Gentle: it needs no reduction factor, and about half of all trials
run to the end.
"""

from __future__ import annotations

from tune_app.core.ports import SchedulerContext
from tune_app.core.rankings import Ranking
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState
from tune_app.errors import Problem, UserError
from tune_app.schedulers._ladder import rung_problems


class Median:
    """Compares at rungs from the share `grace` on, with at least `min_trials` others."""

    def __init__(self, rungs: tuple[float, ...], grace: float, min_trials: int) -> None:
        self.rungs = rungs
        self.grace = grace
        self.min_trials = min_trials

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """Stops a trial that is worse than the median; with too few others it goes on."""
        averages = state.rankings.averages(rung)
        if self.rungs[rung] < self.grace or len(averages) - 1 < self.min_trials:
            return Decision.CONTINUE
        best = min(state.sign * value for value in trial.rung_values.values())
        is_behind = best > _median_of_others(averages, trial)
        return Decision.STOP if is_behind else Decision.CONTINUE

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        return None

    def hopeless(self, state: StudyState) -> list[TrialState]:
        return []


def _median_of_others(averages: Ranking, trial: TrialState) -> float:
    """The median of all values but the trial's own."""
    own, count = averages.rank(trial), len(averages) - 1
    middle = [(count - 1) // 2, count // 2]
    others = (averages[place + (place >= own)] for place in middle)
    return sum(averages.value(other) for other in others) / 2


def create(
    context: SchedulerContext,
    *,
    rungs: int | list[float] = 8,
    grace: float = 0.25,
    min_trials: int = 3,
) -> Median:
    """The scheduler.

    Args:
        context: of the study; it changes nothing.
        rungs: their number, for evenly spaced ones; or the shares of the budget themselves,
            ascending, the last one 1.
        grace: share of the budget before which no trial is stopped.
        min_trials: how many others must have come as far.

    Raises:
        UserError: a value that does not fit.
    """
    problems = rung_problems(rungs)
    if not isinstance(grace, (int, float)) or not 0 <= grace <= 1:
        what, expected = f"{grace!r} is no share of the budget", "a number from 0 to 1"
        problems.append(Problem(what, "tune.scheduler.grace", expected))
    if type(min_trials) is not int or min_trials < 1:
        what, expected = f"{min_trials!r} is no number of trials", "a whole number from 1"
        problems.append(Problem(what, "tune.scheduler.min_trials", expected))
    if problems:
        raise UserError(problems)
    given = rungs if isinstance(rungs, list) else [(i + 1) / rungs for i in range(rungs)]
    return Median(tuple(float(rung) for rung in given), grace, min_trials)
