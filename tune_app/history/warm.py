"""Reads earlier runs for the warm-start prior, from tables and from folders of studies.

Other runs had other data, budgets and models, so that their losses are not comparable; their
ranking is. The runs of each file, and of each size of its task, get normal scores by rank: 0 for
the median, negative for good runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from tune_app.core import journal
from tune_app.core.definition import reported_name
from tune_app.core.observations import values_by_rung
from tune_app.core.state import rebuild
from tune_app.core.trial import Outcome
from tune_app.errors import Problem, UserError
from tune_app.history.read import CONFIG, read
from tune_app.history.table import load
from tune_app.searchers._projection import project
from tune_app.space.constraints import Constraints
from tune_app.space.domains import Space, contains, own_value, searched
from tune_app.space.nuisance import without_seed

MOST = 200
"""At most this many runs are kept: half of them the best ones, the others spread over the rest."""

CONSTRAINTS = "the constraints"

Scored = list[tuple[dict[str, Any], float]]
Group = list[tuple[dict[str, Any], float]]
"""Comparable runs: their values and losses, lower is better."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The result of reading the earlier runs."""

    runs: Scored
    """Values and scores of all runs that could be trials of the space."""
    problems: list[Problem]
    """Files without usable runs."""
    warnings: list[Problem]
    """Notes on runs that are not used."""


def gather(
    paths: Sequence[str], space: Space, constraints: Constraints, metric: str, goal: str
) -> Gathered:
    """Reads the files and folders that a study names as its warm start."""
    # Earlier runs are used with any seed.
    space = without_seed(space)
    scored: Scored = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for path in paths:
        try:
            groups = (
                [_journal(Path(path))] if Path(path).is_dir() else _table(Path(path), metric, goal)
            )
        except UserError as error:
            problems += error.problems
            continue
        outside: Counter[str] = Counter()
        for runs in groups:
            trials = [(_as_trial(params, space, constraints), value) for params, value in runs]
            misfits = [_misfit(params, space, constraints) for params, _ in trials]
            outside.update(filter(None, misfits))
            fitting = zip(trials, misfits, strict=True)
            scored += _scored([trial for trial, reason in fitting if reason is None])
        count = sum(map(len, groups))
        if outside.total() == count:
            problems.append(_useless(path, groups, space, outside))
        elif outside:
            warnings.append(_left_out(path, count, outside))
    return Gathered(_thinned(scored), problems, warnings)


def _table(path: Path, metric: str, goal: str) -> list[Group]:
    """By size of the task, the complete runs with their last value."""
    sizes = read(path, None if metric == "final_eval_loss" else reported_name(metric))
    raw = {(runs.name, run.trial): run.params for runs in sizes for run in runs.runs}
    return [
        [
            (raw[table.name, trial], float(table.sign * values[-1]))
            for trial, values in zip(table.trials, table.values, strict=True)
        ]
        for table in load(path, sizes[0].metric, goal)
    ]


def _journal(folder: Path) -> Group:
    """The trials of a study with their projected final values."""
    path = folder / journal.FILE_NAME
    try:
        events, _ = journal.read(path)
    except OSError as error:
        what = "no study is in this folder"
        raise UserError(Problem(what, str(folder), f"a file {journal.FILE_NAME}")) from error
    state = rebuild(events)
    constants = state.definition.constants
    observed = [
        trial
        for trial in state.trials.values()
        if 0 in trial.rung_values or trial.outcome is Outcome.DIVERGED
    ]
    if not observed:
        return []
    means, _ = project(values_by_rung(state, observed))
    pairs = zip(observed, means, strict=True)
    return [({**constants, **trial.params}, float(mean)) for trial, mean in pairs]


def _as_trial(params: Mapping[str, Any], space: Space, constraints: Constraints) -> dict[str, Any]:
    """The active values of a trial with these values, in the space's own types."""
    values = {name: params[name] for name in searched(space) if name in params}
    return constraints.active(
        {name: own_value(space[name], value) for name, value in values.items()}
    )


def _misfit(params: Mapping[str, Any], space: Space, constraints: Constraints) -> str | None:
    """The first parameter whose value is not in the space, or `CONSTRAINTS`; None if none."""
    active = constraints.active({**constraints.constants, **params})
    for name, domain in searched(space).items():
        has_value = name in params and contains(domain, params[name])
        if constraints.is_active(name, active) and not has_value:
            return name
    return None if constraints.allows(params) else CONSTRAINTS


def _useless(
    path: str, groups: Sequence[Group], space: Space, outside: Mapping[str, int]
) -> Problem:
    runs = [run for group in groups for run in group]
    if not runs:
        return Problem("it has no finished run", path)
    missing = [name for name in searched(space) if not any(name in params for params, _ in runs)]
    if missing:
        what = f"no run has a value for {', '.join(missing)}"
        return Problem(what, path, f"columns {', '.join(CONFIG + name for name in missing)}")
    what = f"none of its {len(runs)} runs lies inside the space"
    return Problem(f"{what}: {_reasons(outside)}", path)


def _left_out(path: str, count: int, outside: Counter[str]) -> Problem:
    what = f"{outside.total()} of its {count} runs lie outside the space and are not used"
    return Problem(f"{what}: {_reasons(outside)}", path)


def _reasons(outside: Mapping[str, int]) -> str:
    return ", ".join(f"{count} by {name}" for name, count in outside.items())


def _scored(runs: Group) -> Scored:
    order = sorted(range(len(runs)), key=lambda index: runs[index][1])
    normal = NormalDist()
    scores = [normal.inv_cdf((rank + 0.5) / len(runs)) for rank in range(len(runs))]
    return [(runs[index][0], score) for index, score in zip(order, scores, strict=True)]


def _thinned(runs: Scored) -> Scored:
    ordered = sorted(runs, key=lambda run: run[1])
    if len(ordered) <= MOST:
        return ordered
    half = MOST // 2
    rest = ordered[half:]
    picked = [rest[int(index * len(rest) / half)] for index in range(half)]
    return ordered[:half] + picked
