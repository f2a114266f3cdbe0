"""A trial without torch: sleeps instead of training, and carries a state that cannot be faked.

Its state is a chain of hashes, one a step. A report is worth what the chain says, so that a trial
that went on from a wrong, half-written or foreign checkpoint is found by its values.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_app.budget import Horizon, horizon
from tune_app.core.heartbeat import ALIVE
from tune_app.core.ports import TrialContext
from tune_app.core.task import Task
from tune_app.engine.worker import DISK_FULL, Host, TuneContext, tell
from tune_app.storage import places
from tune_app.storage.disk_faults import is_full, is_storage_fault

STEPS = 72
TOKENS_PER_STEP = 100
SAVE_STEPS = 6
"""Steps between two checkpoints, those at rungs besides."""

STEP_S = "CHAOS_STEP_S"
BUGS = "CHAOS_BUGS"
"""The share of trials that raise somewhere on their way; empty for none."""

FAULTS = "CHAOS_FAULTS"
"""A file; while it is there, one write in ten fails with an input/output error."""

FAULT_SHARE = 0.1

STEP_LOG = "steps"
"""The folder where each trial notes its steps as they are done, one `segment step` a line."""


def link(before: str, params: Mapping[str, Any], step: int) -> str:
    """The next state of the chain."""
    text = f"{before} {json.dumps(params, sort_keys=True)} {step}"
    return hashlib.sha256(text.encode()).hexdigest()


def value(state: str, params: Mapping[str, Any], step: int) -> float:
    """The objective: a curve that follows from the values, and a little from every step before."""
    floor = 1.0 + (params["x"] - 0.3) ** 2
    return float(floor + 4.0 * step ** -(0.4 + params["y"]) + int(state[:8], 16) / 2**32 * 1e-3)


def expected(params: dict[str, Any]) -> dict[int, float]:
    """What an undisturbed trial reports at each step."""
    state, values = "", {}
    for step in range(1, STEPS + 1):
        state = link(state, params, step)
        values[step] = value(state, params, step)
    return values


def plan(task: Task) -> Horizon:
    return horizon(STEPS, TOKENS_PER_STEP, task.rungs, task.budget.evaluations)


def may_fail() -> None:
    """Called before each write that can fail."""
    faults = os.environ.get(FAULTS)
    if faults and os.path.exists(faults) and random.random() < FAULT_SHARE:
        raise OSError(errno.EIO, "Input/output error (injected)")


def run_segment(config: dict[str, Any]) -> None:
    """In the place of `engine.worker.run_segment`; talks to the driver by the same means."""
    tell(ALIVE, {})
    task: Task = config["task"]
    host: Host = config["host"]
    context = TuneContext(places.on_worker(host.folder, host.url), task, host.cache)
    try:
        train(context, host.folder, task)
    except OSError as error:
        if is_full(error):
            tell(DISK_FULL, {"reason": str(error)})
        elif is_storage_fault(error):
            context.send("segment_lost", reason=str(error))
        else:
            raise
    except ArithmeticError as error:
        context.send("trial_ended", outcome="failed", reason=f"ArithmeticError: {error}", error="")


def train(context: TrialContext, folder: Path, task: Task) -> None:
    """One segment: steps, checkpoints and reports as the product's reporter makes them."""
    params, horizon_ = task.params, plan(task)
    state, start = "", 0
    if task.checkpoint is not None:
        saved = json.loads((folder / task.checkpoint.name / "state.json").read_text())
        state, start = saved["state"], saved["step"]
    bug = _bug(task.trial)
    steps = _StepLog(folder / STEP_LOG / task.trial)
    for step in range(start + 1, STEPS + 1):
        time.sleep(float(os.environ.get(STEP_S) or 0.02))
        state = link(state, params, step)
        if step == bug:
            raise ArithmeticError("as some trials do")
        steps.note(step)
        if step == start + 1:
            context.send("trial_effective", effective={"max_steps": STEPS})
        rung = horizon_.rung_at(step)
        checkpoint = None
        interrupted = rung is None and context.interrupted()
        if rung is not None or step % SAVE_STEPS == 0 or interrupted:
            checkpoint = _save(context.paths.checkpoints, state, step)
        if step in horizon_.log_steps:
            context.send(
                "report",
                step=step,
                tokens=step * TOKENS_PER_STEP,
                fraction=step / STEPS,
                seconds=step * 0.02,
                metrics={"eval_loss": value(state, params, step)},
                rung=rung,
                checkpoint=checkpoint,
            )
        if interrupted:
            context.send("trial_interrupted", checkpoint=checkpoint)
            return
    context.send("trial_ended", outcome="completed", reason="", error="")


def _bug(trial: str) -> int | None:
    """The step at which a trial raises, if it does; the same whenever it is run."""
    rng = random.Random(trial)
    return rng.randint(1, STEPS) if rng.random() < float(os.environ.get(BUGS) or 0) else None


class _StepLog:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._on = path.parent.is_dir()
        self._stay = f"{os.getpid()}-{time.monotonic_ns()}"

    def note(self, step: int) -> None:
        if self._on:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(f"{self._stay} {step}\n")


def _save(folder: Path, state: str, step: int) -> str:
    """A checkpoint, visible all at once; the same name as the product's."""
    work, target = folder / ".work", folder / f"step-{step}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    may_fail()
    (work / "state.json").write_text(json.dumps({"state": state, "step": step}))
    # The size of a checkpoint, so that a small disk can run full.
    (work / "weights").write_bytes(bytes(20_000))
    may_fail()
    if not target.exists():
        os.rename(work, target)
    return f"checkpoints/{folder.name}/{target.name}"
