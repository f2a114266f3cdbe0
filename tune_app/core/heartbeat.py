"""Tells a worker that hangs from one that takes its time, by the age of its last heartbeat.

Every message of a worker is a heartbeat. While steps are trained, batches are evaluated or data is
prepared there is one at least every `ALIVE_EVERY_S` seconds. A longer gap is a single step, a
compilation, or a checkpoint on slow storage; only a gap far longer than all of these is a hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

ALIVE = "alive"
"""The message of a worker that has nothing to report yet. It is not written to the journal."""

ALIVE_EVERY_S = 30.0

START_TIMEOUT_S = 2 * 3600.0
"""The longest gap until a segment's first step: a cold cache, a model that is compiled."""

TIMEOUT_S = 1800.0
"""The shortest gap that counts as a hang after the first step."""

MULTIPLE = 10.0
"""A worker with longer gaps before may take so many times its longest gap."""

ASLEEP_S = 60.0
"""A driver that has not looked for so long was stopped itself, and may have missed messages."""


@dataclass(slots=True)
class Heartbeat:
    """What is known of a segment's messages."""

    last: float
    """When the last one came, or the segment was handed out; seconds of the monitor's clock."""
    has_stepped: bool = False
    longest_gap_s: float = 0.0
    """Since its first step."""

    @property
    def timeout_s(self) -> float:
        """The gap that is a hang."""
        if not self.has_stepped:
            return START_TIMEOUT_S
        return max(TIMEOUT_S, MULTIPLE * self.longest_gap_s)


class HeartbeatMonitor:
    """Follows the heartbeats of all segments that run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heartbeats: dict[str, Heartbeat] = {}
        self._looked = clock()

    def begin(self, trial: str) -> None:
        """A worker is to take the trial."""
        self._heartbeats[trial] = Heartbeat(self._clock())

    def end(self, trial: str) -> None:
        """The trial has no worker any more."""
        self._heartbeats.pop(trial, None)

    def beat(self, trial: str, event: str) -> None:
        """The trial's worker sent the message `event`."""
        heartbeat = self._heartbeats.get(trial)
        if heartbeat is None:
            return
        now = self._clock()
        if heartbeat.has_stepped:
            heartbeat.longest_gap_s = max(heartbeat.longest_gap_s, now - heartbeat.last)
        heartbeat.last = now
        # `trial_effective` is the first message after the first step of each segment.
        heartbeat.has_stepped = heartbeat.has_stepped or event == "trial_effective"

    def hung(self) -> dict[str, float]:
        """The trials whose workers hang, with the gap in seconds; each is named once a timeout."""
        now, before = self._clock(), self._looked
        self._looked = now
        if now - before > ASLEEP_S:
            for heartbeat in self._heartbeats.values():
                heartbeat.last += now - before
        gaps_s = {trial: now - heartbeat.last for trial, heartbeat in self._heartbeats.items()}
        hung = {t: gap_s for t, gap_s in gaps_s.items() if gap_s > self._heartbeats[t].timeout_s}
        for trial in hung:
            self._heartbeats[trial].last = now
        return hung
