"""Everything that can be known before the first trial, found out where trials will run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tune_app.budget import Epoch, Unit, steps_for
from tune_app.errors import Problem, UserError
from tune_app.space import rules
from tune_app.space.domains import Choice, Domain, fixed, from_document, grid, searched
from tune_app.training import step_law, trainable
from tune_app.training.data import Data, Log
from tune_app.training.probe import why_not
from tune_app.training.segment import epoch_of
from tune_app.training.values import COUNTS, ends, value_problems


@dataclass(slots=True)
class Findings:
    """What preflight found; plain data."""

    baseline: dict[str, Any] = field(default_factory=dict)
    impossible: list[tuple[str, Any, str]] = field(default_factory=list)
    """Parameter, value, why it cannot run here."""
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    prior: dict[str, Any] = field(default_factory=dict)
    """Beliefs about good values, those that only the model and the budget tell included."""


def check_names(document: Mapping[str, Any]) -> trainable.Trainable:
    """Loads the trainable and checks the parameters against it.

    Raises:
        UserError: with every name it does not know and every value its Config refuses.
    """
    loaded = trainable.load(document["trainable"])
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    problems = loaded.name_problems(space)
    problems += value_problems(loaded, space)
    if problems:
        raise UserError(problems)
    return loaded


def probe(document: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Choices and fixed values that cannot run on this machine, with the reason."""
    arguments = trainable.load(document["trainable"]).argument_fields
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    reasons = [
        (name, value, why_not(name, value, document["accelerator"]))
        for name, domain in space.items()
        if name in arguments
        for value in ends(domain)
    ]
    return [(name, value, reason) for name, value, reason in reasons if reason is not None]


def prepare(document: Mapping[str, Any], cache: Path, log: Log) -> Findings:
    """Makes the data ready on this node and checks the budget against it.

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
    problems = _budget_problems(document, epochs)
    if problems:
        raise UserError(problems)
    findings.notes = _notes(document, space, epochs) + _evaluation_note(document, data)
    findings.prior, notes = step_law.fill_in(document, loaded, space, epochs[-1])
    findings.notes += notes
    return findings


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
        epoch_of(loaded, {**constants, **values}, data)
        for values in [*_batches(document, {name: space[name] for name in named}), own]
    ]


def _batches(document: Mapping[str, Any], space: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """Batch sizes with accumulations, among them the least and the most that a trial may have."""
    laws = rules.of_document(document)
    listed = [_several(d) if laws.constraints else _extremes(d) for d in space.values()]
    every = [dict(zip(space, values, strict=True)) for values in product(*listed)]
    allowed = [
        values
        for values in every
        if not laws.broken({**laws.active(laws.constants), **values}, laws.constraints)
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


def _budget_problems(document: Mapping[str, Any], epochs: list[Epoch]) -> list[Problem]:
    """Batch sizes that the data or the budget is too small for."""
    problems = []
    rungs = len(document["rungs"])
    budget = document["budget"]
    largest = max(epochs, key=lambda epoch: epoch.tokens_per_step)
    if any(epoch.micro_batches == 0 for epoch in epochs):
        biggest = max(epoch.batch_size for epoch in epochs)
        what = f"{largest.samples} training examples do not fill one batch of {biggest}"
        fix = "use a larger corpus or a smaller batch"
        return [Problem(what, "parameters.per_device_train_batch_size", fix=fix)]
    if budget["unit"] == Unit.SECONDS:
        return []
    steps = steps_for(Unit(budget["unit"]), budget["amount"], largest)
    if steps < rungs:
        what = (
            f"{budget['amount']:,} {budget['unit']} are {steps} optimiser steps at batch size "
            f"{largest.batch_size} x accumulation {largest.accumulation}"
        )
        expected = f"at least {rungs} steps, one for each rung of the scheduler"
        fix = "raise the budget, or leave the large batch sizes out"
        problems.append(Problem(what, f"tune.budget.{budget['unit']}", expected, fix))
    return problems


def _notes(
    document: Mapping[str, Any], space: Mapping[str, Domain], epochs: list[Epoch]
) -> list[str]:
    """What a person should know of this space before it is paid for."""
    notes = []
    schedule = space.get("lr_scheduler_type")
    same = {"cosine", "cosine_with_restarts"}
    if isinstance(schedule, Choice) and same <= set(map(str, schedule.values)):
        notes.append(
            "lr_scheduler_type: cosine_with_restarts with its one default cycle is exactly cosine"
        )
    budget = document["budget"]
    warmup = space.get("warmup_steps")
    if warmup is not None and budget["unit"] != Unit.SECONDS:
        counts = [steps_for(Unit(budget["unit"]), budget["amount"], epoch) for epoch in epochs]
        highest = max(_extremes(warmup))
        if highest >= min(counts):
            notes.append(
                f"warmup_steps up to {highest} while a trial has {min(counts):,} to "
                f"{max(counts):,} steps: some never reach their peak learning rate"
            )
    return notes


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
