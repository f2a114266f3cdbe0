"""A searcher that is W&B's own engine, `bayes`, in the environment of `peers/wandb_sweeps.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tune_app.core.state import StudyState
from tune_app.core.trial import Status
from tune_app.space import wandb_export
from tune_app.space.domains import Space, searched

HERE = Path(__file__).resolve().parent


class WandbBayes:
    """Proposes what W&B would after the runs that have ended; only full runs make sense to it."""

    def __init__(self, space: Space, seed: int) -> None:
        self._parameters = wandb_export.parameters(searched(space))
        self._seed = seed
        self._engine: subprocess.Popen[str] | None = None

    def suggest(self, state: StudyState, number: int) -> dict[str, Any]:
        goal = "minimize" if state.sign > 0 else "maximize"
        sweep = {
            "method": "bayes",
            "metric": {"name": state.metric, "goal": goal},
            "parameters": self._parameters,
        }
        runs = [
            {"params": trial.params, "value": state.final_value(trial)}
            for trial in state.with_status(Status.ENDED)
        ]
        return self._ask({"sweep": sweep, "runs": runs, "seed": 1000 * self._seed + number})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._engine is None:
            self._engine = _started()
        assert self._engine.stdin is not None
        assert self._engine.stdout is not None
        self._engine.stdin.write(json.dumps(question) + "\n")
        self._engine.stdin.flush()
        answer: dict[str, Any] = json.loads(self._engine.stdout.readline())
        return answer


def _started() -> subprocess.Popen[str]:
    sys.path.append(str(HERE / "peers"))
    import run

    command = [str(run.environment("wandb_sweeps")), str(HERE / "_wandb_ask.py")]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def create(space: Space, seed: int) -> WandbBayes:
    """The searcher; it has no options."""
    return WandbBayes(space, seed)
