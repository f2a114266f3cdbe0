"""Makes the plug-ins that a study names."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

from tune_app import plugins
from tune_app.core.blame import blamed
from tune_app.core.definition import Budget, PlugIn, StudyDefinition, budget_document
from tune_app.core.ports import Scheduler, Searcher, Tracker
from tune_app.space.domains import Space


def scheduler(study: StudyDefinition) -> Scheduler:
    """The scheduler of a study."""
    return scheduler_of(study.scheduler, study.budget, study.space)


def scheduler_of(named: PlugIn, budget: Budget, space: Space) -> Scheduler:
    """The same before there is a study; its rungs may follow from the budget."""
    module = plugins.load("scheduler", named.name)
    made: Scheduler = module.create(**_parts(module, budget, space), **named.options)
    return made


def _parts(module: ModuleType, budget: Budget, space: Space) -> dict[str, object]:
    takes = inspect.signature(module.create).parameters
    parts = {"budget": budget_document(budget), "parameters": space}
    return {name: part for name, part in parts.items() if name in takes}


def searcher(study: StudyDefinition) -> Searcher:
    """The searcher of a study, over its present parameters."""
    module = plugins.load("searcher", study.searcher.name)
    made: Searcher = module.create(study.space, study.seed, **study.searcher.options)
    return made


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
