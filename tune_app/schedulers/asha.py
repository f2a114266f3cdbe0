"""ASHA, asynchronous successive halving, in its promotion form.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, Algorithm 2
(https://arxiv.org/abs/1810.05934). A trial pauses at each rung and is promoted once it is among the
best 1/eta of all that reached the rung. Unlike the stopping form, it never spends a whole budget on
the first trial only because there was nothing yet to compare it with.

Two rules are added to the paper. When no trial is left to start and none has completed, the best
one is promoted to the full budget even if too few trials reached its rung for the paper's rule, so
that a study has a result. And once a trial has completed, paused trials end as soon as no future
report can bring them among the best 1/eta. The baseline does not take part in the ranking.
"""

from __future__ import annotations

from bisect import bisect_left

from tune_app.core.ports import SchedulerContext
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, Kind, TrialState
from tune_app.schedulers._ladder import ladder


class Asha:
    """Promotion ASHA; `rungs` are shares of the budget, ascending, the last one 1.

    Handles the trials of one `bracket` only, and compares them from the rung of that index on.
    """

    def __init__(self, eta: float, rungs: tuple[float, ...], bracket: int = 0) -> None:
        self.eta = eta
        self.rungs = rungs
        self._bracket = bracket

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """Continues a trial that can be promoted immediately, pauses it otherwise."""
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

        Empty until a trial has completed: all trials that rank higher may still diverge.
        """
        planned = state.trials_planned - len(state.trials)
        return self.hopeless_among(state, planned)

    def hopeless_among(self, state: StudyState, planned: int) -> list[TrialState]:
        """The hopeless trials if `planned` trials are still to be created."""
        hopeless: list[TrialState] = []
        if not _has_answer(state):
            return hopeless
        rankings, bracket = state.rankings, self._bracket
        coming = planned + len(rankings.open(bracket))
        for rung in range(bracket, state.full_rung):
            reached, waiting = rankings.reached(rung, bracket), rankings.waiting(rung, bracket)
            final_size = coming + len(rankings.ended(rung, bracket))
            hopeless += waiting[bisect_left(waiting, final_size // self.eta, key=reached.rank) :]
        return hopeless

    def _is_best(self, state: StudyState, trial: TrialState, rung: int) -> bool:
        """Whether a trial is among the best 1/eta of all that have reached the rung."""
        reached = state.rankings.reached(rung, self._bracket)
        return reached.rank(trial) < len(reached) // self.eta


def _has_answer(state: StudyState) -> bool:
    """Whether a searched trial has completed."""
    return any(trial.kind is Kind.SEARCH for trial in state.rankings.completed())


def create(context: SchedulerContext, *, eta: float = 3, rungs: int | list[float] = 3) -> Asha:
    """The scheduler.

    Args:
        context: of the study; not used.
        eta: reduction factor; one in `eta` trials is promoted.
        rungs: a number of rungs, at eta^-(rungs-1), …, 1/eta, 1; or a list of shares of
            the budget, ascending, the last one 1.

    Raises:
        UserError: `eta` or `rungs` is out of range.
    """
    return Asha(eta, ladder(eta, rungs))
