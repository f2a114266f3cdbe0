"""When failures are no longer those of trials: a broken trainable, a node that kills workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, TrialState
from tune_app.errors import Problem, UserError

MAX_LOSSES = 3
"""Times a trial is begun again at the same checkpoint after its worker died; then it is lost."""

REST_S = {2: 10.0, 3: 60.0}
"""How long a trial waits that has lost so many workers at the same place; after the first, not."""

LOSSES_THAT_STOP = 5
"""So many workers of trials that had lost one there before, and no report between: no accident."""

FAILURES_THAT_STOP = 3
"""When this many trials fail in the same way and none comes further, the trainable is broken."""


class Losses:
    """What lost workers mean for the work that is handed out next.

    A node without its disk takes a trial a second, if it is let. A trial that loses a worker where
    it lost one before waits, and its slot with it; when nothing comes further at all, the study
    stops, to be resumed when whatever it is has been mended.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        rest_s: Mapping[int, float] = REST_S,
        most: float = LOSSES_THAT_STOP,
    ) -> None:
        self._clock = clock
        self._rest_s = rest_s
        self._most = most
        self._until: dict[str, float] = {}
        self._in_vain = 0

    def count(self, trial: TrialState, reason: str) -> None:
        """The trial has lost its worker; the state knows it.

        Raises:
            UserError: workers die one after the other, and no trial comes further.
        """
        self._until[trial.id] = self._clock() + self._rest_s.get(trial.losses_here, 0.0)
        self._in_vain += trial.losses_here > 1
        if self._in_vain < self._most:
            return
        what = f"workers die one after the other, and no trial comes further: {reason}"
        fix = f"see logs/trials/{trial.id}.log, mend the machine or the trainable, then resume"
        raise UserError(Problem(what, f"trial {trial.id}", fix=fix))

    def forget(self) -> None:
        """Some trial came further."""
        self._in_vain = 0

    def resting(self) -> set[str]:
        """Trials that are not to be begun yet."""
        now = self._clock()
        self._until = {trial: until for trial, until in self._until.items() if until > now}
        return set(self._until)


def is_broken(state: StudyState) -> bool:
    """Whether trials fail so that no trial will complete: there is a bug in the trainable."""
    if state.best() is not None:
        return False
    trials = state.trials.values()
    failed = [trial for trial in trials if trial.outcome is Outcome.FAILED]
    if len(failed) < FAILURES_THAT_STOP:
        return False
    furthest = max((t.fraction for t in trials if t.outcome is not Outcome.FAILED), default=0.0)
    kinds = [_kind(trial) for trial in failed if trial.fraction >= furthest]
    return any(kinds.count(kind) >= FAILURES_THAT_STOP for kind in set(kinds))


def is_unreported(state: StudyState) -> bool:
    """Whether a trial was evaluated and failed, and none has ever reported the objective.

    None ever will: which metrics there are does not depend on a trial's values.
    """
    trials = state.trials.values()
    if any(trial.latest(state.reported_metric) is not None for trial in trials):
        return False
    failed = (trial for trial in trials if trial.outcome is Outcome.FAILED)
    return any(report.is_evaluation for trial in failed for report in trial.reports)


def _kind(trial: TrialState) -> str:
    """What was raised, without the figures of this trial."""
    return trial.reason.partition(":")[0]


def own_traceback(error: str) -> str:
    """A traceback from the trainable's own lines on, without those that call it."""
    head, *frames = error.split(FRAME)
    own = next((i for i, frame in enumerate(frames) if "/tune_app/training/" not in frame), 0)
    return FRAME.join([head, *frames[own:]]).rstrip()


FRAME = "\n  File "
