"""Studies for `tune_app.simulation`, and what tests read off them.

Curves depend on nothing but a trial's values, so a run that was cut short can be compared with one
that was not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_app.core.journal import Event, Journal, encode
from tune_app.core.state import StudyState
from tune_app.core.trial import TrialState
from tune_app.plugins import make
from tune_app.simulation.simulation import MAX_STEPS, Curve, MemoryJournal, Simulation, crossing

X = {"x": {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}}

__all__ = ["Curve", "MemoryJournal", "Simulation", "crossing"]


def document(**changes: Any) -> dict[str, Any]:
    """A study document; `eta`, `rungs`, `trials` and `searcher` are taken by name."""
    eta, rungs = changes.pop("eta", 3), changes.pop("rungs", 3)
    trials, searcher = changes.pop("trials", 9), changes.pop("searcher", "random")
    scheduler = changes.pop("scheduler", {"name": "asha", "eta": eta, "rungs": rungs})
    budget = {"unit": "steps", "amount": MAX_STEPS, "trials": trials, "evaluations": 6}
    parts = {"scheduler": scheduler, "budget": budget, "parameters": changes.get("parameters", X)}
    return {
        "name": "simulated",
        "metric": {"name": "final_eval_loss", "goal": "minimize"},
        "parameters": X,
        "budget": budget,
        "searcher": {"name": searcher},
        "scheduler": scheduler,
        "rungs": list(make.scheduler(parts).rungs),
        "seed": 0,
        "baseline": True,
        "baseline_params": {"x": 0.9},
    } | changes


def sometimes_diverging(params: Mapping[str, Any], step: int) -> float:
    """As `crossing`, but every third trial or so becomes NaN, somewhere on its way."""
    rng = random.Random(encode(dict(params)) + "?")
    fatal = rng.randint(1, 3 * MAX_STEPS)
    return math.nan if step >= fatal else crossing(params, step)


def ends(events: list[Event]) -> list[str]:
    """The trial of each `trial_ended`, in order."""
    return [event["trial"] for event in events if event["event"] == "trial_ended"]


def result(state: StudyState) -> tuple[str, float] | None:
    """The best trial and its value."""
    best = state.best()
    return None if best is None else (best.id, best.rung_values[state.full_rung])


def on_disk(folder: Path, resolved: Mapping[str, Any], **options: Any) -> Simulation:
    """A simulation that writes a real journal in `folder`."""
    return Simulation(resolved, journal=Journal(folder), **options)


def searched(state: StudyState) -> list[TrialState]:
    """All trials but the baseline."""
    return [trial for trial in state.trials.values() if trial.kind.value == "search"]
