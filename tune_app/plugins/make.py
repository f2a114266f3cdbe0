"""Creates the plug-ins that a study names."""

from __future__ import annotations

from pathlib import Path

from tune_app import plugins
from tune_app.budget import Unit
from tune_app.core import ports
from tune_app.core.blame import blamed
from tune_app.core.definition import Budget, PlugIn, StudyDefinition
from tune_app.core.ports import Scheduler, SchedulerContext, Searcher, Tracker
from tune_app.space.domains import Space


def scheduler(study: StudyDefinition) -> Scheduler:
    """The scheduler of a study.

    Raises:
        UserError: there is no such scheduler, or it refuses its options.
    """
    return scheduler_of(study.scheduler, study.budget, study.space)


def scheduler_of(plug_in: PlugIn, budget: Budget, space: Space) -> Scheduler:
    """A scheduler without a study; its rungs may depend on the budget.

    Raises:
        UserError: there is no such scheduler, or it refuses its options.
    """
    module = plugins.load("scheduler", plug_in.name)
    created: Scheduler = module.create(scheduler_context(budget, space), **plug_in.options)
    return created


def scheduler_context(budget: Budget, space: Space) -> SchedulerContext:
    """The facts of a study that a scheduler gets."""
    steps = budget.amount if budget.unit is Unit.STEPS else budget.fewest_steps
    return SchedulerContext(budget.trials, steps, frozenset(space))


def searcher(study: StudyDefinition) -> Searcher:
    """The searcher of a study, over its current space."""
    return searcher_of(study.searcher, study.space, study.seed)


def searcher_of(plug_in: PlugIn, space: Space, seed: int) -> Searcher:
    """A searcher without a study.

    Raises:
        UserError: there is no such searcher, or it refuses its options.
    """
    created: Searcher = plugins.load("searcher", plug_in.name).create(
        space, seed, **plug_in.options
    )
    return created


def learns_from_history(plug_in: PlugIn, space: Space, seed: int) -> bool:
    """Whether a searcher uses the results of trials.

    Raises:
        UserError: there is no such searcher, or it raises.
    """
    with blamed("searcher"):
        return ports.learns_from_history(searcher_of(plug_in, space, seed))


def trackers(study: StudyDefinition, folder: Path) -> list[tuple[str, Tracker]]:
    """The trackers of a study, each with its name; `folder` is the study's.

    Raises:
        UserError: one of them is not found, or raises.
    """
    created = []
    for plug_in in study.trackers:
        module = plugins.load("tracker", plug_in.name)
        with blamed(f"tracker {plug_in.name}"):
            created.append((plug_in.name, module.create(folder, **plug_in.options)))
    return created
