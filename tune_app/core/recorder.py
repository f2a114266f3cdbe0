"""The only writer of a study's journal, and the order in which the others learn of an event."""

from __future__ import annotations

from typing import Any

from tune_app.core.journal import Journal
from tune_app.core.ports import CheckpointKeeper
from tune_app.core.state import StudyState
from tune_app.core.tracking import TrackerGroup


class Recorder:
    """Writes events: into the journal, then the state, then to the checkpoints and the trackers."""

    def __init__(
        self,
        state: StudyState,
        journal: Journal,
        trackers: TrackerGroup | None = None,
        keeper: CheckpointKeeper | None = None,
    ) -> None:
        self.state = state
        self._journal = journal
        self._trackers = trackers or TrackerGroup()
        self._keeper = keeper

    def record(self, event: str, **fields: Any) -> None:
        """Writes one event, and tells of it whom it concerns.

        Raises:
            UserError: the journal cannot be written, or the checkpoints that are needed do not fit.
        """
        written = self._journal.append(event, **fields)
        self.state.apply(written)
        try:
            if self._keeper is not None:
                self._keeper.on_event(written, self.state)
        finally:
            # It is in the journal, also where it is the last one of this session.
            self._trackers.on_event(written, self.state)

    def commit(self) -> None:
        """Called before anything that follows from the journal leaves this process.

        Raises:
            UserError: the storage does not take it.
        """
        self._journal.commit()

    def close(self, timeout_s: float) -> None:
        """Lets the trackers finish; the journal is closed by whoever opened it."""
        self._trackers.close(timeout_s)
