"""What a study will probably do: its own searcher and scheduler on a simulated clock.

Losses are made up anew for every rehearsal, since nobody knows them; what is told is a range.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tune_app.core.definition import PlugIn, StudyDefinition
from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.task import Task
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
class Span:
    """The least, the mean and the most of some numbers."""

    low: float
    mean: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Span:
        """Of at least one number."""
        listed = list(numbers)
        return cls(min(listed), sum(listed) / len(listed), max(listed))

    def times(self, factor: float) -> Span:
        """In another unit."""
        return Span(self.low * factor, self.mean * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class RungForecast:
    """How many trials come to a rung."""

    share: float
    """Of the budget."""
    trials: Span


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a study will probably do."""

    rehearsals: int
    trials: int
    rungs: tuple[RungForecast, ...]
    runs: Span
    """Full runs."""
    trial_s: Span
    """Seconds of all trials together."""
    wall_s: Span
    most_checkpoints: Span
    """On disk at one moment."""


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
    study: StudyDefinition,
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
        done.append(_once(replace(study, seed=study.seed + number), slots, speed, keep_best))
    return done


def full_runs(study: StudyDefinition) -> float:
    """What a study will probably cost: one quick rehearsal on one worker, with values at random."""
    quick = replace(study, seed=0, searcher=PlugIn("random"))
    state = Simulation(quick, max_steps=STEPS).run()
    return sum(trial.fraction for trial in state.trials.values())


def first_suggestions(study: StudyDefinition, count: int) -> list[dict[str, Any]]:
    """The values of the first searched trials, as the study itself will draw them."""
    trials = count + study.baseline
    state = Simulation(study.with_trials(trials), max_steps=STEPS, workers=trials).run()
    return [trial.params for trial in state.trials.values() if trial.kind is Kind.SEARCH]


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
    study: StudyDefinition, slots: int, speed: Callable[[Params], Speed], keep_best: int
) -> Rehearsal:
    plan = plan_of(study, STEPS)
    moments = sorted(plan.eval_steps)

    def pace(task: Task, step: int) -> float:
        cost = speed(task.params)
        then = next((moment for moment in moments if moment > step), None)
        if then is None:
            return 0.0
        fresh = step == (task.checkpoint.step if task.checkpoint is not None else 0)
        training = (then - step) / STEPS * cost.training_s
        return training + cost.evaluation_s + fresh * cost.start_s

    def curve(params: Params, step: int) -> float:
        return study.metric.sign * crossing(params, step, f"rehearsal {study.seed}")

    checkpoints = _CheckpointCounter(keep_best)
    simulation = Simulation(
        study,
        workers=slots,
        curve=curve,
        max_steps=STEPS,
        pace=pace,
        trackers=[checkpoints],
    )
    trials = list(simulation.run().trials.values())
    return Rehearsal(
        reached=tuple(
            sum(rung in t.rung_values for t in trials) for rung in range(len(study.rungs))
        ),
        runs=sum(trial.fraction for trial in trials),
        trial_s=simulation.busy,
        wall_s=simulation.now,
        most_checkpoints=checkpoints.most,
    )


def schedule(study: StudyDefinition, rehearsals: Sequence[Rehearsal]) -> Schedule:
    """What rehearsals came to, each figure with its range."""
    return Schedule(
        rehearsals=len(rehearsals),
        trials=study.budget.trials,
        rungs=tuple(
            RungForecast(share, Span.of(one.reached[index] for one in rehearsals))
            for index, share in enumerate(study.rungs)
        ),
        runs=Span.of(one.runs for one in rehearsals),
        trial_s=Span.of(one.trial_s for one in rehearsals),
        wall_s=Span.of(one.wall_s for one in rehearsals),
        most_checkpoints=Span.of(one.most_checkpoints for one in rehearsals),
    )
