"""How a segment ended, as an event for the driver; which part of the system an exception blames."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tune_app.core.trial import Outcome
from tune_app.storage.disk_faults import is_storage_fault
from tune_app.training.memory import is_out_of_memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """An event that ends the segment; plain data that travels between processes."""

    event: str
    fields: dict[str, Any]
    at: float = field(default_factory=time.monotonic)
    """Monotonic time in seconds; all processes of a node share this clock."""

    @property
    def is_failure(self) -> bool:
        return self.fields.get("outcome") != Outcome.COMPLETED


def ended(outcome: Outcome, reason: str = "", error: str = "") -> AttemptResult:
    """The trial is over."""
    fields = {"outcome": outcome.value, "reason": reason, "error": error}
    return AttemptResult("trial_ended", fields)


def lost(reason: str) -> AttemptResult:
    """The trial is not to blame: it restarts from its last checkpoint."""
    return AttemptResult("segment_lost", {"reason": reason})


def failure(raised: Exception, halves: dict[str, int] | None, error: str) -> AttemptResult:
    """The result for an exception: by fault of the storage, of the memory, or of the trial itself.

    `halves` are the batch values of the next attempt if memory ran out; None for no next attempt.
    """
    reason = f"{type(raised).__name__}: {raised}"
    if is_storage_fault(raised):
        return lost(reason)
    if not is_out_of_memory(raised):
        logger.error("the trial failed\n%s", error)
        return ended(Outcome.FAILED, reason, error)
    if halves is None:
        return ended(Outcome.OUT_OF_MEMORY, reason, error)
    return AttemptResult("batch_halved", {"reason": reason, **halves})


def cause(
    own: AttemptResult | None, others: Iterable[AttemptResult | None]
) -> AttemptResult | None:
    """The result to report for a trial of several processes; `own` is rank 0's result.

    Of several failures the earliest: the other ranks fail because they waited for that one.
    """
    if own is None or not own.is_failure:
        return own
    failures = [result for result in others if result is not None and result.is_failure]
    return min([own, *failures], key=lambda result: result.at)
