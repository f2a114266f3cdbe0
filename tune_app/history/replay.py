"""Replays a search on a table of finished runs: the real conductor, searcher and scheduler.

A suggestion takes the nearest run of the table that was not taken yet, and the searcher is told of
that run's values. Training costs nothing but simulated time; what a search would have spent is
counted in full runs. A stretch between two reports is paid for as it begins, and none begins that
the rest of the budget is too small for.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tune_app import plugins
from tune_app.budget import Horizon, Unit
from tune_app.core.definition import Budget, Metric, PlugIn, StudyDefinition
from tune_app.core.journal import Event
from tune_app.core.ports import Exploiting
from tune_app.core.state import StudyState
from tune_app.core.task import Task
from tune_app.core.trial import Checkpoint
from tune_app.errors import Problem, UserError
from tune_app.history.on_table import OnTable, key, raised, rows_of
from tune_app.history.table import Table
from tune_app.plugins import make
from tune_app.simulation.simulation import TOKENS_PER_STEP, Simulation
from tune_app.space.domains import grid_size
from tune_app.space.prior import Belief

SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Setting:
    """How a search is replayed."""

    searcher: PlugIn
    scheduler: PlugIn
    full_runs: float
    """The budget."""
    workers: int = 1
    stragglers: float = 0.0
    """Standard deviation of the logarithm of a worker's speed, drawn for each of its stays."""
    failures: float = 0.0
    """The chance that a worker dies before its next report."""
    prior: Mapping[str, Any] | None = None
    """Beliefs, as the `tune` section has them."""


@dataclass(frozen=True, slots=True)
class Step:
    """An improvement of the incumbent."""

    spent: float
    """Full runs' worth of training that all workers had begun."""
    time: float
    """Since the start, in the time of a full run."""
    value: float
    """The best that any trial had reported."""
    trial: Any
    """The table's run that reported it."""
    completed_value: float
    """The best report of trials that had reached the full budget; NaN before there is one."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One search."""

    steps: list[Step]
    """In order."""
    spent: float
    """Full runs' worth of training that was begun."""
    is_over: bool
    """Whether it ended by itself, with all runs taken, before the budget was spent."""


def problems(table: Table, setting: Setting) -> list[Problem]:
    """Why this search cannot be replayed on this table.

    Raises:
        UserError: searcher or scheduler fail as they are made.
    """
    found = []
    if setting.full_runs < table.shares[0] - SAME:
        what = f"{setting.full_runs:g} full runs do not come to one report"
        expected = f"at least {table.shares[0]:g}, what the first report of a run costs"
        found.append(Problem(what, f"--full-runs on {table.name}", expected))
    return found + _scheduler_problems(table, setting) + _searcher_problems(table, setting)


def _scheduler_problems(table: Table, setting: Setting) -> list[Problem]:
    try:
        scheduler = make.scheduler(_study(table, setting, 0))
    except Exception as error:
        return _refusals(error, "scheduler", table)
    if not isinstance(scheduler, Exploiting):
        return []
    what = f"{setting.scheduler.name} changes the values of runs under way"
    fix = "use a scheduler that leaves them as they are"
    return [Problem(what, "--scheduler", "no table can say what then happens", fix)]


def _searcher_problems(table: Table, setting: Setting) -> list[Problem]:
    found = []
    combinations = grid_size(table.space)
    if setting.searcher.name == "grid" and combinations not in (None, len(table.params)):
        what = f"{len(table.params)} of the grid's {combinations} combinations are there"
        found.append(Problem(what, f"--searcher grid on {table.name}", "a run for each of them"))
    # Whatever is wrong with the scheduler.
    sound = replace(setting, scheduler=PlugIn("fifo"))
    try:
        make.searcher(_study(table, sound, 0))
    except Exception as error:
        found += _refusals(error, "searcher", table)
    return found


def _refusals(error: Exception, kind: str, table: Table) -> list[Problem]:
    """What a plug-in has against its options or the table.

    Raises:
        UserError: it failed.
    """
    if not isinstance(error, UserError):
        raise UserError(raised(error, f"--{kind} on {table.name}")) from error
    option = f"tune.{kind}."
    return [
        replace(problem, where=f"--{kind}, {problem.where.removeprefix(option)}")
        if problem.where.startswith(option)
        else replace(problem, where=f"--{kind} on {table.name}", fix=f"use another {kind}")
        for problem in error.problems
    ]


def replay(table: Table, setting: Setting, seed: int) -> Replayed:
    """The incumbents of one search, and what it came to."""
    run = _replayed(table, setting, seed)
    is_over = run.simulation.state.ended is not None and run.spent < setting.full_runs - SAME
    return Replayed(run.steps, run.spent, is_over)


def search(table: Table, setting: Setting, seed: int) -> StudyState:
    """What one search amounts to, whose trials are runs of the table."""
    return _replayed(table, setting, seed).simulation.state


def _replayed(table: Table, setting: Setting, seed: int) -> _Replay:
    run = _Replay(table, setting, seed)
    for _ in run.simulation.messages_delivered():
        if math.isinf(run.simulation.next_at):
            break
    return run


class _Replay:
    def __init__(self, table: Table, setting: Setting, seed: int) -> None:
        self.spent = 0.0
        self.steps: list[Step] = []
        self._table = table
        self._budget = setting.full_runs
        self._stragglers = setting.stragglers
        self._rng = random.Random(seed)
        self._speeds: dict[tuple[str, Checkpoint | None], float] = {}
        self._rows = rows_of(table)
        self._best: dict[str, float] = {}
        self._incumbent = self._completed = math.inf
        self._holder: Any = None
        study = _study(table, setting, seed)
        self.simulation = Simulation(
            study,
            workers=setting.workers,
            curve=self._value,
            searcher=OnTable(table, make.searcher(study), setting.searcher.name, seed),
            death=setting.failures,
            seed=seed,
            pace=self._pace,
            trackers=[self],
            plan=_plan(table, study.rungs),
            fraction=self._share,
        )

    def _share(self, step: int) -> float:
        return float(self._table.shares[step - 1]) if step else 0.0

    def _value(self, params: Mapping[str, Any], step: int) -> float:
        return float(self._table.values[self._rows[key(params)], step - 1])

    def _pace(self, task: Task, step: int) -> float:
        """Pays for the stretch to the next report; where it cannot, the worker waits for ever."""
        is_over = step > 0 and math.isinf(
            self._value(self.simulation.state.trials[task.trial].params, step)
        )
        if step == len(self._table.shares) or is_over:
            return 0.0
        cost = self._share(step + 1) - self._share(step)
        if self.spent + cost > self._budget + SAME:
            return math.inf
        self.spent += cost
        stay = task.trial, task.checkpoint
        if stay not in self._speeds:
            self._speeds[stay] = self._rng.lognormvariate(0.0, self._stragglers)
        return cost / self._speeds[stay]

    def on_event(self, event: Event, state: StudyState) -> None:
        """Notes an improvement."""
        if event["event"] != "report":
            return
        trial = state.trials[event["trial"]]
        value = self._table.sign * trial.reports[-1].metrics[state.reported_metric]
        best = min(value, self._best.get(trial.id, math.inf))
        self._best[trial.id] = best
        is_whole = trial.fraction >= 1 - SAME and math.isfinite(value)
        seen, completed = self._incumbent, self._completed
        self._incumbent = min(seen, best)
        self._completed = min(completed, best if is_whole else math.inf)
        if (self._incumbent, self._completed) != (seen, completed):
            if self._incumbent != seen:
                self._holder = self._table.trials[self._rows[key(trial.params)]]
            self.steps.append(self._step())

    def _step(self) -> Step:
        sign, completed = self._table.sign, self._completed
        return Step(
            spent=self.spent,
            time=self.simulation.now,
            value=sign * self._incumbent,
            trial=self._holder,
            completed_value=sign * completed if math.isfinite(completed) else math.nan,
        )

    def close(self, timeout_s: float) -> None:
        """Nothing to close."""


def _study(table: Table, setting: Setting, seed: int) -> StudyDefinition:
    """A study of the table's space, in which each of its runs could be a trial."""
    points = len(table.shares)
    # Not steps: between two reports of a table lie many of these.
    budget = Budget(Unit.TOKENS, points, trials=len(table.trials), evaluations=points)
    wanted = make.scheduler_of(setting.scheduler, budget, table.space).rungs
    there = rungs(table, wanted)
    return StudyDefinition(
        name=table.name,
        metric=Metric(table.metric, "minimize" if table.sign > 0 else "maximize"),
        space=table.space,
        budget=budget,
        rungs=tuple(there),
        searcher=setting.searcher,
        scheduler=setting.scheduler
        if len(there) == len(wanted)
        else _with_rungs(setting.scheduler, there),
        seed=seed,
        baseline=False,
        beliefs={name: Belief(**fields) for name, fields in (setting.prior or {}).items()},
    )


def _with_rungs(scheduler: PlugIn, places: list[float]) -> PlugIn:
    """The scheduler over fewer rungs than its own, whose indexes would mean other shares."""
    create = plugins.load("scheduler", scheduler.name).create
    if "rungs" not in inspect.signature(create).parameters:
        return scheduler
    return replace(scheduler, options={**scheduler.options, "rungs": places})


def rungs(table: Table, shares: tuple[float, ...]) -> list[float]:
    """A scheduler's rungs where the table has reports: each at the first that is not earlier."""
    places = np.searchsorted(table.shares, np.array(shares) - SAME)
    return [float(table.shares[place]) for place in dict.fromkeys(places.tolist())]


def _plan(table: Table, places: Sequence[float]) -> Horizon:
    points = len(table.shares)
    steps = frozenset(range(1, points + 1))
    rung_steps = tuple(int(np.searchsorted(table.shares, share - SAME)) + 1 for share in places)
    return Horizon(points, TOKENS_PER_STEP, rung_steps, steps, steps)
