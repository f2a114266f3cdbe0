"""Tells failures of single trials from a broken trainable and from a node that kills workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, TrialState
from tune_app.errors import Problem, UserError

MAX_LOSSES = 3
"""How often a trial restarts from the same checkpoint after its worker died; then it is lost."""

BACKOFF_S = {2: 10.0, 3: 60.0}
"""How long a trial waits by the number of workers it has lost at the same checkpoint.

It does not wait after the first.
"""

LOSSES_THAT_STOP = 5
"""The study stops after so many repeated losses without a report of any trial between them.

A loss is a repeated one if its trial had lost a worker at the same checkpoint before.
"""

FAILURES_THAT_STOP = 3
"""When this many trials fail in the same way and none gets further, the trainable is broken."""


class Losses:
    """Counts lost workers, delays the restart of their trials and stops a study that is stuck.

    A node with a broken disk could otherwise fail one trial after the other, each within a second.
    A trial that loses a second worker at the same checkpoint waits, and keeps its slot meanwhile.
    When no trial makes progress any more the study stops; it can be resumed once the cause is
    mended.

    Args:
        clock: seconds.
        backoff_s: seconds that a trial waits, by its losses at the same checkpoint.
        limit: repeated losses without progress that stop the study.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        backoff_s: Mapping[int, float] = BACKOFF_S,
        limit: float = LOSSES_THAT_STOP,
    ) -> None:
        self._clock = clock
        self._backoff_s = backoff_s
        self._limit = limit
        self._until: dict[str, float] = {}
        self._without_progress = 0

    def count(self, trial: TrialState, reason: str) -> None:
        """Counts a lost worker of a trial; the trial's own counters include it already.

        Raises:
            UserError: workers keep dying and no trial makes progress.
        """
        self._until[trial.id] = self._clock() + self._backoff_s.get(trial.losses_here, 0.0)
        self._without_progress += trial.losses_here > 1
        if self._without_progress < self._limit:
            return
        what = f"workers keep dying and no trial makes progress: {reason}"
        fix = f"see logs/trials/{trial.id}.log, mend the machine or the trainable, then resume"
        raise UserError(Problem(what, f"trial {trial.id}", fix=fix))

    def on_progress(self) -> None:
        """A trial made progress: earlier losses no longer count towards the limit."""
        self._without_progress = 0

    def in_backoff(self) -> set[str]:
        """The ids of trials that must not restart yet."""
        now = self._clock()
        self._until = {trial: until for trial, until in self._until.items() if until > now}
        return set(self._until)


def is_broken(state: StudyState) -> bool:
    """Whether the failures show a bug in the trainable, so that no trial will complete."""
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
    """Whether a trial was evaluated and failed, and no trial has ever reported the objective.

    Then none will: which metrics are reported does not depend on a trial's values.
    """
    trials = state.trials.values()
    if any(trial.latest(state.reported_metric) is not None for trial in trials):
        return False
    failed = (trial for trial in trials if trial.outcome is Outcome.FAILED)
    return any(report.is_evaluation for trial in failed for report in trial.reports)


def _kind(trial: TrialState) -> str:
    """The kind of failure: its reason without the details after the first colon."""
    return trial.reason.partition(":")[0]


def own_traceback(error: str) -> str:
    """The part of a traceback that starts in the trainable, without the frames that call it."""
    head, *frames = error.split(FRAME)
    own = next((i for i, frame in enumerate(frames) if "/tune_app/training/" not in frame), 0)
    return FRAME.join([head, *frames[own:]]).rstrip()


FRAME = "\n  File "
