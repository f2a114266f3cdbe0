"""What a study will probably do: its own searcher and scheduler on a simulated clock.

Losses are made up anew for every rehearsal, since nobody knows them; what is told is a range.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tune_app.core.conductor import Segment
from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Params, Status
from tune_app.simulation.simulation import Simulation, crossing, plan_of

STEPS = 1000
"""Steps of a rehearsed trial: so many that a rung is where it should be."""
REHEARSALS = 20
PATIENCE_S = 8.0
"""After this long there are no more rehearsals, but two at least: large studies take longer."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a trial with some values costs, in seconds."""

    training_s: float
    """Of the whole budget."""
    evaluation_s: float
    """Of one evaluation."""
    start_s: float
    """From a worker to the first step, in each segment."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One simulated study."""

    reached: tuple[int, ...]
    """Trials that came to each rung."""
    runs: float
    """Full runs spent."""
    trial_s: float
    wall_s: float
    most_checkpoints: int
    """On disk at one moment."""


def rehearse(
    document: Mapping[str, Any],
    slots: int,
    speed: Callable[[Params], Speed],
    keep_best: int,
    clock: Callable[[], float] = time.monotonic,
) -> list[Rehearsal]:
    """Some rehearsals of a prepared study on so many slots."""
    begun, done = clock(), []
    for number in range(REHEARSALS):
        if number >= 2 and clock() - begun > PATIENCE_S:
            break
        done.append(_once({**document, "seed": document["seed"] + number}, slots, speed, keep_best))
    return done


def full_runs(document: Mapping[str, Any]) -> float:
    """What a study will probably cost: one quick rehearsal on one worker, with values at random."""
    quick = {**document, "seed": 0, "searcher": {"name": "random"}}
    study = Simulation(quick, max_steps=STEPS, metric=_reported(document))
    return sum(trial.fraction for trial in study.run().trials.values())


def first_suggestions(document: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The values of the first searched trials, as the study itself will draw them."""
    trials = count + bool(document["baseline"])
    short = {**document, "budget": {**document["budget"], "trials": trials}}
    simulation = Simulation(short, max_steps=STEPS, workers=trials, metric=_reported(document))
    state = simulation.run()
    return [trial.params for trial in state.trials.values() if trial.kind is Kind.SEARCH]


def _reported(document: Mapping[str, Any]) -> str:
    return str(document["metric"]["name"]).removeprefix("final_")


class _CheckpointCounter:
    """A tracker that counts the checkpoints that have to be kept."""

    def __init__(self, keep_best: int) -> None:
        self.most = 0
        self._keep_best = keep_best

    def on_event(self, event: Event, state: StudyState) -> None:
        if event["event"] != "report" or not event["checkpoint"]:
            return
        trials = state.trials.values()
        waiting = sum(t.status is not Status.ENDED and t.checkpoint is not None for t in trials)
        # A later one is written before the one that it replaces is deleted.
        replaced = event["rung"] > 0
        best = min(self._keep_best, len(state.completed()))
        self.most = max(self.most, waiting + best + replaced)

    def close(self, timeout_s: float) -> None:
        """Nothing to close."""


def _once(
    document: Mapping[str, Any], slots: int, speed: Callable[[Params], Speed], keep_best: int
) -> Rehearsal:
    plan = plan_of(document, STEPS)
    moments = sorted(plan.eval_steps)

    def pace(segment: Segment, step: int) -> float:
        cost = speed(segment.params)
        then = next((moment for moment in moments if moment > step), None)
        if then is None:
            return 0.0
        checkpoint = segment.checkpoint or "step-0"
        fresh = step == int(checkpoint.rsplit("-", 1)[-1])
        training = (then - step) / STEPS * cost.training_s
        return training + cost.evaluation_s + fresh * cost.start_s

    sign = 1 if document["metric"]["goal"] == "minimize" else -1

    def curve(params: Params, step: int) -> float:
        return sign * crossing(params, step, f"rehearsal {document['seed']}")

    checkpoints = _CheckpointCounter(keep_best)
    study = Simulation(
        document,
        workers=slots,
        curve=curve,
        max_steps=STEPS,
        metric=_reported(document),
        pace=pace,
        trackers=[checkpoints],
    )
    trials = list(study.run().trials.values())
    return Rehearsal(
        reached=tuple(
            sum(rung in t.rung_values for t in trials) for rung in range(len(document["rungs"]))
        ),
        runs=sum(trial.fraction for trial in trials),
        trial_s=study.busy,
        wall_s=study.now,
        most_checkpoints=checkpoints.most,
    )


def span(numbers: Iterable[float]) -> dict[str, float]:
    """The least, the mean and the most of some numbers."""
    listed = list(numbers)
    return {"low": min(listed), "mean": sum(listed) / len(listed), "high": max(listed)}


def summary(document: Mapping[str, Any], rehearsals: Sequence[Rehearsal]) -> dict[str, Any]:
    """Rehearsals as plain data: each figure with its range."""
    rows = [asdict(rehearsal) for rehearsal in rehearsals]
    figures = ("runs", "trial_s", "wall_s", "most_checkpoints")
    return {
        "rehearsals": len(rows),
        "trials": document["budget"]["trials"],
        "rungs": [
            {"share": share, "trials": span(row["reached"][index] for row in rows)}
            for index, share in enumerate(document["rungs"])
        ],
        **{name: span(row[name] for row in rows) for name in figures},
    }
