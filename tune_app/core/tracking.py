"""Tells a study's trackers what happens, so that none of them can harm the study."""

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
"""Where trackers warn as well: a session shows it to the person."""


def warn(problem: Problem, error: Exception) -> None:
    """One line that says what a tracker raised and where; the traceback goes along with it."""
    what = problem.what.splitlines()[0]
    goes_on = "the study goes on without it; mend it, and the next resume tells it again"
    _log.warning("%s", shown(f"{what} ({problem.where}): {goes_on}"), exc_info=error)


class TrackerGroup:
    """Tells trackers in order. One that raises is told no more until the study is resumed.

    Args:
        trackers: each with the name under which a person knows it.
        on_failure: what is done with the mistake of a tracker, once for each of them.
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
        """Places in the list of those that have raised."""

    def on_event(self, event: Event, state: StudyState) -> None:
        """Tells all that have not raised before."""
        for index, (_, tracker) in enumerate(self._trackers):
            if index not in self._failed:
                with self._guarded(index):
                    tracker.on_event(event, state)

    def close(self, timeout_s: float) -> None:
        """Closes all, the last one first, also those that have raised: they may hold something."""
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
