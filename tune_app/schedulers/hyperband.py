"""Asynchronous Hyperband: successive halving with several brackets.

Li et al., "Hyperband", JMLR 2018 (https://arxiv.org/abs/1603.06560), Algorithm 1, gives bracket s
ceil((s_max + 1) / (s + 1) * eta^s) trials; with TPE as the searcher this is BOHB (Falkner et al.,
ICML 2018, https://arxiv.org/abs/1807.01774). As in Li et al., "A System for Massively Parallel
Hyperparameter Tuning", MLSys 2020, section 3.3, each bracket runs promotion ASHA. Each round of
trials is divided among the brackets as in Algorithm 1, starting with the one whose first rung is
lowest; in a study of less than a round the brackets keep their proportions. A trial's bracket
depends on its number alone.

A trial passes the rungs below its bracket's first one without a comparison; the searcher still gets
its values there. This is worth the cost if values at the lowest rung say little about those at the
end; `asha` has only the bracket that starts at the lowest rung.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import accumulate

from tune_app.core.ports import SchedulerContext
from tune_app.core.state import StudyState
from tune_app.core.trial import Decision, TrialState
from tune_app.schedulers._ladder import ladder
from tune_app.schedulers.asha import Asha


class Hyperband:
    """Brackets over shared rungs; bracket `b` is ASHA that compares from rung `b` on."""

    def __init__(self, eta: float, rungs: tuple[float, ...], trials: int) -> None:
        self.rungs = rungs
        self._brackets = [Asha(eta, rungs, bracket) for bracket in range(len(rungs))]
        sizes = bracket_sizes(rungs)
        self._round = min(sum(sizes), trials)
        self._shares = [size / sum(sizes) for size in accumulate(sizes)]

    def bracket(self, number: int) -> int:
        """The index of the bracket of trial `number`."""
        place = number % self._round / self._round
        return sum(share <= place + 1e-9 for share in self._shares[:-1])

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """Continues a trial below its bracket's first rung; above, its bracket decides."""
        if rung < trial.bracket:
            return Decision.CONTINUE
        return self._brackets[trial.bracket].decide(state, trial, rung)

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        """Of the trials that brackets promote, the one with the highest rung; ties by bracket."""
        promoted = [bracket.promote(state, draining) for bracket in self._brackets]
        trials = [trial for trial in promoted if trial is not None]
        return max(trials, key=lambda trial: trial.top_rung or 0, default=None)

    def hopeless(self, state: StudyState) -> list[TrialState]:
        """Paused trials that can no longer be promoted in their bracket."""
        planned = range(len(state.trials), state.trials_planned)
        coming = Counter(map(self.bracket, planned))
        return [
            trial
            for index, bracket in enumerate(self._brackets)
            for trial in bracket.hopeless_among(state, coming[index])
        ]


def bracket_sizes(rungs: tuple[float, ...]) -> list[int]:
    """Hyperband's number of trials for each bracket (Algorithm 1, with 1 / rung for eta^s)."""
    count = len(rungs)
    return [math.ceil(count / (count - first) / share - 1e-9) for first, share in enumerate(rungs)]


def create(context: SchedulerContext, *, eta: float = 3, rungs: int | list[float] = 4) -> Hyperband:
    """The scheduler.

    Args:
        context: of the study, for its number of trials.
        eta: reduction factor; one in `eta` trials is promoted.
        rungs: a number of rungs, at eta^-(rungs-1), …, 1/eta, 1; or a list of shares of
            the budget, ascending, the last one 1. One bracket for each rung.

    Raises:
        UserError: `eta` or `rungs` is out of range.
    """
    return Hyperband(eta, ladder(eta, rungs), context.trials)
