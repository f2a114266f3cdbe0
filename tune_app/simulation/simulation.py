"""Drives the real conductor with simulated workers: no Ray, no training, a clock that only counts.

Curves depend on nothing but a trial's values and a seed, so a simulated study is the same whenever
it is run. Tests put the conductor through its paces with it, and a plan rehearses a study.
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
"""The objective of a trial with these values after this many steps."""
Pace = Callable[[Task, int], float]
"""Seconds that a segment takes from this step to its next message."""


def crossing(params: Mapping[str, Any], step: int, seed: str = "") -> float:
    """A power law with a floor and a speed of its own: early ranks are not the final ones."""
    rng = random.Random(encode(dict(params)) + seed)
    floor, speed = rng.uniform(1, 3), rng.uniform(0.2, 1.2)
    return float(floor + 4 * step**-speed)


def overtaking(task: Task, step: int) -> float:
    """Trials are of different speed, so that workers overtake each other."""
    return 1.0 + int(task.trial) % 3


class MemoryJournal(Journal):
    """A journal without the disk: what is kept is what a file would give back."""

    def __init__(self, events: list[Event] | None = None) -> None:
        self.events: list[Event] = list(events or [])

    def append(self, event: str, **fields: Any) -> Event:
        written: Event = json.loads(
            encode({"event": event, "time": float(len(self.events)), **fields})
        )
        self.events.append(written)
        return written

    def commit(self) -> None:
        """Memory is all there is."""

    def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Worker:
    """A segment on a simulated worker."""

    task: Task
    messages: Iterator[Message]
    step: int


class Simulation:
    """A study on `workers` workers. `events` is its journal so far."""

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
        """Seconds of all workers together."""
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
        """When the next message comes; infinite where none ever does."""
        return self._queue[0][0] if self._queue else math.inf

    def close(self) -> None:
        """Closes the journal, for others to read or to write on."""
        self._journal.close()

    def run(self, interrupt_after: int | None = None, die_after: int | None = None) -> StudyState:
        """Runs to the end, or until so many messages came: then Ctrl-C, or the driver dies."""
        for _ in self.messages_delivered():
            if die_after is not None and self.messages >= die_after:
                return self.state
            if interrupt_after is not None and self.messages >= interrupt_after:
                self.conductor.interrupted = True
        assert self.conductor.finished
        return self.state

    def messages_delivered(self) -> Iterator[int]:
        """Runs on by one message of a worker each time; gives the number of those delivered."""
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
            # An engine also sees that the worker's stay is over; that must change nothing.
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
        """The searched values alone."""
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
    """Those who watch a simulation are a part of it: without one its figures would be wrong."""
    raise PlugInFailed(problem) from error


def _ended(outcome: str) -> Message:
    return "trial_ended", {"outcome": outcome, "reason": "", "error": ""}


def plan_of(study: StudyDefinition, max_steps: int) -> Horizon:
    """What a simulated trial does at which step."""
    return horizon(max_steps, TOKENS_PER_STEP, study.rungs, study.budget.evaluations)
