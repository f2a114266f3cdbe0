"""Times optimiser steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from transformers import TrainerCallback

WARM_UP_STEPS = 2
"""Not counted: the first one compiles and allocates."""


class Stopwatch(TrainerCallback):  # type: ignore[misc]
    """Notes when each step ends; ends the training once `enough_s` seconds of steps are timed."""

    def __init__(
        self, enough_s: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._enough_s, self._clock = enough_s, clock
        self.begun = clock()
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ends.append(self._clock())
        if sum(self.durations()) > self._enough_s:
            control.should_training_stop = True

    def durations(self) -> list[float]:
        """Of each step after those that warm up, in seconds."""
        timed = self.ends[WARM_UP_STEPS - 1 :]
        return [later - earlier for earlier, later in pairwise(timed)]
