"""The searches that `replay` compares: every given searcher with every given scheduler."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tune_app import plugins
from tune_app.core.definition import PlugIn
from tune_app.errors import Problem, UserError

if TYPE_CHECKING:
    from tune_app.history.replay import Setting

AUTO = "auto"
KINDS = ("searcher", "scheduler")
EXAMPLES = {"searcher": "{name: tpe, startup: 20}", "scheduler": "{name: asha, eta: 4}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--searcher` and `--scheduler`."""
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}",
            action="append",
            metavar="NAME",
            help=f"a {kind}, with options as in a study file: '{EXAMPLES[kind]}'; repeat it to "
            f"compare several (default: {AUTO})",
        )


def searches(args: argparse.Namespace) -> tuple[dict[str, Setting], list[Problem]]:
    """The searches by name, and all problems of their options."""
    from tune_app.history.replay import Setting

    searchers, problems = _sections("searcher", args.searcher or [AUTO])
    schedulers, more = _sections("scheduler", args.scheduler or [AUTO])
    pairs = itertools.product(searchers, schedulers)
    settings = {
        f"{_label(searcher)} + {_label(scheduler)}": Setting(
            searcher=searcher,
            scheduler=scheduler,
            full_runs=args.full_runs,
            workers=args.workers,
            stragglers=args.stragglers,
            failures=args.failures,
        )
        for searcher, scheduler in pairs
    }
    return settings, problems + more


def _sections(kind: str, texts: Sequence[str]) -> tuple[list[PlugIn], list[Problem]]:
    sections: list[PlugIn] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            sections.append(_section(kind, text))
        except UserError as error:
            problems += error.problems
    return sections, problems


def _section(kind: str, text: str) -> PlugIn:
    """The plug-in for one value of the command line.

    Raises:
        UserError: it is not YAML, or there is no such plug-in or option.
    """
    from tune_app.study import lenient

    where = f"--{kind} {text}"
    section = _mapping(kind, text) if text.lstrip().startswith("{") else {"name": text}
    name = section.pop("name", None)
    if not isinstance(name, str):
        raise UserError(Problem("no name", where, f"as in '{EXAMPLES[kind]}'"))
    module = plugins.load(kind, name, f"--{kind}")
    if problems := plugins.option_problems(module, section, where):
        raise UserError(problems)
    numbers = lenient.of_options(kind, name, section)
    return PlugIn(name, {**section, **{option: value for option, (value, _) in numbers.items()}})


def _mapping(kind: str, text: str) -> dict[str, Any]:
    from tune_app.study import yaml_source

    source = yaml_source.parse(text, f"--{kind} {text}")
    if source.problems:
        raise UserError(source.problems)
    return source.data


def _label(plugin: PlugIn) -> str:
    return " ".join([plugin.name, *(f"{key}={value}" for key, value in plugin.options.items())])
