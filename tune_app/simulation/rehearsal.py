"""Forecasts a study: runs its own searcher and scheduler on a simulated clock.

The losses are unknown, so each rehearsal simulates other ones; the forecast gives ranges.
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
"""Steps of a simulated trial: enough to place rungs precisely."""
REHEARSALS = 20
PATIENCE_S = 8.0
"""No further rehearsal starts after this time, except the second: large studies take longer."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The durations of a trial with some values, in seconds."""

    training_s: float
    """Of the whole budget."""
    evaluation_s: float
    """Of one evaluation."""
    start_s: float
    """From the start of the worker to the first step, in each segment."""


@dataclass(frozen=True, slots=True)
class Span:
    """The minimum, mean and maximum of some numbers."""

    low: float
    mean: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Span:
        """The span of at least one number."""
        listed = list(numbers)
        return cls(min(listed), sum(listed) / len(listed), max(listed))

    def times(self, factor: float) -> Span:
        """The span in another unit, by a conversion factor."""
        return Span(self.low * factor, self.mean * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class RungForecast:
    """How many trials reach a rung."""

    share: float
    """The rung, as a fraction of the budget."""
    trials: Span


@dataclass(frozen=True, slots=True)
class Schedule:
    """The forecast of a study, from several rehearsals."""

    rehearsals: int
    trials: int
    rungs: tuple[RungForecast, ...]
    runs: Span
    """Spent budget, in full runs of a trial."""
    trial_s: Span
    """Seconds of all trials together."""
    wall_s: Span
    most_checkpoints: Span
    """Maximum number on disk at one time."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One simulated study."""

    reached: tuple[int, ...]
    """Number of trials that reached each rung."""
    runs: float
    """Spent budget, in full runs of a trial."""
    trial_s: float
    wall_s: float
    most_checkpoints: int
    """Maximum number on disk at one time."""


def rehearse(
    study: StudyDefinition,
    slots: int,
    speed: Callable[[Params], Speed],
    keep_best: int,
    clock: Callable[[], float] = time.monotonic,
) -> list[Rehearsal]:
    """Up to `REHEARSALS` rehearsals of a study after preflight; `slots` trials run at once."""
    begun, done = clock(), []
    for number in range(REHEARSALS):
        if number >= 2 and clock() - begun > PATIENCE_S:
            break
        done.append(_once(replace(study, seed=study.seed + number), slots, speed, keep_best))
    return done


def full_runs(study: StudyDefinition) -> float:
    """Estimated budget of a study in full runs: one rehearsal, one worker, random search."""
    quick = replace(study, seed=0, searcher=PlugIn("random"))
    state = Simulation(quick, max_steps=STEPS).run()
    return sum(trial.fraction for trial in state.trials.values())


def first_suggestions(study: StudyDefinition, count: int) -> list[dict[str, Any]]:
    """The values of the first `count` searched trials, the same as in the study itself."""
    trials = count + study.baseline
    state = Simulation(study.with_trials(trials), max_steps=STEPS, workers=trials).run()
    return [trial.params for trial in state.trials.values() if trial.kind is Kind.SEARCH]


class _CheckpointCounter:
    """A tracker that counts the checkpoints that exist at the same time."""

    def __init__(self, keep_best: int) -> None:
        self.most = 0
        self._keep_best = keep_best

    def on_event(self, event: Event, state: StudyState) -> None:
        if event["event"] != "report" or not event["checkpoint"]:
            return
        trials = state.trials.values()
        waiting = sum(t.status is not Status.ENDED and t.checkpoint is not None for t in trials)
        # A trial's new checkpoint is written before its old one is deleted.
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
    """The forecast from rehearsals: each figure with its range."""
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
