"""Passes a study's events to its trackers and catches their exceptions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tune_app.core.blame import problem_of
from tune_app.core.journal import Event
from tune_app.core.ports import Tracker
from tune_app.core.state import StudyState
from tune_app.errors import Problem, shown

_log = logging.getLogger("tune_app.trackers")
"""Trackers warn here as well; a session shows the warnings to the user."""


def warn(problem: Problem, error: Exception) -> None:
    """Logs one line that says what a tracker raised and where, with the traceback attached."""
    what = problem.what.splitlines()[0]
    advice = "the study continues without it; fix it, then resume the study to use it again"
    _log.warning("%s", shown(f"{what} ({problem.where}): {advice}"), exc_info=error)


class TrackerGroup:
    """Passes events to trackers in order; one that raises gets none until the study is resumed.

    Args:
        trackers: each with the name that is shown to the user.
        on_failure: called with the first exception of each tracker.
        clock: seconds.
    """

    def __init__(
        self,
        trackers: Iterable[tuple[str, Tracker]] = (),
        on_failure: Callable[[Problem, Exception], None] = warn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trackers = list(trackers)
        self._on_failure = on_failure
        self._clock = clock
        self._failed: set[int] = set()
        """Indices of the trackers that have raised."""

    def on_event(self, event: Event, state: StudyState) -> None:
        """Passes an event to all trackers that have not raised before."""
        for index, (_, tracker) in enumerate(self._trackers):
            if index not in self._failed:
                with self._guarded(index):
                    tracker.on_event(event, state)

    def close(self, timeout_s: float) -> None:
        """Closes all trackers, the last one first, within `timeout_s` seconds together.

        Those that have raised are closed as well: they may hold resources.
        """
        end = self._clock() + timeout_s
        for index, (_, tracker) in reversed(list(enumerate(self._trackers))):
            with self._guarded(index):
                tracker.close(max(0.0, end - self._clock()))

    @contextmanager
    def _guarded(self, index: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if index not in self._failed:
                self._failed.add(index)
                name, _ = self._trackers[index]
                self._on_failure(problem_of(f"tracker {name}", error), error)
