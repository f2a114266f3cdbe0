"""ASHA, asynchronous successive halving, in the form that stops instead of pausing.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
(https://arxiv.org/abs/1810.05934), in the variant that its authors gave to Ray Tune and that Syne
Tune calls stopping: a trial that comes to a rung goes on when it is among the best 1/eta, rounded
up, of all that have come there so far, itself included; otherwise it ends. No trial ever waits, so
no checkpoint does either. The price is that early trials go far because there was little to compare
them with, and that who was stopped too early is lost; `asha` has neither fault.

A scheduler of its own rather than an option of `asha`: eta and rungs mean the same in both, and the
name alone says which rule ran.
"""

from __future__ import annotations

import math

from tune_app.core.ports import SchedulerContext
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState
from tune_app.schedulers._ladder import ladder


class StoppingAsha:
    """Stopping ASHA over given shares of the budget, ascending, the last one 1."""

    def __init__(self, eta: float, rungs: tuple[float, ...]) -> None:
        self.eta = eta
        self.rungs = rungs

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """The first one at a rung always goes on."""
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
        context: of the study; it changes nothing.
        eta: reduction factor; of `eta` trials that came to a rung one goes on.
        rungs: their number, for rungs at eta^-(rungs-1), …, 1/eta, 1; or the shares of the budget
            themselves, ascending, the last one 1.

    Raises:
        UserError: a value that makes no ladder.
    """
    return StoppingAsha(eta, ladder(eta, rungs))
