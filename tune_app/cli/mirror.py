"""Writes to W&B what it lacks of a study's journal: each run once."""

from __future__ import annotations

import argparse

from tune_app.cli import _common
from tune_app.errors import Problem, UserError
from tune_app.storage import catalogue

HELP = "write a study's runs to W&B, or only what is missing there; also into another project"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _common.add_name(parser)
    _common.add_storage(parser)
    parser.add_argument("--project", help="a W&B project; default: the study's")
    parser.add_argument("--entity", help="a W&B user or team; default: the study's")


def execute(args: argparse.Namespace) -> int:
    """Writes the runs and says how many were written.

    Raises:
        UserError: W&B is not installed, switched off or unreachable, or another mirror is running.
    """
    study = catalogue.find(args.storage, args.name)
    folder = study.folder
    catalogue.read(folder)
    from tune_app.trackers._remote_mirror import Busy, locked
    from tune_app.trackers._remote_pass import Mirror, ServiceUnavailable
    from tune_app.trackers._wandb_service import WandbService
    from tune_app.trackers._wandb_writer import Target

    service = WandbService(Target(project=args.project, entity=args.entity))
    mirror = Mirror(service, folder, is_checking=True)
    try:
        with (
            catalogue.explained("keep W&B's files", folder / "wandb"),
            locked(service.remote.home(folder), wait=False),
            catalogue.shared(study, "wandb"),
        ):
            mirror.run(lambda: True, poll_s=0.0)
    except Busy as error:
        what, fix = "another mirror of this study is running", "wait for it to end"
        raise UserError(Problem(what, str(folder), fix=fix)) from error
    except ImportError as error:
        raise UserError(Problem(str(error), "W&B", fix="pip install wandb")) from error
    except ServiceUnavailable as error:
        what, fix = f"W&B does not accept the runs: {error}", "run it again; written runs are kept"
        raise UserError(Problem(what, mirror.place, fix=fix)) from error
    finally:
        mirror.close()
    if mirror.is_off:
        raise UserError(Problem("W&B is switched off", "WANDB_MODE", fix="unset WANDB_MODE"))
    return _print_counts(args, mirror.place, mirror.written, mirror.kept)


def _print_counts(args: argparse.Namespace, place: str, written: int, kept: int) -> int:
    if args.json:
        _common.print_json({"place": place, "written": written, "kept": kept})
    elif not place:
        print("no trial has begun yet: there is nothing to write")
    else:
        print(f"{place}: {written} written, {kept} there already")
    return 0
