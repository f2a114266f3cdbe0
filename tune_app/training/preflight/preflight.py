"""The checks before the first trial, run on a worker where trials will run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from tune_app.budget import Unit
from tune_app.core.definition import StudyDefinition
from tune_app.errors import Problem, UserError
from tune_app.plugins import make
from tune_app.space.domains import Choice, Domain, Space, identity, searched, without
from tune_app.training import trainable
from tune_app.training.data import Data, Log
from tune_app.training.preflight import equivalence, inert, lengths, metrics, probe_cache, step_law
from tune_app.training.preflight.messages import Findings, Impossible, Probed
from tune_app.training.preflight.probe import PRECISIONS
from tune_app.training.preflight.values import ends, value_problems

ATTENTION = "attn_implementation"
ATTENTIONS = ("eager", "sdpa", "flash_attention_2")


def check_names(study: StudyDefinition) -> trainable.Trainable:
    """Loads the trainable and checks the parameters against it.

    Raises:
        UserError: with every unknown parameter, every value that its Config refuses, and the
            metric if no trial would report it.
    """
    loaded = trainable.load(study.trainable)
    problems = space_problems(loaded, study.space)
    problems += metrics.metric_problems(loaded, study.metric)
    if problems:
        raise UserError(problems)
    return loaded


def space_problems(loaded: trainable.Trainable, space: Mapping[str, Domain]) -> list[Problem]:
    """Problems of a space that a trainable shows without its data."""
    problems = loaded.name_problems(space)
    return problems + value_problems(loaded, space) + inert.contradictions(space)


def probe(study: StudyDefinition, cache: Path | None = None) -> list[Probed]:
    """Probes of the space's values on this machine, and of bf16, fp16 and the attentions."""
    loaded = trainable.load(study.trainable)
    values = [
        (name, value)
        for name, domain in study.space.items()
        if name in loaded.argument_fields or name == ATTENTION
        for value in ends(domain)
    ]
    values += [(name, True) for name in PRECISIONS]
    if ATTENTION in loaded.config_fields:
        values += [(ATTENTION, value) for value in ATTENTIONS]
    return probe_cache.examine_all(values, study.accelerator, cache)


def impossible(space: Space, probed: Iterable[Probed]) -> list[Impossible]:
    """The values of the space that cannot run on this machine, with the reason."""
    return [
        Impossible(row.parameter, row.value, row.reason)
        for row in probed
        if row.reason is not None
        and row.parameter in space
        and any(identity(row.value) == identity(value) for value in ends(space[row.parameter]))
    ]


def prepare(
    study: StudyDefinition, cache: Path, log: Log, dropped: Iterable[Impossible] = ()
) -> Findings:
    """Prepares the data on this node and checks the budget against it.

    `dropped` are the values that cannot run here, see `impossible`.

    Raises:
        UserError: as `check_names`; the data cannot be read; a batch size is too large for the
            data or the budget.
    """
    loaded = check_names(study)
    data = _prepared(study, loaded, cache, log)
    epochs = lengths.extreme_epochs(study, loaded, data)
    budget = lengths.with_steps(study.budget, epochs)
    rungs = make.scheduler_of(study.scheduler, budget, study.space).rungs
    problems = lengths.problems(budget, len(rungs), epochs)
    if problems:
        raise UserError(problems)
    beliefs, law_notes = step_law.fill_in(study, loaded, epochs[-1])
    sized = replace(study, budget=budget, rungs=rungs)
    return Findings(
        baseline=loaded.defaults(searched(study.space)),
        data=data.facts,
        beliefs=beliefs,
        budget=budget,
        rungs=rungs,
        notes=(
            *_equivalences(sized, loaded, data, dropped),
            *_rungs_note(study.rungs, rungs),
            *_evaluation_note(study, data),
            *(warning.in_one_line() for warning in metrics.goal_warnings(loaded, study.metric)),
            *law_notes,
        ),
    )


def _prepared(study: StudyDefinition, loaded: trainable.Trainable, cache: Path, log: Log) -> Data:
    data = loaded.module.prepare(loaded.config(study.constants), cache, log)
    if isinstance(data, Data):
        return data
    what, where = f"prepare returned {type(data).__name__}", f"trainable {study.trainable}"
    raise UserError(Problem(what, where, "a tune_app.training.data.Data"))


def _equivalences(
    study: StudyDefinition, loaded: trainable.Trainable, data: Data, dropped: Iterable[Impossible]
) -> list[str]:
    """Notes on values that give the same run or change nothing, among those that can be drawn."""
    space = _without(study.space, dropped) if study.drop_impossible else study.space
    runs = lengths.runs(study, loaded, space, data)
    return equivalence.findings(loaded, space, runs, study.accelerator, study.constraints)


def _without(space: Space, dropped: Iterable[Impossible]) -> Space:
    """The space without the dropped values; a parameter that would have no value left keeps all."""
    left = dict(space)
    for item in dropped:
        domain = left[item.parameter]
        if isinstance(domain, Choice):
            left[item.parameter] = without(domain, item.value)
    return left


def _rungs_note(before: tuple[float, ...], after: tuple[float, ...]) -> list[str]:
    if before == after:
        return []
    return [
        f"the first rung is at {after[0]:.3g} of the budget instead of {before[0]:.3g}, "
        "where trials with the largest batch would have done at most one step"
    ]


def _evaluation_note(study: StudyDefinition, data: Data) -> list[str]:
    """A note if evaluations are expensive: a forward pass costs about 1/3 of a training step."""
    budget = study.budget
    if budget.unit is not Unit.TOKENS:
        return []
    tokens = len(data.evaluation) * data.tokens_per_sample  # type: ignore[arg-type]
    share = budget.evaluations * tokens / 3 / budget.amount
    if share < 0.5:
        return []
    return [
        f"{budget.evaluations} evaluations of {tokens:,} tokens "
        f"cost about {100 * share:.0f} % of the training: lower tune.budget.evaluations"
    ]
