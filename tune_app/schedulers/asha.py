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

from collections.abc import Sequence
from itertools import pairwise

from tune_app.errors import Problem, UserError
from tune_app.state import StudyState
from tune_app.trial import Decision, Kind, Outcome, Status, TrialState


class Asha:
    """Promotion ASHA over given shares of the budget, ascending, the last one 1."""

    def __init__(self, eta: float, rungs: tuple[float, ...]) -> None:
        self.eta = eta
        self.rungs = rungs

    def decide(self, state: StudyState, trial: TrialState, rung: int) -> Decision:
        """The trial keeps its worker when it is promotable right away."""
        best = self._ranking(state, rung)[: self._quota(state, rung)]
        return Decision.CONTINUE if trial in best else Decision.PAUSE

    def promote(self, state: StudyState, draining: bool) -> TrialState | None:
        """The best promotable trial of the highest rung that has one."""
        for rung in reversed(range(state.full_rung)):
            best = self._ranking(state, rung)[: self._quota(state, rung)]
            for trial in best:
                if _waits_at(trial, rung):
                    return trial
        return self._last_resort(state) if draining else None

    def hopeless(self, state: StudyState) -> list[TrialState]:
        """Paused trials that no future report can bring among the best 1/eta of their rung.

        Until a trial has completed there are none: those ahead may all diverge.
        """
        if not _has_answer(state):
            return []
        return [
            trial
            for rung in range(state.full_rung)
            for rank, trial in enumerate(self._ranking(state, rung))
            if _waits_at(trial, rung) and rank >= self._final_size(state, rung) // self.eta
        ]

    def _ranking(self, state: StudyState, rung: int) -> list[TrialState]:
        """All trials with a value at `rung`, best first."""
        reached = [trial for trial in _competitors(state) if rung in trial.rung_values]
        return sorted(reached, key=lambda t: (state.sign * t.rung_values[rung], t.number))

    def _quota(self, state: StudyState, rung: int) -> int:
        return int(len(self._ranking(state, rung)) // self.eta)

    def _final_size(self, state: StudyState, rung: int) -> int:
        """The most trials that can ever have a value at `rung`."""
        planned = state.document["budget"]["trials"] - len(state.trials)
        open_or_there = sum(
            rung in trial.rung_values or trial.status is not Status.ENDED
            for trial in _competitors(state)
        )
        return int(planned) + open_or_there

    def _last_resort(self, state: StudyState) -> TrialState | None:
        if _has_answer(state):
            return None
        for rung in reversed(range(state.full_rung)):
            for trial in self._ranking(state, rung):
                if _waits_at(trial, rung):
                    return trial
        return None


def _competitors(state: StudyState) -> list[TrialState]:
    return [trial for trial in state.trials.values() if trial.kind is Kind.SEARCH]


def _has_answer(state: StudyState) -> bool:
    return any(trial.outcome is Outcome.COMPLETED for trial in _competitors(state))


def _waits_at(trial: TrialState, rung: int) -> bool:
    return trial.status is Status.PAUSED and not trial.due and trial.top_rung == rung


MAX_ETA, MAX_RUNGS = 100, 10


def create(*, eta: float = 3, rungs: int | list[float] = 3) -> Asha:
    """The scheduler.

    Args:
        eta: reduction factor; one in `eta` trials is promoted.
        rungs: their number, for rungs at eta^-(rungs-1), …, 1/eta, 1; or the shares of the budget
            themselves, ascending, the last one 1.

    Raises:
        UserError: a value that makes no ladder.
    """
    problems = []
    if not isinstance(eta, (int, float)) or not 1 < eta <= MAX_ETA:
        what, expected = f"{eta!r} is no reduction factor", f"a number above 1, at most {MAX_ETA}"
        problems.append(Problem(what, "tune.scheduler.eta", expected))
    if not (_is_ladder(rungs) if isinstance(rungs, list) else _is_count(rungs)):
        what = f"{rungs!r} are no rungs"
        expected = f"a whole number from 1 to {MAX_RUNGS}, or shares such as [0.1, 0.3, 1]"
        problems.append(Problem(what, "tune.scheduler.rungs", expected))
    if problems:
        raise UserError(problems)
    if isinstance(rungs, list):
        return Asha(eta, tuple(float(rung) for rung in rungs))
    return Asha(eta, tuple(eta ** (index - rungs + 1) for index in range(rungs)))


def _is_count(rungs: object) -> bool:
    return type(rungs) is int and 1 <= rungs <= MAX_RUNGS


def _is_ladder(rungs: Sequence[object]) -> bool:
    shares = [rung for rung in rungs if isinstance(rung, (int, float)) and 0 < rung <= 1]
    ascending = all(low < high for low, high in pairwise(shares))
    return len(shares) == len(rungs) <= MAX_RUNGS and ascending and shares[-1:] == [1]
