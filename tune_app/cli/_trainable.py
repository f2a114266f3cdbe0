"""Checks a study's trainable and its parameters without a worker."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tune_app import plugins
from tune_app.core.definition import Metric
from tune_app.errors import Problem, UserError, nearest
from tune_app.space.domains import Domain

WHERE = "tune.trainable"


def reference_problem(reference: str) -> Problem | None:
    """The problem of a reference that a worker would refuse, None if it looks valid.

    The trainable is not imported: that takes as long as starting Ray.
    """
    if reference.endswith(".py"):
        return _file_problem(Path(reference))
    if "." in reference or reference in (names := plugins.names("trainable")):
        return None
    expected = "a name, a dotted module path, or a path to a .py file"
    return Problem(f"unknown trainable {reference!r}", WHERE, expected, nearest(reference, names))


def _file_problem(path: Path) -> Problem | None:
    if not path.is_file():
        files = [item.name for item in path.parent.glob("*.py")]
        what = f"there is no file {path}"
        return Problem(what, WHERE, "a trainable", nearest(path.name, files) if files else "")
    try:
        ast.parse(path.read_bytes(), path.name)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return Problem(f"not Python: {getattr(error, 'msg', error)}", f"{path}:{line}")
    return None


def check(
    reference: str, space: Mapping[str, Domain], metric: Metric
) -> tuple[list[Problem], list[Problem]]:
    """The problems and the warnings of a study's space and metric for a trainable.

    A trainable that cannot be imported is a warning. The first import takes seconds.
    """
    problem = reference_problem(reference)
    if problem is not None:
        return [problem], []
    # What the import prints does not belong to our output.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            plugins.load("trainable", reference, WHERE)
        except UserError as error:
            # It may be importable on the machines that will run the study.
            fix = "check the study with plan on the machine that is to run it"
            return [], [
                replace(item, what=f"parameters not checked: {item.what}", expected="", fix=fix)
                for item in error.problems
            ]
        from tune_app.training import trainable
        from tune_app.training.preflight import metrics, preflight

        try:
            loaded = trainable.load(reference)
            problems = preflight.space_problems(loaded, space)
        except UserError as error:
            return list(error.problems), []
        problems += metrics.metric_problems(loaded, metric)
        return problems, metrics.goal_warnings(loaded, metric)
