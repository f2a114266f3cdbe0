"""Searches in a plane with one best point, and states with trials of given values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.simulated import Curve, MemoryJournal, Simulation, document, searched
from tune_app.core.state import StudyState, rebuild
from tune_app.searchers import random as random_search
from tune_app.space.domains import Fixed, Float, Space, to_document

PLANE: Space = {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0), "n": Fixed(3)}


def distance(params: Mapping[str, Any], step: int = 0) -> float:
    """Best at (0.2, 0.7)."""
    return float((params["x"] - 0.2) ** 2 + (params["y"] - 0.7) ** 2)


def resolved(space: Space, **changes: Any) -> dict[str, Any]:
    parameters = {name: to_document(domain) for name, domain in space.items()}
    return document(parameters=parameters, baseline=False, **changes)


def state_of(
    space: Space, *trials: tuple[Mapping[str, Any], float | None, str | None]
) -> StudyState:
    """A state with trials of (values, objective at the only rung, outcome)."""
    journal = MemoryJournal()
    journal.append("study_started", study=resolved(space, rungs=1))
    for number, (params, value, outcome) in enumerate(trials):
        name = f"{number:04d}"
        journal.append(
            "trial_created", trial=name, number=number, kind="search", params=dict(params)
        )
        journal.append("segment_started", trial=name, segment=1, checkpoint=None)
        if value is not None:
            journal.append("report", trial=name, **report(value))
        if outcome is not None:
            journal.append("trial_ended", trial=name, outcome=outcome)
    return rebuild(journal.events)


def report(value: float) -> dict[str, Any]:
    spent = {"step": 24, "tokens": 240, "fraction": 1.0, "seconds": 1.0}
    return {**spent, "metrics": {"eval_loss": value}, "rung": 0, "checkpoint": None}


def history(count: int = 16) -> list[tuple[Mapping[str, Any], float, str]]:
    searcher = random_search.create(PLANE, seed=1)
    proposed = [searcher.suggest(state_of(PLANE), number) for number in range(count)]
    return [(params, distance(params), "completed") for params in proposed if params]


def late_mean(
    searcher: str, seed: int, space: Space = PLANE, curve: Curve = distance, **constraints: Any
) -> float:
    """The mean value of the last 15 of 45 trials."""
    fifo = {"name": "fifo"}
    study = resolved(space, trials=45, seed=seed, searcher=searcher, scheduler=fifo, **constraints)
    state = Simulation(study, curve=curve).run()
    late = [curve(trial.params, 0) for trial in searched(state)][30:]
    return sum(late) / len(late)
