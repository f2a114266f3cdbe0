"""What is sent to a cluster with a study: its file and the local code it names, never data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tune_app
from tune_app.core.definition import StudyDefinition
from tune_app.core.journal import FILE_NAME
from tune_app.errors import Problem, UserError
from tune_app.space.domains import Choice, Domain, Fixed
from tune_app.study.parsed import ParsedStudy

INSTALLED = Path(tune_app.__file__).parents[1]
"""Files below this folder are part of this package, which the cluster has installed."""


def files(study: ParsedStudy, path: Path) -> dict[str, Path]:
    """The files by their relative paths, which the study file uses.

    Raises:
        UserError: the study names something that cannot be sent.
    """
    here = Path.cwd()
    if not path.is_file():
        fix = f"write it as a file first: python -m tune_app export {path} > study.yaml"
        raise UserError(Problem("only a study file can be sent", str(path), fix=fix))
    definition = study.to_definition()
    by_path: dict[str, Path] = {}
    problems = list(_data(study, here))
    for local in (*_code(definition, here), *_tables(study)):
        inside = local.resolve()
        if inside.is_relative_to(here.resolve()):
            by_path[str(inside.relative_to(here.resolve()))] = inside
        else:
            what = "lies outside of the folder that this command runs in"
            fix = "go to a folder above both it and the study file"
            problems.append(Problem(what, str(local), "a file in or below it", fix))
    if problems:
        raise UserError(problems)
    return {**by_path, path.name: path.resolve()}


def _code(study: StudyDefinition, here: Path) -> Iterator[Path]:
    """The Python files of the user's own plug-ins, with all others in their folders."""
    plugins = (study.searcher, study.scheduler, *study.trackers)
    for reference in (study.trainable, *(plugin.name for plugin in plugins)):
        if reference.endswith(".py"):
            yield from Path(reference).parent.glob("*.py")
            continue
        # A module is sent with its whole package, because it may import from there.
        top, *rest = reference.split(".") if "." in reference else ("trainables", reference)
        module = here.joinpath(top, *rest).with_suffix(".py")
        if module.is_file() and not (INSTALLED / module.relative_to(here)).is_file():
            yield from (here / top).rglob("*.py")


def _tables(study: ParsedStudy) -> Iterator[Path]:
    """Tables and journals of its warm start."""
    for name in study.tune.warm_start:
        yield Path(name) / FILE_NAME if Path(name).is_dir() else Path(name)


def _data(study: ParsedStudy, here: Path) -> Iterator[Problem]:
    """A problem for each value that is a relative path to data on this machine."""
    for name, domain in study.space.items():
        for value in _constants(domain):
            if isinstance(value, str) and _is_local(value, here):
                fix = "copy it into the cluster's shared folder and name it by its path there"
                what = f"{value!r} is on this machine, and data is not sent along"
                yield Problem(what, f"parameters.{name}", "an absolute path", fix)


def _constants(domain: Domain) -> tuple[Any, ...]:
    match domain:
        case Choice(values):
            return values
        case Fixed(value):
            return (value,)
        case _:
            return ()


def _is_local(value: str, here: Path) -> bool:
    """Whether it surely means a path: a folder may have the name of a built-in corpus by chance."""
    looks_so = "/" in value or bool(Path(value).suffix)
    return looks_so and not Path(value).is_absolute() and (here / value).exists()
