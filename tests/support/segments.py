"""One segment on a worker, without Ray: a driver that listens, a small corpus, a task."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from tune_app.budget import Unit
from tune_app.core.definition import Budget
from tune_app.core.ports import LocalPaths
from tune_app.core.task import Task
from tune_app.core.trial import Checkpoint
from tune_app.storage.checkpoints import FolderCheckpoints
from tune_app.training import segment

ARCHITECTURE = {"size": "nano", "vocab_size": 512, "block_size": 32, "eval_tokens": 1024}
PARAMS = {
    **ARCHITECTURE,
    "learning_rate": 2e-3,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 3,
}


class Recorder:
    """A driver that listens; it takes the worker back after a report at one of `pause_at`."""

    def __init__(self, folder: Path, pause_at: tuple[int, ...] = (), stop_at: int = -1) -> None:
        checkpoints = folder / "checkpoints" / "0000"
        checkpoints.mkdir(parents=True, exist_ok=True)
        self.paths = LocalPaths(checkpoints, cache=folder / "cache")
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._pause_at = pause_at
        self._stop_at = stop_at
        self._folder = folder

    def publish(self, folder: Path, step: int) -> str:
        return FolderCheckpoints(self._folder).publish(folder, "0000", step)

    def send(self, event: str, **fields: Any) -> None:
        self.sent.append((event, fields))
        if event == "report" and fields["rung"] in self._pause_at:
            raise SystemExit

    def interrupted(self) -> bool:
        reports = [f for e, f in self.sent if e == "report"]
        return self._stop_at >= 0 and bool(reports) and reports[-1]["step"] >= self._stop_at

    def reports(self) -> list[dict[str, Any]]:
        return [fields for event, fields in self.sent if event == "report"]

    def of(self, event: str) -> dict[str, Any]:
        return next(fields for name, fields in self.sent if name == event)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = "люди должны читать книги иначе море лес дом река гора снег день ночь".split()  # noqa: SIM905
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    lines = [" ".join(words[(i * j) % len(words)] for j in range(1, 14)) for i in range(1, 400)]
    path.write_text("\n".join(f"{i} {line}." for i, line in enumerate(lines)), encoding="utf-8")
    return path


@pytest.fixture
def task(corpus: Path, tmp_path: Path) -> Task:
    return Task(
        trial="0000",
        params={**PARAMS, "dataset": str(corpus)},
        seed=7,
        trainable="causal_lm",
        budget=Budget(Unit.TOKENS, 8 * 32 * 27, trials=1, evaluations=9),
        rungs=(1 / 9, 1 / 3, 1.0),
        accelerator="cpu",
    )


def cache_of(task: Task) -> Path:
    """One for all trials on a corpus."""
    return Path(task.params["dataset"]).parent / "cache"


R = TypeVar("R", bound=Recorder)


def run(task: Task, recorder: R, begin: Path | None = None) -> R:
    """Runs a segment from the checkpoint at `begin`."""
    torch.set_num_threads(1)
    with suppress(SystemExit):
        segment.run(begun_at(task, recorder, begin), recorder)
    return recorder


def begun_at(task: Task, recorder: Recorder, begin: Path | None) -> Task:
    """The task that goes on from a checkpoint, for whose files the recorder says where they are."""
    recorder.paths = replace(recorder.paths, cache=cache_of(task), checkpoint=begin)
    if begin is None:
        return task
    step = int(begin.name.removeprefix("step-"))
    return replace(task, checkpoint=Checkpoint(begin.parent.name, step))


def last_checkpoint(recorder: Recorder, folder: Path) -> Path:
    names: list[str] = [r["checkpoint"] for r in recorder.reports() if r["checkpoint"]]
    return folder / names[-1]


def losses(recorders: list[Recorder]) -> dict[int, tuple[float, float]]:
    reports = [report for recorder in recorders for report in recorder.reports()]
    return {
        report["step"]: (report["metrics"].get("eval_loss"), report["metrics"]["train_loss"])
        for report in reports
    }


def over_passes(
    task: Task, accumulation: int, pause: int, passes: int = 3, micro_batches: int = 42
) -> Task:
    """Some passes over the micro-batches of the corpus, with a first rung at step `pause`."""
    steps = passes * math.ceil(micro_batches / accumulation)
    budget = replace(task.budget, unit=Unit.EPOCHS, amount=passes)
    params = {**task.params, "gradient_accumulation_steps": accumulation}
    return replace(task, budget=budget, rungs=(pause / steps, 1.0), params=params)
