"""Tells a worker that hangs from one that is slow, by the age of its last heartbeat.

Every message of a worker is a heartbeat. While a worker trains, evaluates or prepares data it sends
one at least every `ALIVE_EVERY_S` seconds. A longer gap can be a single long step, a compilation,
or a checkpoint on slow storage; only a gap far longer than all of these counts as a hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

ALIVE = "alive"
"""The message of a worker that has nothing to report yet. It is not written to the journal."""

ALIVE_EVERY_S = 30.0

START_TIMEOUT_S = 2 * 3600.0
"""The longest gap before a segment's first step, when caches are cold and models compile."""

TIMEOUT_S = 1800.0
"""The shortest gap that counts as a hang after the first step."""

MULTIPLE = 10.0
"""A gap up to this many times the worker's longest earlier gap is not a hang either."""

ASLEEP_S = 60.0
"""If the driver has not checked for so long it was suspended itself, and may miss messages."""


@dataclass(slots=True)
class Heartbeat:
    """When the messages of one segment came."""

    last: float
    """When the last one came or, before it, the segment started; seconds of the monitor's clock."""
    has_stepped: bool = False
    longest_gap_s: float = 0.0
    """The longest gap between messages since the first step."""

    @property
    def timeout_s(self) -> float:
        """A gap longer than this is a hang."""
        if not self.has_stepped:
            return START_TIMEOUT_S
        return max(TIMEOUT_S, MULTIPLE * self.longest_gap_s)


class HeartbeatMonitor:
    """Monitors the heartbeats of all running segments."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heartbeats: dict[str, Heartbeat] = {}
        self._checked = clock()

    def begin(self, trial: str) -> None:
        """Starts monitoring a trial: a segment of it was handed out."""
        self._heartbeats[trial] = Heartbeat(self._clock())

    def end(self, trial: str) -> None:
        """Stops monitoring a trial: it has no worker any more."""
        self._heartbeats.pop(trial, None)

    def beat(self, trial: str, event: str) -> None:
        """Notes a message `event` of the trial's worker."""
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
        """The trials whose workers hang, with the gap in seconds; each once per timeout."""
        now, before = self._clock(), self._checked
        self._checked = now
        if now - before > ASLEEP_S:
            for heartbeat in self._heartbeats.values():
                heartbeat.last += now - before
        gaps_s = {trial: now - heartbeat.last for trial, heartbeat in self._heartbeats.items()}
        hung = {t: gap_s for t, gap_s in gaps_s.items() if gap_s > self._heartbeats[t].timeout_s}
        for trial in hung:
            self._heartbeats[trial].last = now
        return hung
