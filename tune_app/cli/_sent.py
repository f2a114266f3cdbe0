"""The files that are sent to a cluster with a study: its file and local code, never data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tune_app
from tune_app.core.definition import StudyDefinition
from tune_app.core.journal import FILE_NAME
from tune_app.errors import Problem, UserError
from tune_app.space.domains import Choice, Domain, Fixed
from tune_app.study.definition import Study

INSTALLED = Path(tune_app.__file__).parents[1]
"""Files below this folder are installed on the cluster with this package."""


def files(study: Study, path: Path) -> dict[str, Path]:
    """The files to send, by their paths relative to the working directory.

    Raises:
        UserError: the study names something that cannot be sent.
    """
    folder = Path.cwd()
    if not path.is_file():
        fix = f"write it as a file first: python -m tune_app export {path} > study.yaml"
        raise UserError(Problem("only a study file can be sent", str(path), fix=fix))
    definition = study.to_definition()
    sent: dict[str, Path] = {}
    problems = list(_data(study, folder))
    for local in (*_code(definition, folder), *_tables(study)):
        inside = local.resolve()
        if inside.is_relative_to(folder.resolve()):
            sent[str(inside.relative_to(folder.resolve()))] = inside
        else:
            what = "lies outside of the folder that this command runs in"
            fix = "go to a folder above both it and the study file"
            problems.append(Problem(what, str(local), "a file in or below it", fix))
    if problems:
        raise UserError(problems)
    return {**sent, path.name: path.resolve()}


def _code(study: StudyDefinition, folder: Path) -> Iterator[Path]:
    """The Python files of the user's own plug-ins, and the other ones in their folders."""
    plugins = (study.searcher, study.scheduler, *study.trackers)
    for reference in (study.trainable, *(plugin.name for plugin in plugins)):
        if reference.endswith(".py"):
            yield from Path(reference).parent.glob("*.py")
            continue
        # A module: its whole package, since it may import from there.
        top, *rest = reference.split(".") if "." in reference else ("trainables", reference)
        module = folder.joinpath(top, *rest).with_suffix(".py")
        if module.is_file() and not (INSTALLED / module.relative_to(folder)).is_file():
            yield from (folder / top).rglob("*.py")


def _tables(study: Study) -> Iterator[Path]:
    """Tables and journals of the study's warm start."""
    for name in study.tune.warm_start:
        yield Path(name) / FILE_NAME if Path(name).is_dir() else Path(name)


def _data(study: Study, folder: Path) -> Iterator[Problem]:
    """Problems of values that are relative paths to data on this machine, which is not sent."""
    for name, domain in study.space.items():
        for value in _constants(domain):
            if isinstance(value, str) and _is_local(value, folder):
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


def _is_local(value: str, folder: Path) -> bool:
    """Whether it must be a path: the mere name of a corpus may also be that of a folder."""
    looks_like_path = "/" in value or bool(Path(value).suffix)
    return looks_like_path and not Path(value).is_absolute() and (folder / value).exists()
