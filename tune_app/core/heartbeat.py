"""Tells a worker that hangs from one that takes its time, by how long it has said nothing.

Workers say something at least every `ALIVE_EVERY_S` seconds while steps are trained, batches are
evaluated or data is prepared. A silence is that of a single step, of a compilation, of a checkpoint
on slow storage; only one that is far longer than all of these is hanging.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

ALIVE = "alive"
"""What a worker sends, outside the journal, when there is nothing to report yet."""

ALIVE_EVERY_S = 30.0

START_S = 2 * 3600.0
"""The longest silence until a segment's first step: a cold cache, a model that is compiled."""

SILENCE_S = 1800.0
"""The least that counts as hanging after the first step."""

MULTIPLE = 10.0
"""Where it was silent for longer before, so many times its longest silence."""

ASLEEP_S = 60.0
"""A driver that has not looked for so long was stopped itself, and may have missed messages."""


@dataclass(slots=True)
class Voice:
    """What is known of a segment's messages."""

    heard: float
    """When it last said something, or was handed out."""
    has_stepped: bool = False
    longest_s: float = 0.0
    """The longest silence since its first step."""


def limit_s(voice: Voice) -> float:
    """The silence that is hanging."""
    return max(SILENCE_S, MULTIPLE * voice.longest_s) if voice.has_stepped else START_S


class Silence:
    """Listens to all segments that run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._voices: dict[str, Voice] = {}
        self._looked = clock()

    def begin(self, trial: str) -> None:
        """A worker is to take the trial."""
        self._voices[trial] = Voice(self._clock())

    def end(self, trial: str) -> None:
        self._voices.pop(trial, None)

    def hear(self, trial: str, event: str) -> None:
        """The trial's worker said something."""
        voice = self._voices.get(trial)
        if voice is None:
            return
        now = self._clock()
        if voice.has_stepped:
            voice.longest_s = max(voice.longest_s, now - voice.heard)
        voice.heard = now
        # The first thing that is said after the first step of each segment.
        voice.has_stepped = voice.has_stepped or event == "trial_effective"

    def hung(self) -> dict[str, float]:
        """The trials whose workers hang, and for how long; a trial is named once a limit."""
        now, before = self._clock(), self._looked
        self._looked = now
        if now - before > ASLEEP_S:
            for voice in self._voices.values():
                voice.heard += now - before
        silent = {trial: now - voice.heard for trial, voice in self._voices.items()}
        hung = {t: silence for t, silence in silent.items() if silence > limit_s(self._voices[t])}
        for trial in hung:
            self._voices[trial].heard = now
        return hung
