"""Everything that can be known before the first trial, found out where trials will run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tune_app.budget import Epoch, Unit, processes_of, steps_for
from tune_app.errors import Problem, UserError
from tune_app.plugins import make
from tune_app.space.constraints import Constraints
from tune_app.space.domains import (
    Choice,
    Domain,
    fixed,
    from_document,
    grid,
    identity,
    searched,
    without,
)
from tune_app.training import trainable
from tune_app.training.data import Data, Log
from tune_app.training.preflight import equivalence, inert, probe_cache, step_law
from tune_app.training.preflight.equivalence import Run
from tune_app.training.preflight.probe import PRECISIONS, Probed
from tune_app.training.preflight.values import COUNTS, ends, value_problems
from tune_app.training.segment import epoch_of


@dataclass(slots=True)
class Findings:
    """What preflight found; plain data."""

    baseline: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    prior: dict[str, Any] = field(default_factory=dict)
    """Beliefs about good values, those that only the model and the budget tell included."""
    budget: dict[str, Any] = field(default_factory=dict)
    """The budget, with the steps of the shortest trial where they can be known: `fewest_steps`."""
    rungs: list[float] = field(default_factory=list)
    """The scheduler's, for this budget."""


def check_names(document: Mapping[str, Any]) -> trainable.Trainable:
    """Loads the trainable and checks the parameters against it.

    Raises:
        UserError: with every name it does not know and every value its Config refuses.
    """
    loaded = trainable.load(document["trainable"])
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    problems = space_problems(loaded, space)
    if problems:
        raise UserError(problems)
    return loaded


def space_problems(loaded: trainable.Trainable, space: Mapping[str, Domain]) -> list[Problem]:
    """What a trainable has against a space, as far as that shows without data."""
    problems = loaded.name_problems(space)
    return problems + value_problems(loaded, space) + inert.contradictions(space)


def probe(document: Mapping[str, Any], cache: Path | None = None) -> list[Probed]:
    """What came of trying the space's values on this machine, and of both short precisions."""
    loaded = trainable.load(document["trainable"])
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    wanted = [
        (name, value)
        for name, domain in space.items()
        if name in loaded.argument_fields or name == ATTENTION
        for value in ends(domain)
    ]
    wanted += [(name, True) for name in PRECISIONS]
    if ATTENTION in loaded.config_fields:
        wanted += [(ATTENTION, value) for value in ATTENTIONS]
    return probe_cache.examine_all(wanted, document["accelerator"], cache)


def impossible(document: Mapping[str, Any], probed: Iterable[Probed]) -> list[Impossible]:
    """The values of the space that cannot run here, with the reason."""
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    return [
        (row.parameter, row.value, row.reason)
        for row in probed
        if row.reason is not None
        and row.parameter in space
        and any(identity(row.value) == identity(value) for value in ends(space[row.parameter]))
    ]


ATTENTION = "attn_implementation"
ATTENTIONS = ("eager", "sdpa", "flash_attention_2")

Impossible = tuple[str, Any, str]
"""Parameter, value, why it cannot run here."""


def prepare(
    document: Mapping[str, Any],
    cache: Path,
    log: Log,
    dropped: Iterable[Impossible] = (),
) -> Findings:
    """Makes the data ready on this node and checks the budget against it.

    `dropped` is what cannot run here, see `impossible`.

    Raises:
        UserError: the data cannot be read, or the budget is too short for some batch size.
    """
    loaded = check_names(document)
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    constants = fixed(space)
    data: Data = loaded.module.prepare(loaded.config(constants), cache, log)
    if not isinstance(data, Data):
        what = f"prepare returned {type(data).__name__}"
        where = f"trainable {document['trainable']}"
        raise UserError(Problem(what, where, "a tune_app.training.data.Data"))
    findings = Findings(data=data.facts)
    findings.baseline = loaded.defaults(searched(space))
    epochs = _epochs(document, loaded, data, findings.baseline)
    findings.budget = _with_steps(document["budget"], epochs)
    document = {**document, "budget": findings.budget}
    findings.rungs = list(make.scheduler(document).rungs)
    moved = _rungs_note(document["rungs"], findings.rungs)
    document["rungs"] = findings.rungs
    problems = _budget_problems(document, epochs)
    if problems:
        raise UserError(problems)
    left = _without(space, dropped) if document.get("drop_impossible") else space
    runs = _runs(document, loaded, left, data)
    constraints = Constraints.of_document(document)
    findings.notes = equivalence.findings(loaded, left, runs, document["accelerator"], constraints)
    findings.notes += moved + _evaluation_note(document, data)
    findings.prior, notes = step_law.fill_in(document, loaded, space, epochs[-1])
    findings.notes += notes
    return findings


def _without(space: Mapping[str, Domain], dropped: Iterable[Impossible]) -> dict[str, Domain]:
    """What is left of a space; a parameter of which nothing would be left stays as it is."""
    left = dict(space)
    for name, value, _ in dropped:
        domain = left[name]
        if isinstance(domain, Choice):
            left[name] = without(domain, value)
    return left


def _epochs(
    document: Mapping[str, Any],
    loaded: trainable.Trainable,
    data: Data,
    baseline: Mapping[str, Any],
) -> list[Epoch]:
    """One per combination of the extreme batch sizes and accumulations, the baseline's last."""
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    named = [name for name in COUNTS if name in space]
    constants = fixed(space)
    own = {name: baseline[name] for name in named if name in baseline}
    return [
        epoch_of(loaded, {**constants, **values}, data, processes_of(document))
        for values in [*_batches(document, {name: space[name] for name in named}), own]
    ]


def _batches(document: Mapping[str, Any], space: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """Batch sizes with accumulations, among them the least and the most that a trial may have."""
    constraints = Constraints.of_document(document)
    listed = [_several(d) if constraints.required else _extremes(d) for d in space.values()]
    every = [dict(zip(space, values, strict=True)) for values in product(*listed)]
    allowed = [
        values
        for values in every
        if not constraints.broken(
            {**constraints.active(constraints.constants), **values}, constraints.required
        )
    ]
    return allowed or every


SEVERAL = 100
"""Values of a batch size that are looked at, where constraints may forbid the extreme ones."""


def _several(domain: Domain) -> list[Any]:
    values = grid(domain)
    if values is None:
        return _extremes(domain)
    return [*values[:: -(-len(values) // SEVERAL)], values[-1]]


def _extremes(domain: Domain) -> list[Any]:
    values = list(ends(domain))
    return [min(values), max(values)]


def _with_steps(budget: dict[str, Any], epochs: list[Epoch]) -> dict[str, Any]:
    """The budget with the optimiser steps of a trial of the largest batch, if it has any."""
    unit = Unit(budget["unit"])
    if unit is Unit.SECONDS or any(epoch.micro_batches == 0 for epoch in epochs):
        return budget
    return {
        **budget,
        "fewest_steps": min(steps_for(unit, budget["amount"], epoch) for epoch in epochs),
    }


def _rungs_note(before: list[float], after: list[float]) -> list[str]:
    if before == after:
        return []
    return [
        f"the first rung is at {after[0]:.3g} of the budget instead of {before[0]:.3g}, "
        "where trials of the largest batch would have made no more than one step"
    ]


def _budget_problems(document: Mapping[str, Any], epochs: list[Epoch]) -> list[Problem]:
    """Batch sizes that the data or the budget is too small for."""
    problems = []
    rungs = len(document["rungs"])
    budget = document["budget"]
    largest = max(epochs, key=lambda epoch: epoch.tokens_per_step)
    if any(epoch.micro_batches == 0 for epoch in epochs):
        biggest = max(epochs, key=lambda epoch: epoch.batch_size)
        what = f"{largest.samples} training examples do not fill one batch of {biggest.batch}"
        fix = "use a larger corpus or a smaller batch"
        return [Problem(what, "parameters.per_device_train_batch_size", fix=fix)]
    if budget["unit"] == Unit.SECONDS:
        return []
    steps = budget["fewest_steps"]
    if steps < rungs:
        what = (
            f"{budget['amount']:,} {budget['unit']} are {steps} optimiser steps at batch size "
            f"{largest.batch} x accumulation {largest.accumulation}"
        )
        expected = f"at least {rungs} steps, one for each rung of the scheduler"
        fix = "raise the budget, or leave the large batch sizes out"
        problems.append(Problem(what, f"tune.budget.{budget['unit']}", expected, fix))
    return problems


def _runs(
    document: Mapping[str, Any],
    loaded: trainable.Trainable,
    space: Mapping[str, Domain],
    data: Data,
) -> list[Run]:
    """Every length that trials can have, by batch size and accumulation; none in seconds."""
    unit, amount = Unit(document["budget"]["unit"]), document["budget"]["amount"]
    if unit is Unit.SECONDS:
        return []
    named = [name for name in COUNTS if name in space]
    choices = [_some(space[name]) for name in named]
    constraints, constants, runs = Constraints.of_document(document), fixed(space), []
    for values in product(*choices):
        batch = dict(zip(named, values, strict=True))
        if constraints.broken(
            {**constraints.active(constraints.constants), **batch}, constraints.required
        ):
            continue
        epoch = epoch_of(loaded, {**constants, **batch}, data, processes_of(document))
        steps = steps_for(unit, amount, epoch)
        first = max(1, round(steps * document["rungs"][0]))
        runs.append(Run(epoch.batch_size, epoch.accumulation, steps, first))
    return runs


def _some(domain: Domain) -> list[Any]:
    """All values where they are listed, else the extremes."""
    values = sorted(set(ends(domain)))
    return values if len(values) <= MOST_LISTED else _extremes(domain)


MOST_LISTED = 8
"""Batch sizes, and accumulations, up to which every one is looked at."""


def _evaluation_note(document: Mapping[str, Any], data: Data) -> list[str]:
    """A forward pass costs about a third of a training step on the same tokens."""
    budget = document["budget"]
    if budget["unit"] != Unit.TOKENS:
        return []
    evaluated = budget["evaluations"] * len(data.evaluation) * data.tokens_per_sample  # type: ignore[arg-type]
    share = evaluated / 3 / budget["amount"]
    if share < 0.5:
        return []
    return [
        f"{budget['evaluations']} evaluations of {evaluated // budget['evaluations']:,} tokens "
        f"cost about {100 * share:.0f} % of what training does: lower tune.budget.evaluations"
    ]


def as_plain(findings: Findings) -> dict[str, Any]:
    """Findings as plain data, to travel between processes."""
    return asdict(findings)
