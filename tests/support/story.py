"""A small study that tests of trackers tell, event by event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tune_app.core.journal import Journal
from tune_app.core.ports import Tracker
from tune_app.core.state import StudyState

AWKWARD = [True, 1, "1", None, [1, 2], {"a": 1}]
FLOAT = {"type": "float", "low": 1e-5, "high": 1e-3, "log": True, "step": None}
DOCUMENT: dict[str, Any] = {
    "name": "tiny study",
    "project": "trackers-test",
    "entity": None,
    "description": "about nothing",
    "method": "bayes",
    "metric": {"name": "final_eval_loss", "goal": "minimize"},
    "parameters": {
        "learning_rate": FLOAT,
        "warmup_steps": {"type": "int", "low": 0, "high": 100, "log": False, "step": None},
        "optim": {"type": "choice", "values": ["adamw_torch", "adafactor"], "weights": None},
        "awkward": {"type": "choice", "values": AWKWARD, "weights": None},
        "size": {"type": "fixed", "value": "nano"},
    },
    "budget": {"unit": "tokens", "amount": 9000, "trials": 9, "evaluations": 9},
    "rungs": [0.1111, 0.3333, 1.0],
    "trainable": "causal_lm",
    "searcher": {"name": "tpe"},
    "scheduler": {"name": "asha"},
    "trackers": [{"name": "wandb"}, {"name": "optuna"}],
    "seed": 0,
    "prompt": "Once",
}
EFFECTIVE = {"optimizer": "AdamW", "autocast": None, "compiled": False, "tokens_per_step": 100}


class Story:
    """Tells a study as a driver does: journal, then state, then tracker."""

    def __init__(self, folder: Path, tracker: Tracker | None = None) -> None:
        self.folder = folder
        self.tracker = tracker
        self.journal = Journal(folder)
        self.state = StudyState()

    def tell(self, event: str, **fields: Any) -> None:
        written = self.journal.append(event, **fields)
        self.state.apply(written)
        if self.tracker is not None:
            self.tracker.on_event(written, self.state)

    def start(self) -> None:
        self.tell("study_started", study=DOCUMENT, software={}, machine={})

    def begin(self, number: int, **params: Any) -> str:
        trial = f"{number:04d}"
        values = {"learning_rate": 1e-4, "warmup_steps": 10, "optim": "adafactor", "awkward": None}
        self.tell(
            "trial_created", trial=trial, number=number, kind="search", params={**values, **params}
        )
        self.tell("segment_started", trial=trial, segment=1, checkpoint=None)
        self.tell("trial_effective", trial=trial, effective=EFFECTIVE)
        return trial

    def report(self, trial: str, step: int, loss: float, rung: int | None = None) -> None:
        self.tell(
            "report",
            trial=trial,
            step=step,
            tokens=step * 100,
            fraction=step / 90,
            seconds=step / 8,
            metrics={"eval_loss": loss, "train_loss": loss + 0.25},
            rung=rung,
            checkpoint=f"checkpoints/{trial}/step-{step}" if rung is not None else None,
        )

    def end(self, trial: str, outcome: str, reason: str = "") -> None:
        tokens = self.state.trials[trial].tokens
        self.tell(
            "trial_ended", trial=trial, outcome=outcome, value=None, tokens=tokens, reason=reason
        )

    def complete(self, number: int, loss: float = 2.0, **params: Any) -> str:
        trial = self.begin(number, **params)
        for step, rung in ((10, 0), (30, 1), (60, None), (90, 2)):
            self.report(trial, step, loss + 1 - step / 90, rung)
        self.end(trial, "completed")
        return trial

    def three_trials(self) -> None:
        """One completed, one stopped, one diverged trial."""
        self.complete(0, awkward=[1, 2])
        stopped = self.begin(1, awkward=True)
        self.report(stopped, 10, 4.5, rung=0)
        self.end(stopped, "stopped", "stopped at rung 0")
        diverged = self.begin(2, awkward={"a": 1})
        self.report(diverged, 10, 4.25, rung=0)
        self.report(diverged, 20, float("inf"))
        self.report(diverged, 30, float("nan"))
        self.end(diverged, "diverged", "eval_loss is NaN")
