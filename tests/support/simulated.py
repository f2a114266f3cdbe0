"""Small studies for `tune_app.simulation`, and what tests read off them.

Curves depend on nothing but a trial's values, so a run that was cut short can be compared with one
that was not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tune_app.budget import Unit
from tune_app.core.definition import Budget, PlugIn, StudyDefinition
from tune_app.core.journal import Event, Journal, encode
from tune_app.core.ports import CheckpointKeeper, SchedulerContext
from tune_app.core.state import StudyState
from tune_app.core.trial import TrialState
from tune_app.plugins import make
from tune_app.simulation import simulation
from tune_app.simulation.simulation import MAX_STEPS, Curve, MemoryJournal, crossing
from tune_app.space.domains import from_document

X = {"x": {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}}

__all__ = ["Curve", "MemoryJournal", "Simulation", "crossing"]


class Simulation(simulation.Simulation):
    """A simulation of the study that a document describes; `metric` is what workers report."""

    def __init__(
        self, document: Mapping[str, Any], metric: str | None = None, **options: Any
    ) -> None:
        super().__init__(StudyDefinition.from_document(document), **options)
        self._metric = metric or self._metric


def context(trials: int = 1000, fewest_steps: float | None = None, *names: str) -> SchedulerContext:
    """What a scheduler is told of a study."""
    return SchedulerContext(trials, fewest_steps, frozenset(names))


def document(**changes: Any) -> dict[str, Any]:
    """A study document; `eta`, `rungs`, `trials` and `searcher` are taken by name."""
    eta, rungs = changes.pop("eta", 3), changes.pop("rungs", 3)
    trials, searcher = changes.pop("trials", 9), changes.pop("searcher", "random")
    scheduler = changes.pop("scheduler", {"name": "asha", "eta": eta, "rungs": rungs})
    budget = {"unit": "steps", "amount": MAX_STEPS, "trials": trials, "evaluations": 6}
    space = {k: from_document(v) for k, v in changes.get("parameters", X).items()}
    named = PlugIn.from_document(scheduler)
    wanted = Budget(Unit.STEPS, MAX_STEPS, trials, evaluations=6)
    return {
        "name": "simulated",
        "metric": {"name": "final_eval_loss", "goal": "minimize"},
        "parameters": X,
        "budget": budget,
        "searcher": {"name": searcher},
        "scheduler": scheduler,
        "rungs": list(make.scheduler_of(named, wanted, space).rungs),
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


def redefine(state: StudyState, **fields: Any) -> None:
    """Makes a study another one, as no event of a journal can."""
    state.study = replace(state.definition, **fields)


def defined(**changes: Any) -> StudyDefinition:
    """The study that `document` describes."""
    return StudyDefinition.from_document(document(**changes))


def on_disk(folder: Path, resolved: Mapping[str, Any], **options: Any) -> Simulation:
    """A simulation that writes a real journal in `folder`."""
    return Simulation(resolved, journal=Journal(folder), **options)


class InTurn:
    """Keepers of checkpoints that are told one after the other: what surrounds the real one."""

    def __init__(self, *keepers: CheckpointKeeper) -> None:
        self._keepers = keepers

    def on_event(self, event: Event, state: StudyState) -> None:
        for keeper in self._keepers:
            keeper.on_event(event, state)


def searched(state: StudyState) -> list[TrialState]:
    """All trials but the baseline."""
    return [trial for trial in state.trials.values() if trial.kind.value == "search"]
