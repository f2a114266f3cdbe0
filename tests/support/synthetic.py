"""Studies that never ran, written through the real journal: curves, rungs and every outcome."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_app.core.journal import Journal, read
from tune_app.core.state import StudyState, rebuild

TOKENS = 400_000
STEP_TOKENS = 1_000
RUNGS = (1 / 9, 1 / 3, 1.0)
EVALUATIONS = 9
PROMPT = "Люди должны читать книги, иначе"


def document(goal: str = "minimize", **changes: Any) -> dict[str, Any]:
    """A resolved study document of a small language model."""
    name = "final_eval_loss" if goal == "minimize" else "final_eval_accuracy"
    resolved: dict[str, Any] = {
        "name": "quickstart",
        "project": "tune-app",
        "description": "A small language model, quickly",
        "source": "search_spaces/quickstart.yaml",
        "method": "bayes",
        "metric": {"name": name, "goal": goal},
        "parameters": {
            "learning_rate": _number("float", 1e-5, 1e-2, log=True),
            "warmup_steps": _number("int", 0, 100),
            "weight_decay": _number("float", 0.0, 0.3),
            "optim": {"type": "choice", "values": ["adamw_torch", "adafactor"], "weights": None},
            "batch_size": {"type": "choice", "values": [4, 8, 16], "weights": None},
            "size": {"type": "fixed", "value": "nano"},
        },
        "budget": {"unit": "tokens", "amount": TOKENS, "trials": 14, "evaluations": EVALUATIONS},
        "rungs": list(RUNGS),
        "trainable": "causal_lm",
        "searcher": {"name": "tpe"},
        "scheduler": {"name": "asha"},
        "resources": {"cpu": 1, "gpu": 0},
        "trackers": ["wandb"],
        "seed": 0,
        "baseline": True,
        "prompt": PROMPT,
        "data": {"corpus": "wordnet", "train_tokens": 2_420_000, "vocab_size": 4096},
    }
    return resolved | changes


def _number(kind: str, low: float, high: float, log: bool = False) -> dict[str, Any]:
    return {"type": kind, "low": low, "high": high, "log": log, "step": None}


class SyntheticStudy:
    """Writes the events of a study in the order in which a driver would."""

    def __init__(self, folder: Path, resolved: Mapping[str, Any] | None = None) -> None:
        self._now = 1_700_000_000.0
        self._journal = Journal(folder, clock=lambda: self._now)
        self._metric = str((resolved or document())["metric"]["name"]).removeprefix("final_")
        self._number = 0
        self.append(
            "study_started",
            study=dict(resolved or document()),
            software={"torch": "2.13.0", "transformers": "5.23.0", "ray": "2.60.0"},
            machine={"cpu": "2 cores", "memory_gb": 8, "gpu": "none"},
        )

    def append(self, event: str, **fields: Any) -> None:
        self._now += 1.5
        self._journal.append(event, **fields)

    def trial(
        self,
        params: Mapping[str, Any],
        curve: list[float],
        outcome: str | None = "completed",
        *,
        kind: str = "search",
        reason: str = "",
        samples: Mapping[str, str] | None = None,
    ) -> str:
        """A trial with one value an evaluation, in one segment. Outcome None: still running."""
        name = f"{self._number:04d}"
        self.append(
            "trial_created", trial=name, number=self._number, kind=kind, params=dict(params)
        )
        self._number += 1
        self.append("segment_started", trial=name, segment=1, checkpoint=None)
        self.append("trial_effective", trial=name, effective=_effective(params))
        for stage, text in (samples or {}).items():
            self.append("sample", trial=name, stage=stage, prompt=PROMPT, text=text)
        for number, value in enumerate(curve, start=1):
            self._reports(name, number, value)
        if outcome is not None:
            tokens = len(curve) * TOKENS // EVALUATIONS
            ended: dict[str, Any] = {
                "outcome": outcome,
                "value": curve[-1] if curve else None,
                "tokens": tokens,
                "reason": reason,
            }
            self.append("trial_ended", trial=name, error="", **ended)
        return name

    def _reports(self, trial: str, number: int, value: float) -> None:
        for half in (number - 0.5, float(number)):
            fraction = half / EVALUATIONS
            tokens = round(TOKENS * fraction)
            at_evaluation = half == number
            metrics = {"train_loss": value + 0.1, "grad_norm": 0.9, "learning_rate": 1e-4}
            rung = next((i for i, at in enumerate(RUNGS) if math.isclose(at, fraction)), None)
            self.append(
                "report",
                trial=trial,
                step=tokens // STEP_TOKENS,
                tokens=tokens,
                fraction=fraction,
                seconds=tokens / 9_600,
                metrics=metrics | ({self._metric: value} if at_evaluation else {}),
                rung=rung,
                checkpoint=f"checkpoints/{trial}/step-{tokens // STEP_TOKENS}"
                if rung is not None
                else None,
            )

    def end(self, reason: str = "all 14 trials ended") -> None:
        self.append("study_ended", reason=reason)

    def state(self) -> StudyState:
        """What the journal amounts to so far."""
        return rebuild(read(self._journal.path)[0])


def _effective(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "optimizer": "AdamW" if params.get("optim") != "adafactor" else "Adafactor",
        "autocast": None,
        "compiled": False,
        "tokens_per_step": STEP_TOKENS,
        "peak_learning_rate": params.get("learning_rate"),
    }


def write(folder: Path, goal: str = "minimize", seed: int = 1) -> StudyState:
    """A whole study: 14 trials, asynchronous halving, every way a trial can go wrong."""
    rng = random.Random(seed)
    study = SyntheticStudy(folder, document(goal))
    study.append("choice_dropped", parameter="optim", value="adamw_apex_fused", reason="no apex")
    study.append("finding", text="eval loss is measured on 64 held-out samples")
    defaults = {"learning_rate": 5e-5, "warmup_steps": 0, "weight_decay": 0.0, "batch_size": 8}
    samples = {"untrained": f"{PROMPT} ыщ|*ъ_ <b>", "trained": f"{PROMPT} они забудут слова."}
    study.trial(
        defaults | {"optim": "adamw_torch"},
        _curve(rng, 5e-5, 9, goal),
        kind="baseline",
        samples=samples,
    )
    for lr, length, outcome, reason in _PLAN:
        curve = _curve(rng, lr, length, goal)
        if outcome == "diverged":
            curve = [*curve[:-1], curve[0] * (3 if goal == "minimize" else 0.2), math.nan]
        params = _params(rng, lr)
        trained = {"trained": f"{PROMPT} мир станет беднее."} if outcome == "completed" else None
        study.trial(params, curve, outcome, reason=reason, samples=trained)
    study.end()
    return study.state()


_BELOW = "below the best third at its rung"
_PLAN: tuple[tuple[float, int, str, str], ...] = (
    (3.1e-4, 3, "stopped", _BELOW),
    (1.4e-3, 9, "completed", ""),
    (2.2e-5, 1, "stopped", _BELOW),
    (9.1e-3, 3, "diverged", "eval_loss is NaN at step 133"),
    (6.5e-4, 3, "stopped", _BELOW),
    (4.0e-5, 1, "stopped", _BELOW),
    (2.4e-3, 9, "completed", ""),
    (1.1e-4, 1, "stopped", _BELOW),
    (9.0e-4, 0, "out_of_memory", "1.2 GB more than the worker has"),
    (1.8e-4, 1, "stopped", _BELOW),
    (4.4e-3, 3, "stopped", _BELOW),
    (1.0e-3, 0, "failed", "ValueError: sequence longer than 1024"),
    (1.2e-5, 1, "stopped", _BELOW),
)


def _params(rng: random.Random, lr: float) -> dict[str, Any]:
    return {
        "learning_rate": lr * rng.uniform(0.9, 1.1),
        "warmup_steps": rng.randint(0, 100),
        "weight_decay": rng.uniform(0, 0.3),
        "optim": rng.choice(["adamw_torch", "adafactor"]),
        "batch_size": rng.choice([4, 8, 16]),
    }


def _curve(rng: random.Random, lr: float, length: int, goal: str) -> list[float]:
    """A power law whose speed and floor depend on the learning rate, best near 1.5e-3."""
    miss = abs(math.log10(lr / 1.5e-3))
    losses = [
        4.9 + 0.45 * miss + 3.2 * (number * (0.9 - 0.25 * min(miss, 2))) ** -0.8 * 0.6
        for number in range(1, length + 1)
    ]
    noisy = [loss + rng.gauss(0, 0.02) for loss in losses]
    return noisy if goal == "minimize" else [1 / loss for loss in noisy]
