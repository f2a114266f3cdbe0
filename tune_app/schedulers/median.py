"""The median stopping rule of Vizier: stops trials that are worse than the median.

Golovin et al., "Google Vizier", KDD 2017, section 3.2.2: a trial is stopped when its best objective
so far is strictly worse than the median of the other trials' running averages up to the same point.
These points are the rungs, so that all are compared at the same share of the budget; the other
trials are all that have reached the rung, ended or not. The rule is conservative: it needs no
reduction factor, and about half of all trials run to the end.
"""

from __future__ import annotations

from tune_app.core.ports import SchedulerContext
from tune_app.core.rankings import Ranking
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState
from tune_app.errors import Problem, UserError
from tune_app.schedulers._ladder import rung_problems


class Median:
    """Compares from share `grace` of the budget on, with `min_trials` other trials or more."""

    def __init__(self, rungs: tuple[float, ...], grace: float, min_trials: int) -> None:
        self.rungs = rungs
        self.grace = grace
        self.min_trials = min_trials

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """Stops a trial that is worse than the median; with too few others it continues."""
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
        context: of the study; not used.
        rungs: a number of evenly spaced rungs; or a list of shares of the budget,
            ascending, the last one 1.
        grace: share of the budget before which no trial is stopped.
        min_trials: how many other trials must have reached the rung.

    Raises:
        UserError: an option is out of range.
    """
    problems = rung_problems(rungs)
    if not isinstance(grace, (int, float)) or not 0 <= grace <= 1:
        what, expected = f"{grace!r} is not a share of the budget", "a number from 0 to 1"
        problems.append(Problem(what, "tune.scheduler.grace", expected))
    if type(min_trials) is not int or min_trials < 1:
        what, expected = f"{min_trials!r} is not a number of trials", "a whole number from 1"
        problems.append(Problem(what, "tune.scheduler.min_trials", expected))
    if problems:
        raise UserError(problems)
    shares = rungs if isinstance(rungs, list) else [(i + 1) / rungs for i in range(rungs)]
    return Median(tuple(float(rung) for rung in shares), grace, min_trials)
