"""Checks that the plug-ins of a study exist and accept their options."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from tune_app import plugins
from tune_app.core.blame import blamed
from tune_app.errors import Problem, UserError
from tune_app.plugins import make
from tune_app.study.parsed import ParsedStudy, plug_in
from tune_app.study.tune_section import TUNE, PlugInSection
from tune_app.study.yaml_source import KeyPath, Source


def problems(study: ParsedStudy, source: Source, try_out: bool) -> list[Problem]:
    """Plug-ins that do not exist, and options they refuse.

    `try_out` creates them for the study, which is possible only if it has no other problems.
    """
    problems: list[Problem] = []
    for kind, section, path in _plugins(study):
        where = source.where(path)
        try:
            module = plugins.load(kind, section.name, where)
        except UserError as error:
            problems += error.problems
            continue
        unknown = plugins.option_problems(module, section.options, where)
        if unknown or not try_out:
            problems += unknown
        else:
            problems += _refused(kind, module, section, study, source)
    return problems


def _plugins(study: ParsedStudy) -> list[tuple[str, PlugInSection, KeyPath]]:
    trackers = [
        ("tracker", tracker, (TUNE, "trackers", index))
        for index, tracker in enumerate(study.tune.trackers)
    ]
    return [
        ("searcher", study.searcher, (TUNE, "searcher")),
        ("scheduler", study.tune.scheduler, (TUNE, "scheduler")),
        *trackers,
    ]


def _refused(
    kind: str, module: ModuleType, section: PlugInSection, study: ParsedStudy, source: Source
) -> list[Problem]:
    """Values that a plug-in refuses when created; not for trackers, which would write to disk."""
    try:
        with blamed(kind):
            return _refusals(kind, module, section, study, source)
    except UserError as error:
        return list(error.problems)


def _refusals(
    kind: str, module: ModuleType, section: PlugInSection, study: ParsedStudy, source: Source
) -> list[Problem]:
    try:
        if kind == "searcher":
            module.create(study.space, study.tune.seed, **section.options)
        if kind == "scheduler":
            _ = make.scheduler_of(plug_in(section), study.budget, study.space).rungs
    except UserError as error:
        return [
            replace(problem, where=source.where(tuple(problem.where.split("."))))
            for problem in error.problems
        ]
    return []
