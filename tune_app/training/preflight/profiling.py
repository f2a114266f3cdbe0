"""Measures speed and memory of a space's profiling configurations in a few optimiser steps."""

from __future__ import annotations

import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset
from transformers import Trainer

from tune_app.budget import ACCUMULATION, BATCH_COUNTS, MICRO_BATCH
from tune_app.core.definition import StudyDefinition
from tune_app.simulation.profile import Profile
from tune_app.space.domains import Domain, Float, Int, contains, searched
from tune_app.space.drawn import Drawn, from_unit
from tune_app.training import memory, segment, trainable
from tune_app.training.arguments import EVAL_BATCH_SIZE
from tune_app.training.data import Data
from tune_app.training.preflight.values import ends
from tune_app.training.stopwatch import WARM_UP_STEPS, Stopwatch
from tune_app.training.system import resident_bytes

MOST = 6
"""Configurations that are measured at most; each takes seconds on a CPU."""
TIMED_STEPS = 6
TIMED_S = 4.0
"""No step starts after this many timed seconds."""
EVALUATED_BATCHES = 4
LARGEST_BATCH = 1024
"""No larger micro-batch is tried."""
COSTLY = (
    *("size", "block_size", "architecture"),
    *("bf16", "fp16", "torch_compile", "optim", "attn_implementation", "gradient_checkpointing"),
)
"""Parameters besides the batch that determine the cost of a step, the most important last."""


def choose(space: Mapping[str, Domain], default: Callable[[str], Any]) -> list[dict[str, Any]]:
    """The profiling configurations, as values of all searched parameters; most important first.

    The smallest batch, the largest, then the largest with each other value of the `COSTLY` ones.
    """
    varying = searched(space)
    centre = {name: _central(domain, default(name)) for name, domain in varying.items()}
    counts = [name for name in BATCH_COUNTS if name in varying]
    small = {**centre, **{name: min(ends(varying[name])) for name in counts}}
    large = {**centre, **{name: max(ends(varying[name])) for name in counts}}
    configurations = [small, large] if counts else [centre]
    for name in reversed(COSTLY):
        values = ends(varying[name]) if name in varying else []
        configurations += [{**large, name: value} for value in values if value != centre[name]]
    return configurations


def _central(domain: Domain, default: Any) -> Any:
    """The trainable's default if the domain contains it, else a value in the middle."""
    if contains(domain, default):
        return default
    match domain:
        case Float(low, high, log):
            return math.sqrt(low * high) if log else (low + high) / 2
        case Int(low, high):
            return (low + high) // 2
        case Drawn():
            return from_unit(domain, 0.5)
        case _:
            return next(iter(ends(domain)))


def measure(study: StudyDefinition, params: dict[str, Any], cache: Path) -> Profile:
    """Trains a few steps with these values; an exception in training becomes `Profile.error`."""
    costly = [name for name in (*BATCH_COUNTS, *COSTLY) if name in params]
    profile = Profile(params=params, costly=costly)
    loaded = trainable.load(study.trainable)
    values = {**study.constants, **params}
    with segment.clean_process():
        try:
            watch = Stopwatch(enough_s=TIMED_S)
            data = loaded.module.prepare(loaded.config(values), cache, lambda line: None)
            _train(profile, study, loaded, values, data, watch)
        except Exception as error:
            # A trial with these values would fail in the same way.
            kind = "out of memory" if memory.is_out_of_memory(error) else type(error).__name__
            profile.error = f"{kind}: {error}".splitlines()[0]
    return profile


def largest_batch(
    study: StudyDefinition,
    params: Mapping[str, Any],
    cache: Path,
) -> int:
    """The largest micro-batch, in examples, with which a step fits into memory; 0 if none does.

    For a GPU only: on a CPU the system would swap or kill processes.

    Raises:
        Exception: a step fails for another reason than memory.
    """
    loaded = trainable.load(study.trainable)
    values = {**study.constants, **params, ACCUMULATION: 1}
    data = loaded.module.prepare(loaded.config(values), cache, lambda line: None)

    def fits(size: int) -> bool:
        with segment.clean_process(), tempfile.TemporaryDirectory() as folder:
            try:
                segment.make_trainer(
                    loaded,
                    {**values, MICRO_BATCH: size},
                    data,
                    output_dir=Path(folder),
                    max_steps=1,
                    seed=study.seed,
                    accelerator=study.accelerator,
                ).train()
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
                return False
        return True

    return largest(fits, min(LARGEST_BATCH, len(data.train)))


def largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits, 0 if 1 does not; `fits` must be monotonic."""
    low, high = 0, 1
    while high <= limit and fits(high):
        low, high = high, high * 2
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _train(
    profile: Profile,
    study: StudyDefinition,
    loaded: trainable.Trainable,
    values: Mapping[str, Any],
    data: Data,
    watch: Stopwatch,
) -> None:
    epoch = segment.epoch_of(loaded, values, data)
    profile.counts = dict(zip(BATCH_COUNTS, (epoch.batch_size, epoch.accumulation), strict=True))
    profile.tokens_per_sample, profile.epoch_tokens = data.tokens_per_sample, epoch.tokens
    profile.tokens_per_step = epoch.tokens_per_step
    with tempfile.TemporaryDirectory() as folder, _peak() as peak:
        trainer = segment.make_trainer(
            loaded,
            values,
            data,
            output_dir=Path(folder),
            max_steps=WARM_UP_STEPS + TIMED_STEPS,
            seed=study.seed,
            accelerator=study.accelerator,
        )
        trainer.add_callback(watch)
        trainer.train()
    # Of two in the middle the shorter one: other work may disturb a step, nothing speeds it up.
    step_s = max(statistics.median_low(watch.durations()), 1e-9)
    profile.tokens_per_s = epoch.tokens_per_step / step_s
    profile.start_s = max(0.0, watch.ends[0] - watch.begun - step_s)
    profile.peak_bytes = peak[0]
    profile.parameters = sum(weights.numel() for weights in trainer.model.parameters())
    profile.checkpoint_bytes = _checkpoint_bytes(trainer)
    profile.evaluation_s = _evaluation_s(trainer, data)


def _checkpoint_bytes(trainer: Trainer) -> int:
    """Size of the weights, tied ones counted once, and of the optimiser's state."""
    tensors = [*trainer.model.parameters(), *trainer.model.buffers()]
    states = trainer.optimizer.state.values()
    tensors += [item for state in states for item in state.values() if torch.is_tensor(item)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _evaluation_s(trainer: Trainer, data: Data) -> float:
    """Seconds of one evaluation of all held-out examples, extrapolated from a few batches."""
    total = len(data.evaluation)  # type: ignore[arg-type]
    count = min(total, EVALUATED_BATCHES * EVAL_BATCH_SIZE)
    part = Subset(data.evaluation, range(count))
    trainer.evaluate(part)
    begin = time.monotonic()
    trainer.evaluate(part)
    return (time.monotonic() - begin) * total / max(1, count)


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Yields a list whose one item becomes the peak memory of the block, in bytes."""
    most = [0]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield most
        most[0] = torch.cuda.max_memory_allocated()
        return
    over, before = threading.Event(), resident_bytes()

    def look() -> None:
        while not over.wait(0.005):
            most[0] = max(most[0], resident_bytes() - before)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()
