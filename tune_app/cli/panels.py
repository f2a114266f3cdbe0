"""Creates a W&B workspace and a report that show a study's runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tune_app.cli import _common
from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError
from tune_app.storage import catalogue

HELP = "make a W&B workspace and report of a study's runs, or write their JSON to a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _common.add_name(parser)
    _common.add_storage(parser)
    parser.add_argument("--project", help="a W&B project; default: the study's")
    parser.add_argument("--entity", help="a W&B user or team; default: the study's")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write JSON, without an account")


def execute(args: argparse.Namespace) -> int:
    study = catalogue.find(args.storage, args.name)
    state, _ = catalogue.read(study.folder)
    project = args.project or state.definition.project
    entity = args.entity or state.definition.entity
    if args.out is not None:
        _write(state, entity or "", project, args.out)
        saved = {"file": str(args.out)}
    else:
        with catalogue.shared(study, "wandb"):
            saved = _save(state, entity, project, study.folder)
    if args.json:
        _common.print_json(saved)
    else:
        print("\n".join(saved.values()))
    return 0


def _write(state: StudyState, entity: str, project: str, out: Path) -> None:
    try:
        from tune_app.trackers import _wandb_panels as panels
    except ImportError as error:
        raise _missing(error) from error
    text = json.dumps(panels.as_json(state, entity, project), ensure_ascii=False, indent=2)
    with catalogue.explained("write the panels", out):
        out.write_text(text + "\n", encoding="utf-8")


def _save(state: StudyState, entity: str | None, project: str, folder: Path) -> dict[str, str]:
    try:
        from tune_app.trackers import _wandb_panels as panels
        from tune_app.trackers._wandb_writer import default_entity
    except ImportError as error:
        raise _missing(error) from error
    try:
        (folder / "wandb").mkdir(exist_ok=True)
        owner = entity or default_entity()
        return panels.save(state, owner, project, folder / "wandb" / "panels.json")
    except Exception as error:
        # Errors of the client, of the network, and of unexpected answers.
        what = f"the panels cannot be saved: {error}".splitlines()[0]
        fix = "log in with `wandb login`, or write them to a file with --out FILE"
        raise UserError(Problem(what, f"W&B {project}", fix=fix)) from error


def _missing(error: ImportError) -> UserError:
    fix = "pip install 'tune-app[panels]'"
    return UserError(Problem(f"wandb-workspaces is needed: {error}", fix=fix))
