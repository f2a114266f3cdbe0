"""Checks that every step of a segment is the one that the trial's parameters ask for."""

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
    """Sends what runs to the driver at the first step, and checks the tokens of every step."""

    def __init__(
        self, trainer: Trainer, asked: Mapping[str, Any], epoch: Epoch, context: TrialContext
    ) -> None:
        self._trainer = trainer
        self._asked = asked
        self._epoch = epoch
        self._context = context
        self._is_first = True

    def __call__(self, step: int, tokens: int) -> None:
        """Checks `step`, counted from the trial's start, which had `tokens` tokens.

        Raises:
            NotAsAsked: the step differs from the one asked for.
        """
        lines = self._first(step, tokens) if self._is_first else []
        self._is_first = False
        # The last step of an epoch may be shorter than the others.
        expected = self._epoch.tokens_of(step)
        if tokens != expected:
            lines.append(f"tokens of step {step}: asked for {expected}, runs {tokens}")
        if lines:
            raise NotAsAsked("; ".join(lines))

    def _first(self, step: int, tokens: int) -> list[str]:
        epoch = self._epoch
        full_step = tokens * epoch.accumulation // epoch.micro_batches_of(step)
        observed = observe(self._trainer, full_step)
        self._context.send("trial_effective", effective=observed)
        return differences(observed, self._asked, self._trainer, epoch)
