"""ASHA, asynchronous successive halving, in the form that stops instead of pausing.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
(https://arxiv.org/abs/1810.05934), in the variant that its authors gave to Ray Tune and that Syne
Tune calls stopping: a trial that reaches a rung continues if it is among the best 1/eta, rounded
up, of all that have reached it so far, itself included; otherwise it ends. No trial is ever paused,
so no checkpoint has to be kept. In return, early trials run far because there was little to compare
them with, and a trial that was stopped too early cannot be resumed; `asha` avoids both.

It is a separate scheduler instead of an option of `asha`, so that the name alone tells which rule
was used; eta and rungs mean the same in both.
"""

from __future__ import annotations

import math

from tune_app.core.ports import SchedulerContext
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState
from tune_app.schedulers._ladder import ladder


class StoppingAsha:
    """Stopping ASHA; `rungs` are shares of the budget, ascending, the last one 1."""

    def __init__(self, eta: float, rungs: tuple[float, ...]) -> None:
        self.eta = eta
        self.rungs = rungs

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """Continues or stops a trial; the first one at a rung always continues."""
        reached = state.rankings.reached(rung)
        is_best = reached.rank(trial) < math.ceil(len(reached) / self.eta)
        return Decision.CONTINUE if is_best else Decision.STOP

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        return None

    def hopeless(self, state: StudyState) -> list[TrialState]:
        return []


def create(
    context: SchedulerContext, *, eta: float = 3, rungs: int | list[float] = 3
) -> StoppingAsha:
    """The scheduler.

    Args:
        context: of the study; not used.
        eta: reduction factor; one in `eta` trials that reach a rung continues.
        rungs: a number of rungs, at eta^-(rungs-1), …, 1/eta, 1; or a list of shares of
            the budget, ascending, the last one 1.

    Raises:
        UserError: `eta` or `rungs` is out of range.
    """
    return StoppingAsha(eta, ladder(eta, rungs))
