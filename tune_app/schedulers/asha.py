"""ASHA, asynchronous successive halving, in its promotion form.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, Algorithm 2
(https://arxiv.org/abs/1810.05934). A trial pauses at each rung and runs on when it is among the
best 1/eta of all that reached the rung. Other than the stopping form, it never spends a whole
budget on the first trial just because there was nothing yet to compare it with.

Two things are added to the paper. When no trial is left to start and none has completed, the best
one is taken to the full budget even if the rungs are too thinly filled for the rule to promote it,
so that a study ends with an answer. And once a trial has completed, paused ones that can no longer
come among the best 1/eta, whatever the trials still to come report, end at once. The baseline
stands outside: it competes for no rung.
"""

from __future__ import annotations

from bisect import bisect_left

from tune_app.core.ports import SchedulerContext
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, Kind, TrialState
from tune_app.schedulers._ladder import ladder


class Asha:
    """Promotion ASHA over given shares of the budget, ascending, the last one 1.

    With a `bracket` it is for the trials of that bracket, compared from the rung of this index on.
    """

    def __init__(self, eta: float, rungs: tuple[float, ...], bracket: int = 0) -> None:
        self.eta = eta
        self.rungs = rungs
        self._bracket = bracket

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """The trial keeps its worker when it is promotable right away."""
        return Decision.CONTINUE if self._is_best(state, trial, rung) else Decision.PAUSE

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        """The best promotable trial of the highest rung that has one."""
        leaders = [
            (rung, waiting[0])
            for rung in reversed(range(self._bracket, state.full_rung))
            if (waiting := state.rankings.waiting(rung, self._bracket))
        ]
        for rung, trial in leaders:
            if self._is_best(state, trial, rung):
                return trial
        is_last_resort = leaders and draining and not _has_answer(state)
        return leaders[0][1] if is_last_resort else None

    def hopeless(self, state: StudyState) -> list[TrialState]:
        """Paused trials that no future report can bring among the best 1/eta of their rung.

        Until a trial has completed there are none: those ahead may all diverge.
        """
        planned = state.trials_planned - len(state.trials)
        return self.hopeless_among(state, planned)

    def hopeless_among(self, state: StudyState, planned: int) -> list[TrialState]:
        """The same when so many trials are still to be created."""
        found: list[TrialState] = []
        if not _has_answer(state):
            return found
        rankings, bracket = state.rankings, self._bracket
        coming = planned + len(rankings.open(bracket))
        for rung in range(bracket, state.full_rung):
            reached, waiting = rankings.reached(rung, bracket), rankings.waiting(rung, bracket)
            final_size = coming + len(rankings.ended(rung, bracket))
            found += waiting[bisect_left(waiting, final_size // self.eta, key=reached.rank) :]
        return found

    def _is_best(self, state: StudyState, trial: TrialState, rung: int) -> bool:
        """Whether it is among the best 1/eta of all that have reached the rung."""
        reached = state.rankings.reached(rung, self._bracket)
        return reached.rank(trial) < len(reached) // self.eta


def _has_answer(state: StudyState) -> bool:
    """Whether a searched trial has completed."""
    return any(trial.kind is Kind.SEARCH for trial in state.rankings.completed())


def create(context: SchedulerContext, *, eta: float = 3, rungs: int | list[float] = 3) -> Asha:
    """The scheduler.

    Args:
        context: of the study; it changes nothing.
        eta: reduction factor; one in `eta` trials is promoted.
        rungs: their number, for rungs at eta^-(rungs-1), …, 1/eta, 1; or the shares of the budget
            themselves, ascending, the last one 1.

    Raises:
        UserError: a value that makes no ladder.
    """
    return Asha(eta, ladder(eta, rungs))
