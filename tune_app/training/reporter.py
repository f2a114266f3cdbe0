"""The callback between a `Trainer` and the driver: evaluates, saves and reports on the rungs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tune_app.budget import Horizon
from tune_app.core.heartbeat import ALIVE, ALIVE_EVERY_S
from tune_app.core.ports import TrialContext
from tune_app.training.ranks import agreed
from tune_app.training.system import Meter

INTERRUPT_POLL_S = 1.0
SAVE_EVERY_S = 300.0
"""Seconds of training between two checkpoints, besides those at rungs."""

SAVE_SHARE = 0.05
"""Writing these checkpoints takes at most this share of the training time."""

EXPLOSION = 4.0
"""A training loss this many times the first one counts as diverged."""

TIMINGS = ("_runtime", "_per_second", "_preparation_time")
"""Endings of the names of an evaluation's figures that measure time instead of the model."""


class Diverged(Exception):
    """The loss is not finite any more, or exploded."""


def is_diverged(loss: float, first_loss: float) -> bool:
    """Whether a training loss is too high, or not finite, to recover from."""
    return not math.isfinite(loss) or loss > EXPLOSION * max(first_loss, 1.0)


class HeartbeatSender:
    """Sends a heartbeat from time to time, so that the driver can detect a worker that hangs."""

    def __init__(self, context: TrialContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._shown = clock()

    def show(self) -> None:
        if self._clock() - self._shown >= ALIVE_EVERY_S:
            self._shown = self._clock()
            self._context.send(ALIVE)


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Evaluates, saves and reports at the steps of a trial's horizon; makes no scheduling decision.

    `seconds_before` is the training time of earlier segments. `on_step` gets the number of each
    step and its tokens, and raises if they are not the expected ones.
    """

    def __init__(
        self,
        context: TrialContext,
        horizon: Horizon,
        seconds_before: float,
        on_step: Callable[[int, int], None],
        heartbeat: HeartbeatSender,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interrupted = False
        self._context = context
        self._horizon = horizon
        self._seconds = seconds_before
        self._on_step = on_step
        self._heartbeat = heartbeat
        self._clock = clock
        self._begun = 0.0
        self._polled = clock()
        self._saved_at = seconds_before
        self._save_began = self._save_s = 0.0
        self._tokens = 0
        self._metrics: dict[str, float] = {}
        self._is_evaluated = False
        self._meter = Meter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._tokens = int(state.num_input_tokens_seen)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._send_evaluation(state)
        self._begun = self._clock()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._seconds += self._clock() - self._begun
        step = state.global_step
        before, self._tokens = self._tokens, int(state.num_input_tokens_seen)
        self._on_step(step, self._tokens - before)
        self._heartbeat.show()
        control.should_log = step in self._horizon.log_steps
        control.should_evaluate = step in self._horizon.eval_steps
        # Only where it logs: the mean of a logged loss then covers the same steps after a restart.
        due = control.should_log and agreed(self._save_is_due())
        control.should_save = due or self._horizon.rung_at(step) is not None
        if not control.should_save and agreed(self._is_interrupted()):
            self.interrupted = control.should_save = control.should_training_stop = True
        self._save_began = self._clock()

    def _save_is_due(self) -> bool:
        """Whether enough training time has passed since the last checkpoint."""
        return self._seconds - self._saved_at >= max(SAVE_EVERY_S, self._save_s / SAVE_SHARE)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **_: Any,
    ) -> None:
        """Reports a training loss, unless the evaluation or checkpoint of this step does it.

        Raises:
            Diverged: the loss is not finite or exploded.
        """
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        self._metrics["train_loss"] = loss
        for name in ("grad_norm", "learning_rate"):
            if name in logs:
                self._metrics[name] = float(logs[name])
        # The history is part of a checkpoint: the first loss is the trial's, not the segment's.
        first_loss = next(entry["loss"] for entry in state.log_history if "loss" in entry)
        if is_diverged(loss, first_loss):
            self._send(state, comes_to_rung=False)
            raise Diverged(f"the training loss is {loss:.4g} at step {state.global_step}")
        if state.global_step not in self._horizon.eval_steps and not self._saves_now(control):
            self._send(state)
        self._save_began = self._clock()

    def _saves_now(self, control: TrainerControl) -> bool:
        """Whether this step's report waits for its checkpoint."""
        return bool(control.should_save) and not self.interrupted

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._heartbeat.show()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Collects the metrics of an evaluation for the step's report.

        Raises:
            Diverged: the evaluation loss is not finite.
        """
        kept = {
            name: float(value)
            for name, value in metrics.items()
            if name.startswith("eval_") and not name.endswith(TIMINGS)
        }
        self._metrics |= kept
        if not math.isfinite(kept.get("eval_loss", 0.0)):
            self._send(state, comes_to_rung=False)
            raise Diverged(f"the evaluation loss is not finite at step {state.global_step}")
        # With several evaluation sets there is one call for each, and one report for all.
        self._is_evaluated = True
        self._save_began = self._clock()

    def _send_evaluation(self, state: TrainerState) -> None:
        """Reports an evaluation once all its calls of `on_evaluate` are over."""
        if self._is_evaluated:
            self._send(state)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.interrupted:
            self._send_evaluation(state)
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        name = self._context.publish(folder, state.global_step)
        self._saved_at, self._save_s = self._seconds, self._clock() - self._save_began
        if self.interrupted:
            self._context.send("trial_interrupted", checkpoint=name)
        else:
            self._send(state, checkpoint=name)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._send_evaluation(state)

    def _send(
        self, state: TrainerState, checkpoint: str | None = None, comes_to_rung: bool = True
    ) -> None:
        metrics, self._metrics = self._metrics, {}
        self._is_evaluated = False
        # A diverged trial has no evaluation at this step, which a rung needs.
        rung = self._horizon.rung_at(state.global_step) if comes_to_rung else None
        self._context.send(
            "report",
            step=state.global_step,
            tokens=int(state.num_input_tokens_seen),
            fraction=round(state.global_step / self._horizon.max_steps, 6),
            seconds=round(self._seconds, 3),
            metrics=metrics,
            system=self._meter.read(),
            rung=rung,
            checkpoint=checkpoint,
        )

    def _is_interrupted(self) -> bool:
        """Asks at most once a second: the answer may come from shared storage."""
        if self._clock() - self._polled < INTERRUPT_POLL_S:
            return False
        self._polled = self._clock()
        return self._context.interrupted()
