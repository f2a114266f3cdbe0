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

from tune_app.schedulers._ladder import ladder
from tune_app.state import StudyState
from tune_app.trial import Decision, Kind, TrialState


class Asha:
    """Promotion ASHA over given shares of the budget, ascending, the last one 1."""

    def __init__(self, eta: float, rungs: tuple[float, ...]) -> None:
        self.eta = eta
        self.rungs = rungs

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """The trial keeps its worker when it is promotable right away."""
        reached = state.standings.reached(rung)
        is_best = reached.rank(trial) < len(reached) // self.eta
        return Decision.CONTINUE if is_best else Decision.PAUSE

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        """The best promotable trial of the highest rung that has one."""
        waiting = [state.standings.waiting(rung) for rung in range(state.full_rung)]
        for rung, trials in reversed(list(enumerate(waiting))):
            reached = state.standings.reached(rung)
            if trials and reached.rank(trials[0]) < len(reached) // self.eta:
                return trials[0]
        if not draining or _has_answer(state):
            return None
        return next((trials[0] for trials in reversed(waiting) if trials), None)

    def hopeless(self, state: StudyState) -> list[TrialState]:
        """Paused trials that no future report can bring among the best 1/eta of their rung.

        Until a trial has completed there are none: those ahead may all diverge.
        """
        found: list[TrialState] = []
        if _has_answer(state):
            for rung in range(state.full_rung):
                reached, waiting = state.standings.reached(rung), state.standings.waiting(rung)
                places = _final_size(state, rung) // self.eta
                found += waiting[bisect_left(waiting, places, key=reached.rank) :]
        return found


def _final_size(state: StudyState, rung: int) -> int:
    """The most trials that can ever have a value at `rung`."""
    planned = int(state.document["budget"]["trials"]) - len(state.trials)
    return planned + len(state.standings.open()) + len(state.standings.ended(rung))


def _has_answer(state: StudyState) -> bool:
    return any(trial.kind is Kind.SEARCH for trial in state.standings.completed())


def create(*, eta: float = 3, rungs: int | list[float] = 3) -> Asha:
    """The scheduler.

    Args:
        eta: reduction factor; one in `eta` trials is promoted.
        rungs: their number, for rungs at eta^-(rungs-1), …, 1/eta, 1; or the shares of the budget
            themselves, ascending, the last one 1.

    Raises:
        UserError: a value that makes no ladder.
    """
    return Asha(eta, ladder(eta, rungs))
