"""The study file that a command line names, and the changes to it from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tune_app.cli import _trainable
from tune_app.errors import Problem, UserError

if TYPE_CHECKING:
    from tune_app.study.parsed import ParsedStudy

QUICKSTART = "quickstart.yaml"


def add_study(parser: argparse.ArgumentParser) -> None:
    """Adds the study file, the options that change it, and `--address`."""
    parser.add_argument("study", nargs="?", type=Path, help="a W&B sweep or study file")
    add_overrides(parser)
    parser.add_argument("--seed", type=int, help="seed of the search and of every trial")
    parser.add_argument(
        "--drop-impossible",
        action="store_true",
        help="leave out choices that cannot run here instead of refusing the study",
    )
    parser.add_argument("--address", help="a running Ray cluster; default: a local one")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Adds `--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a value of the file, e.g. --set budget.tokens=60000; repeatable",
    )


def load(args: argparse.Namespace, name: str | None) -> tuple[ParsedStudy, Path, list[str]]:
    """The study that the arguments name, its file, and the overrides applied to it.

    Raises:
        UserError: with every mistake that can be detected without a worker.
    """
    from tune_app.study import file as study_file

    overrides = list(args.overrides)
    overrides += [f"seed={args.seed}"] if args.seed is not None else []
    overrides += ["drop_impossible=true"] if args.drop_impossible else []
    path = study_path(args.study)
    study = study_file.load(path, overrides, name)
    problem = _trainable.reference_problem(study.tune.trainable)
    if problem is not None:
        raise UserError(placed([problem], path, overrides))
    return study, path, overrides


def placed(problems: Iterable[Problem], path: Path, overrides: list[str]) -> list[Problem]:
    """The problems, with line and column for those that name a key of the study file.

    A parameter without a key of its own comes from a flag of the sweep's `command`.
    """
    if not path.is_file():
        # A space of Ray Tune, named by its dotted path.
        return list(problems)
    from tune_app.study import overrides as changes
    from tune_app.study import yaml_source

    source = yaml_source.load(path)
    changes.apply(source, overrides)

    def at(problem: Problem) -> Problem:
        key = tuple(problem.where.split("."))
        known = source.find(key) is not None
        if not known and key[0] == "parameters" and "command" in source.data:
            what = f"{'.'.join(key[1:])}: {problem.what}"
            return replace(problem, what=what, where=source.where(("command",)))
        return replace(problem, where=source.where(key)) if known else problem

    return [at(problem) for problem in problems]


def study_path(path: Path | None) -> Path:
    """The file to run; names of installed search spaces work from anywhere.

    Raises:
        UserError: it is a folder.
    """
    if path is not None and path.is_dir():
        files = sorted(str(item) for item in path.glob("*.y*ml"))
        hint = f"name one of its files: {', '.join(files[:9])}" if files else ""
        raise UserError(Problem("is a folder", str(path), "a W&B sweep or study file", hint))
    if path is not None and path.exists():
        return path
    name = path.name if path is not None else QUICKSTART
    installed = Path(str(resources.files("search_spaces") / name))
    if path is None or (path.parent.name in ("", "search_spaces") and installed.is_file()):
        return installed
    return path
