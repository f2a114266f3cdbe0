"""Drives the real conductor with simulated workers: no Ray, no training, a clock that only counts.

Curves depend on nothing but a trial's values, so a study is the same whenever it is run, and a run
that was cut short can be compared with one that was not.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_app import assembly
from tune_app.budget import Horizon, horizon
from tune_app.conductor import Conductor, Segment
from tune_app.journal import Event, Journal, encode
from tune_app.ports import Scheduler, Searcher
from tune_app.state import StudyState, rebuild
from tune_app.trial import Decision, TrialState

MAX_STEPS = 24
TOKENS_PER_STEP = 10
X = {"x": {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}}

Message = tuple[str, dict[str, Any]]
Curve = Callable[[Mapping[str, Any], int], float]
"""The objective of a trial with these values after this many steps."""


def document(**changes: Any) -> dict[str, Any]:
    """A study document; `eta`, `rungs`, `trials` and `searcher` are taken by name."""
    eta, rungs = changes.pop("eta", 3), changes.pop("rungs", 3)
    trials, searcher = changes.pop("trials", 9), changes.pop("searcher", "random")
    scheduler = changes.pop("scheduler", {"name": "asha", "eta": eta, "rungs": rungs})
    return {
        "name": "simulated",
        "metric": {"name": "final_eval_loss", "goal": "minimize"},
        "parameters": X,
        "budget": {"unit": "steps", "amount": MAX_STEPS, "trials": trials, "evaluations": 6},
        "searcher": {"name": searcher},
        "scheduler": scheduler,
        "rungs": list(assembly.scheduler({"scheduler": scheduler}).rungs),
        "seed": 0,
        "baseline": True,
        "baseline_params": {"x": 0.9},
    } | changes


def crossing(params: Mapping[str, Any], step: int) -> float:
    """A power law with a floor and a speed of its own: early ranks are not the final ones."""
    rng = random.Random(encode(dict(params)))
    floor, speed = rng.uniform(1, 3), rng.uniform(0.2, 1.2)
    return float(floor + 4 * step**-speed)


def sometimes_diverging(params: Mapping[str, Any], step: int) -> float:
    """As `crossing`, but every third trial or so becomes NaN, somewhere on its way."""
    rng = random.Random(encode(dict(params)) + "?")
    fatal = rng.randint(1, 3 * MAX_STEPS)
    return math.nan if step >= fatal else crossing(params, step)


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

    def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Worker:
    """A segment on a simulated worker."""

    segment: Segment
    messages: Iterator[Message]
    step: int


class Simulation:
    """A study on `workers` workers. `events` is its journal so far."""

    def __init__(
        self,
        resolved: Mapping[str, Any],
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
    ) -> None:
        self._resolved = dict(resolved)
        self._workers = workers
        self._curve = curve
        self._outcomes = outcomes
        self._death = death
        self._rng = random.Random(seed)
        self._count = itertools.count()
        self._queue: list[tuple[float, int, Worker]] = []
        self._now = 0.0
        self.messages = 0
        self.memory = MemoryJournal(events)
        state = rebuild(self.memory.events)
        self.conductor = Conductor(
            state,
            journal or self.memory,
            searcher or assembly.searcher(self._resolved),
            scheduler or assembly.scheduler(self._resolved),
            baseline=self._resolved["baseline_params"] if self._resolved["baseline"] else None,
        )
        event = "study_resumed" if events else "study_started"
        study = {} if events else {"study": self._resolved}
        self.conductor.record(event, **study, software={}, machine={})

    @property
    def events(self) -> list[Event]:
        return self.memory.events

    @property
    def state(self) -> StudyState:
        return self.conductor.state

    def run(self, interrupt_after: int | None = None, die_after: int | None = None) -> StudyState:
        """Runs to the end, or until so many messages came: then Ctrl-C, or the driver dies."""
        self._fill()
        while self._queue:
            if die_after is not None and self.messages >= die_after:
                return self.state
            if interrupt_after is not None and self.messages >= interrupt_after:
                self.conductor.interrupted = True
            self._deliver()
            self._fill()
        assert self.conductor.finished
        return self.state

    def _fill(self) -> None:
        while len(self._queue) < self._workers:
            segment = self.conductor.next_segment()
            if segment is None:
                return
            checkpoint = segment.checkpoint or "step-0"
            step = int(checkpoint.rsplit("-", 1)[-1])
            worker = Worker(segment, self._messages(segment, step), step)
            self._schedule(worker)

    def _schedule(self, worker: Worker) -> None:
        """Trials are of different speed, so that workers overtake each other."""
        speed = 1 + int(worker.segment.trial) % 3
        heapq.heappush(self._queue, (self._now + speed, next(self._count), worker))

    def _deliver(self) -> None:
        self._now, _, worker = heapq.heappop(self._queue)
        self.messages += 1
        trial = worker.segment.trial
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
            checkpoint = _checkpoint(worker.segment.trial, worker.step)
            return "trial_interrupted", {"checkpoint": checkpoint}
        event, fields = next(worker.messages)
        worker.step = fields.get("step", worker.step)
        return event, fields

    def _messages(self, segment: Segment, start: int) -> Iterator[Message]:
        plan = horizon(MAX_STEPS, TOKENS_PER_STEP, self._resolved["rungs"], 6)
        outcome = self._outcomes(segment.number)
        if outcome != "completed":
            yield _ended(outcome)
        for step in sorted(plan.eval_steps):
            if step > start:
                yield "report", self._report(segment, step, plan)
                if not math.isfinite(self._curve(segment.params, step)):
                    yield _ended("diverged")
        yield _ended("completed")

    def _report(self, segment: Segment, step: int, plan: Horizon) -> dict[str, Any]:
        rung = plan.rung_at(step)
        return {
            "step": step,
            "tokens": step * TOKENS_PER_STEP,
            "fraction": step / MAX_STEPS,
            "seconds": float(step),
            "metrics": {"eval_loss": self._curve(segment.params, step)},
            "rung": rung,
            "checkpoint": None if rung is None else _checkpoint(segment.trial, step),
        }


def _checkpoint(trial: str, step: int) -> str:
    return f"checkpoints/{trial}/step-{step}"


def _ended(outcome: str) -> Message:
    return "trial_ended", {"outcome": outcome, "reason": "", "error": ""}


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
