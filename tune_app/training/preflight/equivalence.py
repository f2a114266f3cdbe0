"""Finds values of a space that give the same run or change nothing, before any trial runs.

The findings are notes for the user and change no trial. Schedules are compared by the learning
rates that they really give and optimisers by the options that they really get, so that new ones in
transformers need no change here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tune_app.space.constraints import Constraints
from tune_app.space.domains import Choice, Domain
from tune_app.training.effective import warm_up_steps
from tune_app.training.preflight import inert
from tune_app.training.preflight.schedules import OPTIONS, Schedules
from tune_app.training.trainable import Trainable

SHOWN = 3
"""Batch sizes that a note names; it counts the others."""


@dataclass(frozen=True, slots=True)
class Run:
    """How long trials of one batch size and accumulation are, in optimiser steps."""

    batch_size: int
    accumulation: int
    steps: int
    first_rung: int

    def __str__(self) -> str:
        return f"{self.batch_size} x {self.accumulation}"


def findings(
    loaded: Trainable,
    space: Mapping[str, Domain],
    runs: Sequence[Run],
    accelerator: str,
    constraints: Constraints | None = None,
) -> list[str]:
    """All notes; `runs` is empty for a budget in seconds, where the steps are not known yet."""
    horizons = sorted({run.steps for run in runs}) or [1000]
    schedules = Schedules.of(
        loaded, space, {horizons[0], horizons[-1]}, constraints or Constraints()
    )
    return [
        *twins(space),
        *_same_schedules(schedules),
        *_same_options(schedules),
        *_refused_schedules(schedules),
        *_idle_options(schedules),
        *_long_warm_ups(schedules.warm_ups if "warmup_steps" in space else [], runs, schedules),
        *_same_batches(runs),
        *inert.findings(loaded, space, accelerator),
    ]


def twins(space: Mapping[str, Domain]) -> list[str]:
    """Values of one list that are written differently and mean the same, such as 1 and 1.0."""
    return [
        f"{name}: {json.dumps(one)} and {json.dumps(other)} give the same run"
        for name, domain in space.items()
        if isinstance(domain, Choice)
        for one, other in combinations(domain.values, 2)
        if _plain(one) == _plain(other)
    ]


def _plain(value: Any) -> Any:
    """A key that is equal for values with the same meaning; True is not 1."""
    if isinstance(value, (list, tuple)):
        return ("list", *map(_plain, value))
    if isinstance(value, dict):
        return ("mapping", *(pair for key in sorted(value) for pair in (key, _plain(value[key]))))
    return type(value).__name__ if isinstance(value, bool) else "", value


def _same_schedules(schedules: Schedules) -> list[str]:
    """Groups of schedules with one curve, for every warm-up or for some only."""
    always = schedules.same_at(schedules.warm_ups)
    lines = [
        f"lr_scheduler_type: {_names(group)} give the same run{_remedy(group, schedules)}"
        for group in always
    ]
    partly: dict[tuple[str, ...], list[Any]] = {}
    for warm_up in schedules.warm_ups:
        for group in schedules.same_at([warm_up]):
            if not any(set(group) <= set(other) for other in always):
                partly.setdefault(group, []).append(warm_up)
    return lines + [
        f"lr_scheduler_type: {_names(group)} give the same run with warmup_steps {_list(at)}"
        for group, at in partly.items()
    ]


def _remedy(group: Sequence[str], schedules: Schedules) -> str:
    if not {"cosine", "cosine_with_restarts"} <= set(group):
        return ""
    refusing = schedules.refusing({"num_cycles": 2})
    if not refusing:
        return " (one cycle); set lr_scheduler_kwargs.num_cycles to tell them apart"
    who = _names(refusing)
    return (
        f" (one cycle); lr_scheduler_kwargs.num_cycles tells them apart, but {who} cannot take it"
    )


def _same_options(schedules: Schedules) -> list[str]:
    """Groups of schedule options with one curve, for every schedule or for some only."""
    lines = []
    for group, names in schedules.same_options().items():
        only = "" if names == schedules.names else f" with lr_scheduler_type {', '.join(names)}"
        lines.append(f"{OPTIONS}: {_names(group)} give the same run{only}")
    return lines


def _refused_schedules(schedules: Schedules) -> list[str]:
    return [
        f"lr_scheduler_type: {name} cannot be made with these lr_scheduler_kwargs, its trials "
        f"would fail: {reason}"
        for name, reason in schedules.refusals().items()
    ]


def _idle_options(schedules: Schedules) -> list[str]:
    """Schedules for which all values of the warm-up, or of the options, give the same curve."""
    idle = {
        "warmup_steps": schedules.without_warm_up(),
        OPTIONS: schedules.without_options(),
    }
    return [
        f"{parameter} changes nothing with lr_scheduler_type {', '.join(names)}"
        for parameter, names in idle.items()
        if names
    ]


def _long_warm_ups(
    warm_ups: Iterable[float], runs: Sequence[Run], schedules: Schedules
) -> list[str]:
    """Warm-ups that are not over before the end of a run, or before its first rung."""
    if set(schedules.without_warm_up()) == set(schedules.names):
        return []
    whole, first = [], []
    for warm_up in warm_ups:
        lasting = {run: warm_up_steps(warm_up, run.steps) for run in runs}
        too_long = [(run, run.steps) for run in runs if lasting[run] >= run.steps]
        late = [(r, r.first_rung) for r in runs if r.first_rung <= lasting[r] < r.steps]
        whole += [f"{json.dumps(warm_up)} at {_places(too_long)}"] if too_long else []
        first += [f"{json.dumps(warm_up)} at {_places(late)}"] if late else []
    lines = [f"warmup_steps no shorter than the whole run: {'; '.join(whole)}"] if whole else []
    if first:
        lines.append(
            f"warmup_steps that last to the first rung, where trials are compared: "
            f"{'; '.join(first)}"
        )
    return lines


def _places(runs: Sequence[tuple[Run, int]]) -> str:
    """The shortest of the runs, by batch size and accumulation, each with its number of steps."""
    shortest = sorted(runs, key=lambda item: item[1])
    named = [f"{run} ({count:,} steps)" for run, count in shortest[:SHOWN]]
    more = len(shortest) - SHOWN
    return "batches of " + ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _same_batches(runs: Sequence[Run]) -> list[str]:
    """Batch sizes and accumulations with the same product: other speed and memory, same steps."""
    products: dict[int, list[str]] = {}
    for run in runs:
        products.setdefault(run.batch_size * run.accumulation, []).append(str(run))
    same = [" = ".join(group) for _, group in sorted(products.items()) if len(group) > 1]
    if not same:
        return []
    return [
        f"batches (size x accumulation) of the same examples: {', '.join(same)}; these differ in "
        "speed and memory, hardly in loss"
    ]


def _names(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _list(values: Sequence[Any]) -> str:
    return ", ".join(map(json.dumps, values))
