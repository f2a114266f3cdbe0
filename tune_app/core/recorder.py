"""The only writer of a study's journal; it then passes each event on in a fixed order."""

from __future__ import annotations

from typing import Any

from tune_app.core.journal import Journal
from tune_app.core.ports import CheckpointKeeper
from tune_app.core.state import StudyState
from tune_app.core.tracking import TrackerGroup


class Recorder:
    """Passes events to the journal, then the state, the checkpoint keeper and the trackers."""

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
        """Writes one event to the journal and passes it on.

        Raises:
            UserError: the journal cannot be written, or the checkpoints that are needed do not fit.
        """
        written = self._journal.append(event, **fields)
        self.state.apply(written)
        try:
            if self._keeper is not None:
                self._keeper.on_event(written, self.state)
        finally:
            # The event is in the journal even if it ends the session, so trackers get it as well.
            self._trackers.on_event(written, self.state)

    def commit(self) -> None:
        """Makes the journal durable; called before its consequences leave this process.

        Raises:
            UserError: the storage does not accept it.
        """
        self._journal.commit()

    def close(self, timeout_s: float) -> None:
        """Closes the trackers within `timeout_s`; whoever opened the journal closes it."""
        self._trackers.close(timeout_s)
