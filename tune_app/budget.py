"""Converts a budget to optimiser steps: every trial's horizon, rungs and evaluation points.

A budget is an amount of one unit. For any batch size and accumulation, a trial's learning-rate
schedule ends where the budget is spent, and all trials are evaluated at the same shares of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MICRO_BATCH, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
BATCH_COUNTS = (MICRO_BATCH, ACCUMULATION)
"""The parameters of the batch: their product is the number of examples of an optimiser step."""


class Unit(StrEnum):
    """The unit of a budget."""

    TOKENS = "tokens"
    STEPS = "steps"
    EPOCHS = "epochs"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Horizon:
    """A trial's schedule in optimiser steps; step numbers count from 1."""

    max_steps: int
    tokens_per_step: int
    rung_steps: tuple[int, ...]
    eval_steps: frozenset[int]
    """Includes all rung steps."""
    log_steps: frozenset[int]
    """Includes all evaluation steps."""

    def rung_at(self, step: int) -> int | None:
        """The index of the rung at `step`, None between rungs."""
        return self.rung_steps.index(step) if step in self.rung_steps else None


class TooShort(ValueError):
    """The budget has fewer optimiser steps than there are rungs."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training examples as `transformers.Trainer` makes it.

    Incomplete micro-batches are dropped; the last step of a pass may have fewer micro-batches. Each
    of several processes trains on a different micro-batch at the same time.
    """

    samples: int
    batch_size: int
    """Examples in a micro-batch of one process."""
    accumulation: int
    tokens_per_sample: int
    processes: int = 1

    @property
    def batch(self) -> str:
        """The batch size in words."""
        together = f" in each of {self.processes} processes" if self.processes > 1 else ""
        return f"{self.batch_size}{together}"

    @property
    def examples_at_once(self) -> int:
        """The examples in one micro-batch of every process together."""
        return self.batch_size * self.processes

    @property
    def micro_batches(self) -> int:
        """The micro-batches of each process in one pass."""
        return self.samples // self.examples_at_once

    @property
    def steps(self) -> int:
        """The optimiser steps of one pass."""
        return -(-self.micro_batches // self.accumulation)

    @property
    def tokens(self) -> int:
        """The training tokens of one pass."""
        return self.micro_batches * self.examples_at_once * self.tokens_per_sample

    @property
    def tokens_per_step(self) -> int:
        """The tokens of every optimiser step except the last of a pass."""
        return self.examples_at_once * self.accumulation * self.tokens_per_sample

    def micro_batches_of(self, step: int) -> int:
        """The micro-batches of each process in an optimiser step of the training, from 1."""
        before = (step - 1) % self.steps * self.accumulation
        return min(self.accumulation, self.micro_batches - before)

    def tokens_of(self, step: int) -> int:
        """The tokens of an optimiser step of the training, from 1."""
        return self.micro_batches_of(step) * self.examples_at_once * self.tokens_per_sample


def steps_for(
    unit: Unit, amount: float, epoch: Epoch, seconds_per_step: float | None = None
) -> int:
    """The optimiser steps within a budget, rounded down so that it is never exceeded.

    `seconds_per_step` is measured on the worker and needed for a budget in seconds only.

    Raises:
        ValueError: the training examples do not fill one batch, or `seconds_per_step` is missing.
    """
    if epoch.micro_batches == 0:
        raise ValueError(
            f"{epoch.samples} training examples do not fill one batch of {epoch.batch}"
        )
    match unit:
        case Unit.TOKENS:
            passes, rest = divmod(int(amount), epoch.tokens)
            return passes * epoch.steps + rest // epoch.tokens_per_step
        case Unit.STEPS:
            return int(amount)
        case Unit.EPOCHS:
            return steps_for(Unit.TOKENS, amount * epoch.tokens, epoch)
        case Unit.SECONDS:
            if seconds_per_step is None:
                raise ValueError("a budget in seconds needs the measured seconds per step")
            return int(amount / seconds_per_step)


def horizon(
    max_steps: int, tokens_per_step: int, rungs: Sequence[float], evaluations: int
) -> Horizon:
    """The schedule of `max_steps` steps, with rungs at the shares `rungs` (ascending, last 1.0).

    Raises:
        TooShort: there are fewer steps than rungs.
    """
    if max_steps < len(rungs):
        raise TooShort(f"{max_steps} optimiser steps are fewer than the {len(rungs)} rungs")
    rung_steps: list[int] = []
    for index, share in enumerate(rungs):
        lowest = rung_steps[-1] + 1 if rung_steps else 1
        highest = max_steps - (len(rungs) - 1 - index)
        rung_steps.append(min(max(round(share * max_steps), lowest), highest))
    eval_steps = frozenset(rung_steps) | _spread(max_steps, evaluations)
    return Horizon(
        max_steps=max_steps,
        tokens_per_step=tokens_per_step,
        rung_steps=tuple(rung_steps),
        eval_steps=eval_steps,
        log_steps=eval_steps | _spread(max_steps, LOGS_PER_EVALUATION * evaluations),
    )


LOGS_PER_EVALUATION = 4
"""Training loss and grad norm are reported this many times as often as the evaluation loss."""


def _spread(max_steps: int, count: int) -> frozenset[int]:
    return frozenset(max(1, round(max_steps * (index + 1) / count)) for index in range(count))
