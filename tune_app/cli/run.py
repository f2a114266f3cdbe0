"""Starts a study and runs it to its end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tune_app.cli import _common, _study, _submit
from tune_app.console import commands
from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError
from tune_app.provenance import machine, software
from tune_app.storage import catalogue
from tune_app.storage.places import Storage
from tune_app.storage.study import Study as StoredStudy

if TYPE_CHECKING:
    from tune_app.study.definition import Study

HELP = "run a study: a W&B sweep file, or the quickstart when none is given"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _study.add_study(parser)
    _common.add_storage(parser)
    _submit.add_submit(parser)
    parser.add_argument(
        "--name", help="the study's name and folder; default: its file and the time"
    )
    parser.add_argument(
        "--plan", action="store_true", help="only tell what it would do and cost, as `plan` does"
    )


def execute(args: argparse.Namespace) -> int:
    """Runs the verb; returns the exit code.

    Raises:
        UserError: a mistake in the arguments or the study, a name that is taken, or a study that
            cannot go on.
    """
    if args.plan and args.submit is None:
        from tune_app.cli import plan

        return plan.execute(args)
    if args.name == "":
        raise UserError(catalogue.name_problems("", "--name"))
    study, path, overrides = _study.load(args, args.name)
    if args.submit is not None:
        return _send(args, study, path, overrides)
    from tune_app.cli import _session

    home = _new(args.storage, study.name)
    journal = catalogue.opened(home)
    state = StudyState()
    session = _session.Session(args, home, state, journal)
    if journal.path.stat().st_size:
        # Another driver has created the study since we checked the bucket.
        home.close_session()
        raise UserError(_taken(args.storage, study.name))
    try:
        return session.run(
            "study_started",
            study=study.to_definition().to_document(),
            software=software(),
            machine=machine(),
            notes=study.notes,
        )
    except UserError as error:
        if not state.trials:
            # No trial has started: the name becomes free for the corrected study.
            home.delete()
        raise UserError(_study.placed(error.problems, path, overrides)) from error
    finally:
        home.close_session()


def _send(args: argparse.Namespace, study: Study, path: Path, overrides: list[str]) -> int:
    """Runs the study on a cluster, under the same name."""
    from tune_app.cli import _sent

    words = [path.name, "--name", study.name]
    words += [word for change in overrides for word in ("--set", change)]
    return _submit.start(args, "run", study.name, words, _sent.files(study, path))


def _new(storage: Storage, name: str) -> StoredStudy:
    try:
        return storage.create(name)
    except FileExistsError as error:
        raise UserError(_taken(storage, name)) from error
    except OSError as error:
        what = f"cannot make the study's folder: {error.strerror}"
        where = f"{storage}/{name}"
        raise UserError(Problem(what, where, fix="choose another --storage")) from error


def _taken(storage: Storage, name: str) -> Problem:
    resume = commands.verb("resume", name, storage)
    fix = f"go on with it: {resume}; or choose another --name"
    return Problem(f"a study named {name!r} exists", str(storage), fix=fix)
