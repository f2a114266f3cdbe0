"""Makes the plug-ins that a study document names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tune_app import plugins
from tune_app.budget import Unit
from tune_app.core import ports
from tune_app.core.blame import blamed
from tune_app.core.ports import Scheduler, SchedulerContext, Searcher, Tracker
from tune_app.space.domains import from_document


def scheduler(document: Mapping[str, Any]) -> Scheduler:
    """The scheduler of a study."""
    name, options = _named(document["scheduler"])
    return scheduler_of(plugins.load("scheduler", name), options, document)


def scheduler_of(
    module: ModuleType, options: Mapping[str, Any], document: Mapping[str, Any]
) -> Scheduler:
    """What a plug-in makes of its options and of the study."""
    made: Scheduler = module.create(scheduler_context(document), **options)
    return made


def scheduler_context(document: Mapping[str, Any]) -> SchedulerContext:
    """What a scheduler gets to know of a study."""
    budget = document["budget"]
    steps = budget["amount"] if budget["unit"] == Unit.STEPS else budget.get("fewest_steps")
    return SchedulerContext(budget["trials"], steps, frozenset(document["parameters"]))


def searcher(document: Mapping[str, Any]) -> Searcher:
    """The searcher of a study, over its present parameters."""
    name, options = _named(document["searcher"])
    space = {key: from_document(item) for key, item in document["parameters"].items()}
    made: Searcher = plugins.load("searcher", name).create(space, document["seed"], **options)
    return made


def learns_from_history(document: Mapping[str, Any]) -> bool:
    """Whether the searcher of a study proposes by what trials came to.

    Raises:
        UserError: there is no such searcher here, or it raises something.
    """
    with blamed("searcher"):
        return ports.learns_from_history(searcher(document))


def trackers(document: Mapping[str, Any], folder: Path) -> list[Tracker]:
    """The trackers of a study; `folder` is the study's."""
    made = []
    for entry in document["trackers"]:
        name, options = _named(entry)
        made.append(plugins.load("tracker", name).create(folder, **options))
    return made


def _named(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return entry["name"], {key: value for key, value in entry.items() if key != "name"}
