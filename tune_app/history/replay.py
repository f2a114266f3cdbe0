"""Replays a search on a table of finished runs: the real conductor, searcher and scheduler.

Each suggestion is replaced by the nearest run of the table without a trial, and the searcher gets
that run's values. Training takes only simulated time; costs are counted in full runs. The cost of
an interval between two reports is charged when it starts, and no interval starts that the remaining
budget does not cover.
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
    """The budget, in full runs."""
    workers: int = 1
    stragglers: float = 0.0
    """Standard deviation of the logarithm of a worker's speed, which is drawn for each segment."""
    failures: float = 0.0
    """The probability that a worker dies before its next report."""
    prior: Mapping[str, Any] | None = None
    """The prior, in the format of the `tune` section."""


@dataclass(frozen=True, slots=True)
class Step:
    """An improvement of the incumbent."""

    spent: float
    """Training of all workers so far, in full runs; includes started intervals."""
    time: float
    """Time since the start, in durations of a full run."""
    value: float
    """The best reported value of all trials."""
    trial: Any
    """The run of the table that reported it."""
    completed_value: float
    """The best reported value of completed trials; NaN without a completed trial."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of one replayed search."""

    steps: list[Step]
    """The improvements of the incumbent, in order."""
    spent: float
    """Training of all workers, in full runs; includes started intervals."""
    is_over: bool
    """Whether it used all runs of the table before the budget was spent."""


def problems(table: Table, setting: Setting) -> list[Problem]:
    """Why this search cannot be replayed on this table.

    Raises:
        UserError: creating the searcher or the scheduler raises something else than UserError.
    """
    reasons = []
    if setting.full_runs < table.shares[0] - SAME:
        what = f"{setting.full_runs:g} full runs do not cover one report"
        expected = f"at least {table.shares[0]:g}, the cost of a run's first report"
        reasons.append(Problem(what, f"--full-runs on {table.name}", expected))
    return reasons + _scheduler_problems(table, setting) + _searcher_problems(table, setting)


def _scheduler_problems(table: Table, setting: Setting) -> list[Problem]:
    try:
        scheduler = make.scheduler(_study(table, setting, 0))
    except Exception as error:
        return _refusals(error, "scheduler", table)
    if not isinstance(scheduler, Exploiting):
        return []
    what = f"{setting.scheduler.name} changes the values of running trials"
    fix = "use a scheduler that does not change them"
    return [Problem(what, "--scheduler", "a table has no such runs", fix)]


def _searcher_problems(table: Table, setting: Setting) -> list[Problem]:
    reasons = []
    combinations = grid_size(table.space)
    if setting.searcher.name == "grid" and combinations not in (None, len(table.params)):
        what = f"{len(table.params)} of the grid's {combinations} combinations are in the table"
        reasons.append(Problem(what, f"--searcher grid on {table.name}", "a run for each of them"))
    # Without the scheduler's problems, which are reported already.
    sound = replace(setting, scheduler=PlugIn("fifo"))
    try:
        make.searcher(_study(table, sound, 0))
    except Exception as error:
        reasons += _refusals(error, "searcher", table)
    return reasons


def _refusals(error: Exception, kind: str, table: Table) -> list[Problem]:
    """The problems that a plug-in has with its options or the table.

    Raises:
        UserError: the exception is not a UserError.
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
    """The incumbents and the costs of one search.

    Raises:
        UserError: the searcher fails.
    """
    run = _replayed(table, setting, seed)
    is_over = run.simulation.state.ended is not None and run.spent < setting.full_runs - SAME
    return Replayed(run.steps, run.spent, is_over)


def search(table: Table, setting: Setting, seed: int) -> StudyState:
    """The final state of one search, whose trials are runs of the table.

    Raises:
        UserError: the searcher fails.
    """
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
        """The time to the next report; charges its cost, or is infinite if the budget is spent."""
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
        """Records improvements of the incumbent."""
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
    """A study of the table's space with as many trials as the table has runs."""
    points = len(table.shares)
    # Not in steps: a table has many steps between two reports.
    budget = Budget(Unit.TOKENS, points, trials=len(table.trials), evaluations=points)
    planned = make.scheduler_of(setting.scheduler, budget, table.space).rungs
    places = rungs(table, planned)
    return StudyDefinition(
        name=table.name,
        metric=Metric(table.metric, "minimize" if table.sign > 0 else "maximize"),
        space=table.space,
        budget=budget,
        rungs=tuple(places),
        searcher=setting.searcher,
        scheduler=setting.scheduler
        if len(places) == len(planned)
        else _with_rungs(setting.scheduler, places),
        seed=seed,
        baseline=False,
        beliefs={name: Belief(**fields) for name, fields in (setting.prior or {}).items()},
    )


def _with_rungs(scheduler: PlugIn, places: list[float]) -> PlugIn:
    """The scheduler with the rungs `places`, so that its rung indexes mean these shares."""
    create = plugins.load("scheduler", scheduler.name).create
    if "rungs" not in inspect.signature(create).parameters:
        return scheduler
    return replace(scheduler, options={**scheduler.options, "rungs": places})


def rungs(table: Table, shares: tuple[float, ...]) -> list[float]:
    """A scheduler's rungs, each moved to the table's first report that is not earlier."""
    places = np.searchsorted(table.shares, np.array(shares) - SAME)
    return [float(table.shares[place]) for place in dict.fromkeys(places.tolist())]


def _plan(table: Table, places: Sequence[float]) -> Horizon:
    points = len(table.shares)
    steps = frozenset(range(1, points + 1))
    rung_steps = tuple(int(np.searchsorted(table.shares, share - SAME)) + 1 for share in places)
    return Horizon(points, TOKENS_PER_STEP, rung_steps, steps, steps)
