"""Drives the real conductor with simulated workers: no Ray, no training, a simulated clock.

Learning curves depend only on a trial's values and a seed, so that simulations are reproducible.
Tests exercise the conductor with it, and `plan` forecasts a study.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tune_app.budget import Horizon, horizon
from tune_app.core.blame import PlugInFailed
from tune_app.core.conductor import Conductor
from tune_app.core.definition import StudyDefinition
from tune_app.core.journal import Event, Journal, encode
from tune_app.core.ports import CheckpointKeeper, Scheduler, Searcher, Tracker
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState, rebuild
from tune_app.core.task import Task
from tune_app.core.tracking import TrackerGroup
from tune_app.core.trial import Checkpoint, Decision, Params
from tune_app.errors import Problem
from tune_app.plugins import make

MAX_STEPS = 24
TOKENS_PER_STEP = 10

Message = tuple[str, dict[str, Any]]
Curve = Callable[[Mapping[str, Any], int], float]
"""The objective of a trial with some values after a number of steps."""
Pace = Callable[[Task, int], float]
"""Seconds that a segment takes from a step to its next message."""


def crossing(params: Mapping[str, Any], step: int, seed: str = "") -> float:
    """A power law with random floor and speed: curves cross, so early ranking is not the final."""
    rng = random.Random(encode(dict(params)) + seed)
    floor, speed = rng.uniform(1, 3), rng.uniform(0.2, 1.2)
    return float(floor + 4 * step**-speed)


def overtaking(task: Task, step: int) -> float:
    """Seconds per message that differ between trials, so that workers overtake each other."""
    return 1.0 + int(task.trial) % 3


class MemoryJournal(Journal):
    """A journal in memory; events are encoded and decoded as for a file."""

    def __init__(self, events: list[Event] | None = None) -> None:
        self.events: list[Event] = list(events or [])

    def append(self, event: str, **fields: Any) -> Event:
        written: Event = json.loads(
            encode({"event": event, "time": float(len(self.events)), **fields})
        )
        self.events.append(written)
        return written

    def commit(self) -> None:
        """Nothing to write."""

    def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Worker:
    """A segment on a simulated worker."""

    task: Task
    messages: Iterator[Message]
    step: int


class Simulation:
    """A simulated study on `workers` workers; `events` are those of a journal to resume from."""

    def __init__(
        self,
        study: StudyDefinition,
        *,
        workers: int = 1,
        curve: Curve = crossing,
        outcomes: Callable[[int], str] = lambda number: "completed",
        scheduler: Scheduler | None = None,
        searcher: Searcher | None = None,
        events: list[Event] | None = None,
        journal: Journal | None = None,
        death: float = 0.0,
        seed: int = 0,
        max_steps: int = MAX_STEPS,
        pace: Pace = overtaking,
        trackers: Iterable[Tracker] = (),
        keeper: CheckpointKeeper | None = None,
        plan: Horizon | None = None,
        fraction: Callable[[int], float] | None = None,
    ) -> None:
        self._plan = plan or plan_of(study, max_steps)
        self._fraction = fraction or (lambda step: step / max_steps)
        self._workers = workers
        self._curve = curve
        self._outcomes = outcomes
        self._death = death
        self._rng = random.Random(seed)
        self._count = itertools.count()
        self._queue: list[tuple[float, int, Worker]] = []
        self._metric = study.metric.reported
        self._pace = pace
        self.now = 0.0
        self.busy = 0.0
        """Busy seconds of all workers together."""
        self.messages = 0
        self.memory = MemoryJournal(events)
        state = rebuild(self.memory.events)
        named = [(type(tracker).__name__, tracker) for tracker in trackers]
        self._journal = journal or self.memory
        recorder = Recorder(state, self._journal, TrackerGroup(named, _raise), keeper)
        self.conductor = Conductor(
            recorder,
            searcher or make.searcher(study),
            scheduler or make.scheduler(study),
            baseline=study.baseline_params if study.baseline else None,
        )
        event = "study_resumed" if events else "study_started"
        started = {} if events else {"study": study.to_document()}
        self.conductor.record(event, **started, software={}, machine={})

    @property
    def events(self) -> list[Event]:
        return self.memory.events

    @property
    def state(self) -> StudyState:
        return self.conductor.state

    @property
    def next_at(self) -> float:
        """The time of the next message in seconds; infinite if there is none."""
        return self._queue[0][0] if self._queue else math.inf

    def close(self) -> None:
        """Closes the journal, so that others can read or extend it."""
        self._journal.close()

    def run(self, interrupt_after: int | None = None, die_after: int | None = None) -> StudyState:
        """Runs to the end, or simulates Ctrl-C or a killed driver after a number of messages."""
        for _ in self.messages_delivered():
            if die_after is not None and self.messages >= die_after:
                return self.state
            if interrupt_after is not None and self.messages >= interrupt_after:
                self.conductor.interrupted = True
        assert self.conductor.finished
        return self.state

    def messages_delivered(self) -> Iterator[int]:
        """Runs message by message; yields the number of delivered messages."""
        self._fill()
        yield self.messages
        while self._queue:
            self._deliver()
            self._fill()
            yield self.messages

    def _fill(self) -> None:
        while len(self._queue) < self._workers:
            task = self.conductor.next_segment()
            if task is None:
                return
            step = task.checkpoint.step if task.checkpoint is not None else 0
            worker = Worker(task, self._messages(task, step), step)
            self._schedule(worker)

    def _schedule(self, worker: Worker) -> None:
        seconds = self._pace(worker.task, worker.step)
        self.busy += seconds
        heapq.heappush(self._queue, (self.now + seconds, next(self._count), worker))

    def _deliver(self) -> None:
        self.now, _, worker = heapq.heappop(self._queue)
        self.messages += 1
        trial = worker.task.trial
        if self._rng.random() < self._death:
            self.conductor.on_worker_gone(trial, "killed")
            return
        event, fields = self._next_message(worker)
        decision = self.conductor.on_message(trial, event, fields)
        if decision is Decision.CONTINUE:
            self._schedule(worker)
        else:
            # An engine also reports the end of the worker, which must have no effect.
            self.conductor.on_worker_gone(trial, "ended")

    def _next_message(self, worker: Worker) -> Message:
        if self.conductor.interrupted and worker.step > 0:
            checkpoint = Checkpoint(worker.task.trial, worker.step)
            return "trial_interrupted", {"checkpoint": checkpoint.name}
        event, fields = next(worker.messages)
        worker.step = fields.get("step", worker.step)
        return event, fields

    def _messages(self, task: Task, start: int) -> Iterator[Message]:
        plan = self._plan
        outcome = self._outcomes(self.state.trials[task.trial].number)
        if outcome != "completed":
            yield _ended(outcome)
        for step in sorted(plan.eval_steps):
            if step > start:
                yield "report", self._report(task, step, plan)
                if not math.isfinite(self._curve(self._params(task), step)):
                    yield _ended("diverged")
        yield _ended("completed")

    def _params(self, task: Task) -> Params:
        """The values of the searched parameters."""
        return self.state.trials[task.trial].params

    def _report(self, task: Task, step: int, plan: Horizon) -> dict[str, Any]:
        rung = plan.rung_at(step)
        return {
            "step": step,
            "tokens": step * TOKENS_PER_STEP,
            "fraction": self._fraction(step),
            "seconds": float(step),
            "metrics": {self._metric: self._curve(self._params(task), step)},
            "rung": rung,
            "checkpoint": None if rung is None else Checkpoint(task.trial, step).name,
        }


def _raise(problem: Problem, error: Exception) -> None:
    """Ends the simulation: its trackers compute its figures, which would be wrong otherwise."""
    raise PlugInFailed(problem) from error


def _ended(outcome: str) -> Message:
    return "trial_ended", {"outcome": outcome, "reason": "", "error": ""}


def plan_of(study: StudyDefinition, max_steps: int) -> Horizon:
    """The evaluations and rungs of a simulated trial, by step."""
    return horizon(max_steps, TOKENS_PER_STEP, study.rungs, study.budget.evaluations)
