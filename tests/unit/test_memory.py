"""A worker that runs one trial after another does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tune_app.engine.cluster import WORKER_ENVIRONMENT

TRIALS = 7
ALLOWED_GROWTH_MB = 120
"""One trial of this size holds some 300 MB while it runs."""

WORKER = """
    import sys, threading, psutil
    from pathlib import Path
    from tune_app.budget import Unit
    from tune_app.core.definition import Budget
    from tune_app.core.ports import LocalPaths
    from tune_app.core.task import Task
    from tune_app.training.segment import run

    class Context:
        def __init__(self, folder):
            self.paths = LocalPaths(folder / "c", cache=folder.parent / "cache")
            self.paths.checkpoints.mkdir(parents=True)
        def send(self, event, **fields):
            assert fields.get("outcome", "completed") == "completed", fields
        def publish(self, folder, step):
            return f"checkpoints/0000/step-{step}"
        def interrupted(self):
            return False

    folder = Path(sys.argv[1])
    budget = Budget(Unit.STEPS, 3, trials=1, evaluations=1)
    for number in range(int(sys.argv[2])):
        params = {"dataset": str(folder / "text.txt"), "vocab_size": 4096, "eval_tokens": 2048,
                  "per_device_train_batch_size": (16, 8)[number % 2],
                  "optim": ("adamw_torch", "adafactor")[number % 2]}
        task = Task(trial=str(number), params=params, seed=0, trainable="causal_lm",
                    budget=budget, rungs=(1.0,), accelerator="cpu")
        thread = threading.Thread(target=run, args=(task, Context(folder / str(number))))
        thread.start()
        thread.join()
        print(psutil.Process().memory_info().rss // 2**20)
"""


def test_a_worker_does_not_grow_from_trial_to_trial(tmp_path: Path) -> None:
    lines = [f"{i} " + " ".join(f"слово{(i * j) % 977}" for j in range(1, 40)) for i in range(1500)]
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path), str(TRIALS)],
        env={**os.environ, **WORKER_ENVIRONMENT, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    sizes = [int(line) for line in out.stdout.split()]
    assert len(sizes) == TRIALS
    assert sizes[-1] - sizes[0] < ALLOWED_GROWTH_MB, sizes
