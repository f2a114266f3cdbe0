"""CPU seconds of commands that only look, beside those of `import numpy`.

    python -m benchmarks.startup [--runs 7]

Commands run in turn, round by round, in fresh processes, so that a machine whose speed drifts does
not matter; the ratio is the median of those within a round. User and system time of all threads.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tune_app.core.definition import StudyDefinition
from tune_app.core.journal import Journal
from tune_app.simulation.simulation import MAX_STEPS, Simulation

TRIALS = 25
NAME = "study"
YARDSTICK = "import numpy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="rounds (default: 7)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as storage:
        _write_study(Path(storage) / NAME)
        commands = _commands(storage)
        rounds = [
            {name: _cpu_s(words) for name, words in commands.items()} for _ in range(args.runs)
        ]
    print(f"{'command':<14}{'CPU s':>8}{'ratio':>8}")
    for name in commands:
        seconds = statistics.median(taken[name] for taken in rounds)
        ratio = statistics.median(taken[name] / taken[YARDSTICK] for taken in rounds)
        print(f"{name:<14}{seconds:>8.3f}{ratio:>8.2f}")


def _commands(storage: str) -> dict[str, list[str]]:
    at = ["--storage", storage]
    verbs = {
        "--help": ["--help"],
        "show --help": ["show", "--help"],
        "run --help": ["run", "--help"],
        "list": ["list", *at],
        "show": ["show", NAME, *at],
    }
    commands = {name: ["-m", "tune_app", *words] for name, words in verbs.items()}
    return {YARDSTICK: ["-c", YARDSTICK], **commands}


def _cpu_s(words: list[str]) -> float:
    """What a Python process with these arguments takes of all cores together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _write_study(folder: Path) -> None:
    """A study that has ended, of trials with made-up curves."""
    folder.mkdir()
    parameters: dict[str, Any] = {
        name: {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}
        for name in ("learning_rate", "weight_decay", "warmup", "dropout")
    }
    budget = {"unit": "steps", "amount": MAX_STEPS, "trials": TRIALS, "evaluations": 6}
    scheduler = {"name": "asha", "eta": 3, "rungs": 3}
    document = {
        "scheduler": scheduler,
        "budget": budget,
        "parameters": parameters,
        "name": NAME,
        "metric": {"name": "final_eval_loss", "goal": "minimize"},
        "searcher": {"name": "random"},
        "rungs": [1 / 9, 1 / 3, 1.0],
        "seed": 0,
        "baseline": False,
        "baseline_params": {},
    }
    Simulation(StudyDefinition.from_document(document), journal=Journal(folder)).run()


if __name__ == "__main__":
    main()
