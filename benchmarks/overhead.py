"""What a trial costs beside plain `Trainer`, and what the workers' malloc settings are worth.

    python benchmarks/overhead.py [--pairs 5] [--steps 120] [--eval-tokens 32768]

Each figure is the ratio of two runs made in turn in fresh processes on one thread, pair by pair, so
that a machine whose speed drifts does not matter. The time is that of training and the evaluations,
without imports. The default model: GPT-2 of 0.4M parameters, batch 8 x 128.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_app.core.ports import TrialContext

PARAMS: dict[str, Any] = {
    "size": "nano",
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 8,
    "eval_tokens": 32_768,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--eval-tokens", type=int, default=PARAMS["eval_tokens"])
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    args = parser.parse_args()
    PARAMS["eval_tokens"] = args.eval_tokens
    if args.child:
        print(json.dumps(CHILDREN[args.child](args.steps)))
        return
    compare("a trial / plain Trainer", ("trial", True), ("plain", True), args)
    compare("plain Trainer with malloc settings / without", ("plain", True), ("plain", False), args)


def compare(title: str, a: tuple[str, bool], b: tuple[str, bool], args: argparse.Namespace) -> None:
    """Prints the ratio of the seconds of two variants; a variant is a child and its malloc."""
    measured = [(seconds(*a, args.steps), seconds(*b, args.steps)) for _ in range(args.pairs)]
    ratios = sorted(first / second for first, second in measured)
    tokens = args.steps * 8 * 128
    speeds = [statistics.median(tokens / pair[i] for pair in measured) for i in (0, 1)]
    print(
        f"{title}: {statistics.median(ratios):.3f} (pairs {ratios[0]:.3f} to {ratios[-1]:.3f}); "
        f"medians {speeds[0]:,.0f} and {speeds[1]:,.0f} tokens/s"
    )


def seconds(child: str, malloc: bool, steps: int) -> float:
    from tune_app.engine.cluster import WORKER_ENVIRONMENT

    chosen = {k: v for k, v in WORKER_ENVIRONMENT.items() if malloc or "MALLOC" not in k}
    command = [sys.executable, __file__, "--child", child, "--steps", str(steps)]
    command += ["--eval-tokens", str(PARAMS["eval_tokens"])]
    environment = {**os.environ, **chosen, "OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(out.stdout.splitlines()[-1]))


def trial(steps: int) -> float:
    """A trial as a worker runs it: three rungs with checkpoints, nine evaluations, reports."""
    from tune_app.budget import Unit
    from tune_app.core.definition import Budget
    from tune_app.core.task import Task
    from tune_app.training.segment import run

    folder = Path(tempfile.mkdtemp())
    task = Task(
        trial="0",
        params=PARAMS,
        seed=0,
        trainable="causal_lm",
        budget=Budget(Unit.STEPS, steps, trials=1, evaluations=9),
        rungs=(1 / 3, 2 / 3, 1.0),
        accelerator="cpu",
    )
    _build(steps, folder / "warm")
    begin = time.perf_counter()
    context: TrialContext = _Context(folder / "checkpoints")
    run(task, context)
    return time.perf_counter() - begin


def plain(steps: int) -> float:
    """The same training with nine evaluations and three checkpoints by `Trainer` itself."""
    folder = Path(tempfile.mkdtemp())
    begin = time.perf_counter()
    trainer = _build(
        steps,
        folder,
        eval_strategy="steps",
        eval_steps=steps // 9,
        save_strategy="steps",
        save_steps=steps // 3,
        logging_steps=max(1, steps // 36),
    )
    trainer.train()
    return time.perf_counter() - begin


class _Context:
    """A driver that always says: go on."""

    def __init__(self, checkpoints: Path) -> None:
        from tune_app.core.ports import LocalPaths

        self.paths = LocalPaths(checkpoints, _cache())
        checkpoints.mkdir(parents=True)

    def send(self, event: str, **fields: Any) -> None:
        assert fields.get("outcome", "completed") == "completed", fields

    def publish(self, folder: Path, step: int) -> str:
        """Nobody goes on from it."""
        return str(folder)

    def interrupted(self) -> bool:
        return False


def _cache() -> Path:
    from tune_app.cache import cache_folder

    return cache_folder()


def _build(steps: int, folder: Path, **more: Any) -> Any:
    from transformers import PrinterCallback, TrainingArguments

    from tune_app.training import trainable

    loaded = trainable.load("causal_lm")
    data = loaded.module.prepare(loaded.config(PARAMS), _cache(), lambda line: None)
    args = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        learning_rate=1e-3,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=16,
        dataloader_drop_last=True,
        optim="adamw_torch",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        **more,
    )
    trainer = loaded.module.build(loaded.config(PARAMS), data, args)
    trainer.remove_callback(PrinterCallback)
    return trainer


CHILDREN = {"trial": trial, "plain": plain}

if __name__ == "__main__":
    main()
