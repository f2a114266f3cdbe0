"""Whether every step of a segment is the one that the trial's parameters ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import Trainer

from tune_app.budget import Epoch
from tune_app.core.ports import TrialContext
from tune_app.training.effective import differences, observe


class NotAsAsked(Exception):
    """What runs is not what the trial's parameters say."""


class StepCheck:
    """Tells the driver at the first step what runs, and counts the tokens of each."""

    def __init__(
        self, trainer: Trainer, asked: Mapping[str, Any], epoch: Epoch, context: TrialContext
    ) -> None:
        self._trainer = trainer
        self._asked = asked
        self._epoch = epoch
        self._context = context
        self._is_first = True

    def __call__(self, step: int, tokens: int) -> None:
        """Looks at `step`, counted from the trial's start, which had so many `tokens`.

        Raises:
            NotAsAsked: it is another step than asked for.
        """
        found = self._first(step, tokens) if self._is_first else []
        self._is_first = False
        # The last step of a pass may be a short one, and is as long as a full one of another batch.
        wanted = self._epoch.tokens_of(step)
        if tokens != wanted:
            found.append(f"tokens of step {step}: asked for {wanted}, runs {tokens}")
        if found:
            raise NotAsAsked("; ".join(found))

    def _first(self, step: int, tokens: int) -> list[str]:
        epoch = self._epoch
        full_step = tokens * epoch.accumulation // epoch.micro_batches_of(step)
        observed = observe(self._trainer, full_step)
        self._context.send("trial_effective", effective=observed)
        return differences(observed, self._asked, self._trainer, epoch)
