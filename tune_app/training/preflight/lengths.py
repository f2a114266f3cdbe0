"""How long trials can be: epochs and optimiser steps for the batch sizes of a space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from tune_app.budget import BATCH_COUNTS, Epoch, Unit, steps_for
from tune_app.core.definition import Budget, StudyDefinition
from tune_app.errors import Problem
from tune_app.space.domains import Domain, Space, grid, searched
from tune_app.training.data import Data
from tune_app.training.preflight.equivalence import Run
from tune_app.training.preflight.values import ends
from tune_app.training.segment import epoch_of
from tune_app.training.trainable import Trainable

SEVERAL = 100
"""Values of a batch size that are tried, where constraints may forbid the extreme ones."""

MOST_LISTED = 8
"""A list of batch sizes, or of accumulations, is tried in full up to this length."""


def extreme_epochs(study: StudyDefinition, loaded: Trainable, data: Data) -> list[Epoch]:
    """One for each combination of extreme batch sizes and accumulations; the baseline's is last."""
    own = loaded.defaults(searched({n: study.space[n] for n in _counted(study.space)}))
    batches = [*extreme_batches(study), own]
    processes = study.resources.processes
    return [epoch_of(loaded, {**study.constants, **batch}, data, processes) for batch in batches]


def extreme_batches(study: StudyDefinition) -> list[dict[str, Any]]:
    """Values of batch size and accumulation, among them the smallest and largest allowed ones."""
    domains = {name: study.space[name] for name in _counted(study.space)}
    several = _several if study.constraints.required else _extremes
    listed = [several(domain) for domain in domains.values()]
    every = [dict(zip(domains, values, strict=True)) for values in product(*listed)]
    return [batch for batch in every if _is_allowed(study, batch)] or every


def with_steps(budget: Budget, epochs: Sequence[Epoch]) -> Budget:
    """The budget with `fewest_steps`: the optimiser steps of a trial with the largest batch."""
    if budget.unit is Unit.SECONDS or any(epoch.micro_batches == 0 for epoch in epochs):
        return budget
    steps = (steps_for(budget.unit, budget.amount, epoch) for epoch in epochs)
    return replace(budget, fewest_steps=min(steps))


def problems(budget: Budget, rungs: int, epochs: Sequence[Epoch]) -> list[Problem]:
    """The problem if the data or the budget is too small for the largest batch."""
    largest = max(epochs, key=lambda epoch: epoch.tokens_per_step)
    if any(epoch.micro_batches == 0 for epoch in epochs):
        biggest = max(epochs, key=lambda epoch: epoch.batch_size)
        what = f"{largest.samples} training examples do not fill one batch of {biggest.batch}"
        fix = "use a larger corpus or a smaller batch"
        return [Problem(what, "parameters.per_device_train_batch_size", fix=fix)]
    if budget.fewest_steps is None or budget.fewest_steps >= rungs:
        return []
    what = (
        f"{budget.amount:,} {budget.unit} are {budget.fewest_steps} optimiser steps at batch size "
        f"{largest.batch} x accumulation {largest.accumulation}"
    )
    expected = f"at least {rungs} steps, one for each rung of the scheduler"
    fix = "raise the budget, or leave the large batch sizes out"
    return [Problem(what, f"tune.budget.{budget.unit}", expected, fix)]


def runs(study: StudyDefinition, loaded: Trainable, space: Space, data: Data) -> list[Run]:
    """One run for each batch size and accumulation; empty for a budget in seconds.

    `space` is the study's, possibly with fewer choices.
    """
    if study.budget.unit is Unit.SECONDS:
        return []
    names = _counted(space)
    lengths = []
    for values in product(*(_some(space[name]) for name in names)):
        batch = dict(zip(names, values, strict=True))
        if _is_allowed(study, batch):
            lengths.append(
                _run(
                    study,
                    epoch_of(loaded, {**study.constants, **batch}, data, study.resources.processes),
                )
            )
    return lengths


def _run(study: StudyDefinition, epoch: Epoch) -> Run:
    steps = steps_for(study.budget.unit, study.budget.amount, epoch)
    first = max(1, round(steps * study.rungs[0]))
    return Run(epoch.batch_size, epoch.accumulation, steps, first)


def _counted(space: Space) -> list[str]:
    return [name for name in BATCH_COUNTS if name in space]


def _is_allowed(study: StudyDefinition, batch: dict[str, Any]) -> bool:
    constraints = study.constraints
    constants = constraints.active(constraints.constants)
    return not constraints.broken({**constants, **batch}, constraints.required)


def _several(domain: Domain) -> list[Any]:
    values = grid(domain)
    if values is None:
        return _extremes(domain)
    return [*values[:: -(-len(values) // SEVERAL)], values[-1]]


def _extremes(domain: Domain) -> list[Any]:
    values = list(ends(domain))
    return [min(values), max(values)]


def _some(domain: Domain) -> list[Any]:
    """All values where they are listed, else the extremes."""
    values = sorted(set(ends(domain)))
    return values if len(values) <= MOST_LISTED else _extremes(domain)
