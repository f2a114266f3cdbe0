"""Makes the plug-ins that a study names."""

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
    """The scheduler of a study."""
    return scheduler_of(study.scheduler, study.budget, study.space)


def scheduler_of(named: PlugIn, budget: Budget, space: Space) -> Scheduler:
    """The same before there is a study; its rungs may follow from the budget."""
    module = plugins.load("scheduler", named.name)
    made: Scheduler = module.create(scheduler_context(budget, space), **named.options)
    return made


def scheduler_context(budget: Budget, space: Space) -> SchedulerContext:
    """What a scheduler gets to know of a study."""
    steps = budget.amount if budget.unit is Unit.STEPS else budget.fewest_steps
    return SchedulerContext(budget.trials, steps, frozenset(space))


def searcher(study: StudyDefinition) -> Searcher:
    """The searcher of a study, over its present parameters."""
    return searcher_of(study.searcher, study.space, study.seed)


def searcher_of(named: PlugIn, space: Space, seed: int) -> Searcher:
    """The same before there is a study."""
    made: Searcher = plugins.load("searcher", named.name).create(space, seed, **named.options)
    return made


def learns_from_history(named: PlugIn, space: Space, seed: int) -> bool:
    """Whether a searcher proposes by what trials came to.

    Raises:
        UserError: there is no such searcher here, or it raises something.
    """
    with blamed("searcher"):
        return ports.learns_from_history(searcher_of(named, space, seed))


def trackers(study: StudyDefinition, folder: Path) -> list[tuple[str, Tracker]]:
    """The trackers of a study, each with its name; `folder` is the study's.

    Raises:
        UserError: one of them is not found, or raises.
    """
    made = []
    for named in study.trackers:
        module = plugins.load("tracker", named.name)
        with blamed(f"tracker {named.name}"):
            made.append((named.name, module.create(folder, **named.options)))
    return made
