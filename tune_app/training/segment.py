"""Trains one trial, from a checkpoint or from its start, until it ends or the driver stops it."""

from __future__ import annotations

import os
import shutil
import statistics
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from transformers import PrinterCallback, Trainer, set_seed

from tune_app.budget import (
    ACCUMULATION,
    MICRO_BATCH,
    Epoch,
    Horizon,
    TooShort,
    Unit,
    horizon,
    steps_for,
)
from tune_app.core.ports import TrialContext
from tune_app.core.task import Task
from tune_app.core.trial import Outcome
from tune_app.errors import UserError
from tune_app.storage.disk_faults import is_full
from tune_app.storage.store import StorageFailed
from tune_app.training import passes, trainable, weights
from tune_app.training.arguments import training_arguments
from tune_app.training.attempt_result import AttemptResult, ended, failure, lost
from tune_app.training.data import Data
from tune_app.training.memory import (
    halved,
    is_out_of_memory,
    release_memory,
)
from tune_app.training.new_values import keep_own_settings
from tune_app.training.optimizers import own_class
from tune_app.training.ranks import (
    Rank,
    agreed,
    close_connections,
    is_rank_zero,
    process_group,
    work_folder,
)
from tune_app.training.reporter import Diverged, HeartbeatSender, Reporter
from tune_app.training.step_check import StepCheck
from tune_app.training.stopwatch import Stopwatch

TIMED_STEPS = 6
"""Steps of a throw-away model, for a budget in seconds; the first two are warm-up, not timed."""


def run(task: Task, context: TrialContext) -> None:
    """Runs the segment in this process alone, and sends its result to the driver.

    Raises:
        SystemExit: as `attempt`.
        Exception: as `attempt`.
    """
    result = attempt(task, context)
    if result is not None:
        context.send(result.event, **result.fields)


def attempt(task: Task, context: TrialContext, rank: Rank | None = None) -> AttemptResult | None:
    """Trains, as one of a worker group if `rank` is not None; None if no result is left to send.

    Raises:
        SystemExit: the driver stops the segment; the trial is paused at its last checkpoint.
        Exception: the disk is full, see `disk.is_full`, which does not end the trial.
    """
    with clean_process():
        try:
            with process_group(rank, task.processes):
                is_done = _train(task, context)
            return ended(Outcome.COMPLETED) if is_done else None
        except SystemExit:
            pass  # Raised anew below, without the frames that hold the model.
        except Diverged as diverged:
            return ended(Outcome.DIVERGED, str(diverged))
        except StorageFailed as failed:
            return lost(str(failed))
        except UserError as refused:
            return ended(Outcome.FAILED, str(refused))
        except Exception as raised:
            if is_full(raised):
                raise
            return _failed(task, raised)
        raise SystemExit


def _failed(task: Task, raised: Exception) -> AttemptResult:
    halves = None
    if is_out_of_memory(raised) and not task.is_halved:
        halves = halved(trainable.load(task.trainable), task.params)
    return failure(raised, halves, traceback.format_exc())


@contextmanager
def clean_process() -> Iterator[None]:
    """Removes what a trial leaves in its worker: global state, environment variables, memory.

    transformers passes bf16 and torch_compile to accelerate through environment variables and
    singletons that outlive the trial.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        torch._dynamo.reset()
        release_memory()
        close_connections()


def make_trainer(
    loaded: trainable.Trainable,
    params: Mapping[str, Any],
    data: Data,
    *,
    output_dir: Path,
    max_steps: int,
    seed: int,
    accelerator: str,
) -> Trainer:
    """A trial's `Trainer`, the same as a script without this project would build."""
    asked = loaded.arguments(params)
    args = training_arguments(
        asked, output_dir=output_dir, max_steps=max_steps, seed=seed, accelerator=accelerator
    )
    set_seed(args.seed)
    trainer = loaded.module.build(loaded.config(params), data, args)
    # Without progress bars transformers prints every log line, which the journal has already.
    trainer.remove_callback(PrinterCallback)
    own = own_class(asked.get("optim", ""), args)
    if own is not None:
        trainer.optimizer_cls_and_kwargs = own
    return trainer


def epoch_of(
    loaded: trainable.Trainable, params: Mapping[str, Any], data: Data, processes: int = 1
) -> Epoch:
    """One pass of this trial over the training data."""
    asked = {**loaded.argument_fields, **loaded.arguments(params)}
    return Epoch(
        samples=len(data.train),  # type: ignore[arg-type]
        batch_size=asked[MICRO_BATCH],
        accumulation=asked[ACCUMULATION],
        tokens_per_sample=data.tokens_per_sample,
        processes=processes,
    )


def _train(task: Task, context: TrialContext) -> bool:
    """Trains to the end of the budget; False when an interrupt ended it earlier."""
    loaded = trainable.load(task.trainable)
    heartbeat = HeartbeatSender(context)
    data = loaded.module.prepare(
        loaded.config(task.params), context.paths.cache, lambda line: heartbeat.show()
    )
    epoch = epoch_of(loaded, task.params, data, task.processes)
    work = work_folder(context.paths.checkpoints)
    max_steps = task.max_steps or _max_steps(task, loaded, data, epoch, work)
    plan = _plan(task, max_steps, epoch)
    trainer = _trainer(task, loaded, data, max_steps, work)
    weights.check_adapters(trainer.model)
    checkpoint = context.paths.checkpoint
    if checkpoint is not None:
        weights.check(trainer.model, checkpoint)
    if task.has_new_values:
        keep_own_settings(trainer)
    if task.wants_untrained_sample:
        _sample("untrained", loaded, trainer, data, task, context)
    check = StepCheck(trainer, loaded.arguments(task.params), epoch, context)
    reporter = Reporter(context, plan, task.seconds_before, check, heartbeat)
    trainer.add_callback(reporter)
    try:
        if task.checkpoint is not None and task.checkpoint.step >= max_steps:
            trainer._load_from_checkpoint(str(checkpoint))
        else:
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        if not reporter.interrupted:
            _sample("trained", loaded, trainer, data, task, context)
    finally:
        # The callback's step check refers to the trainer, which would outlive the trial.
        trainer.remove_callback(reporter)
        if is_rank_zero():
            # It publishes the last checkpoint from there, when other ranks may have ended already.
            shutil.rmtree(work, ignore_errors=True)
    return not reporter.interrupted


def _trainer(
    task: Task, loaded: trainable.Trainable, data: Data, max_steps: int, work: Path
) -> Trainer:
    halves = halved(loaded, task.params) if task.is_halved else None
    trainer = make_trainer(
        loaded,
        {**task.params, **(halves or {})},
        data,
        output_dir=work,
        max_steps=max_steps,
        seed=task.seed,
        accelerator=task.accelerator,
    )
    if halves is not None:
        epoch = epoch_of(loaded, task.params, data, task.processes)
        passes.end_after(trainer, epoch.micro_batches * epoch.examples_at_once)
    return trainer


def _plan(task: Task, max_steps: int, epoch: Epoch) -> Horizon:
    try:
        return horizon(
            max_steps,
            epoch.tokens_per_step,
            task.rungs,
            task.budget.evaluations,
        )
    except TooShort as short:
        raise ValueError(f"the budget is too short for this batch size: {short}") from short


def _max_steps(
    task: Task, loaded: trainable.Trainable, data: Data, epoch: Epoch, work: Path
) -> int:
    budget, per_step = task.budget, None
    if budget.unit is Unit.SECONDS:
        # Each rank would measure another duration, and all must take the same number of steps.
        per_step = agreed(seconds_per_step(_trainer(task, loaded, data, TIMED_STEPS, work)))
    return max(1, steps_for(budget.unit, budget.amount, epoch, per_step))


def seconds_per_step(trainer: Trainer) -> float:
    """The median duration, in seconds, of a few optimiser steps; trains the trainer's model.

    Of two in the middle the longer one: a budget is not to be exceeded.
    """
    stopwatch = Stopwatch()
    trainer.add_callback(stopwatch)
    trainer.train()
    return statistics.median_high(stopwatch.durations())


def _sample(
    stage: str,
    loaded: trainable.Trainable,
    trainer: Trainer,
    data: Data,
    task: Task,
    context: TrialContext,
) -> None:
    prompt = task.prompt
    sample = getattr(loaded.module, "sample", None)
    if not prompt or sample is None:
        return
    # A sample is optional: a model that cannot generate must not fail the trial.
    with suppress(NotImplementedError):
        context.send("sample", stage=stage, prompt=prompt, text=sample(trainer, data, prompt))
