"""The study file of a command line, and the overrides of its values."""

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
    from tune_app.study.definition import Study

QUICKSTART = "quickstart.yaml"


def add_study(parser: argparse.ArgumentParser) -> None:
    """The arguments for the study file, its overrides and the cluster."""
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
    """`--set`, for every verb that reads a study file."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a value of the file, e.g. --set budget.tokens=60000; repeatable",
    )


def load(args: argparse.Namespace, name: str | None) -> tuple[Study, Path, list[str]]:
    """The study of the arguments, its file, and its overrides.

    Raises:
        UserError: with every mistake that can be found without a worker.
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
    """Adds line and column to problems that name a key of the study file.

    A parameter that is not a key of the file comes from a flag in the sweep's `command`.
    """
    if not path.is_file():
        # A Ray Tune space, given by its dotted path.
        return list(problems)
    from tune_app.study import overrides as changes
    from tune_app.study import yaml_source

    source = yaml_source.load(path)
    changes.apply(source, overrides)

    def at(problem: Problem) -> Problem:
        key = tuple(problem.where.split("."))
        is_in_file = source.find(key) is not None
        if not is_in_file and key[0] == "parameters" and "command" in source.data:
            what = f"{'.'.join(key[1:])}: {problem.what}"
            return replace(problem, what=what, where=source.where(("command",)))
        return replace(problem, where=source.where(key)) if is_in_file else problem

    return [at(problem) for problem in problems]


def study_path(path: Path | None) -> Path:
    """The study file for the argument `path`; without one the quickstart.

    The name alone of an installed search space is enough in any folder.

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
    installed = resources.files("search_spaces") / name
    file = Path(str(installed))
    if path is None or (path.parent.name in ("", "search_spaces") and file.is_file()):
        return file
    return path
