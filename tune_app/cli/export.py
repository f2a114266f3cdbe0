"""Prints a study file of any supported kind as a W&B sweep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_app.cli import _common
from tune_app.cli._study import add_overrides, study_path
from tune_app.space import wandb_export

if TYPE_CHECKING:
    from tune_app.study.definition import Study

HELP = "print a study file as a W&B sweep"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, help="a W&B sweep or study file")
    add_overrides(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of YAML")


def execute(args: argparse.Namespace) -> int:
    from tune_app.study import file as study_file
    from tune_app.study import yaml_source

    study = study_file.load(study_path(args.study), args.overrides)
    sweep = as_sweep(study)
    if args.json:
        _common.print_json(sweep)
        return 0
    for name, domain in study.space.items():
        if not wandb_export.is_exact(domain):
            print(f"# {name}: W&B has no such range; this is the nearest")
    if study.tune.model_fields_set:
        print("# left out, W&B has no word for it: tune, with", end=" ")
        print(", ".join(sorted(study.tune.model_fields_set)))
    print(yaml_source.dump(sweep), end="")
    return 0


def as_sweep(study: Study) -> dict[str, Any]:
    """The study as a W&B sweep, without its tune section, which W&B does not have."""
    sweep = study.sweep
    metric = {"name": sweep.metric, "goal": sweep.goal, "target": sweep.target}
    head = {
        "name": sweep.name,
        "description": sweep.description or None,
        "project": sweep.project,
        "entity": sweep.entity,
        "method": sweep.method,
        "metric": {key: value for key, value in metric.items() if value is not None},
        "run_cap": sweep.run_cap,
        "early_terminate": sweep.early_terminate and sweep.early_terminate.in_wandb(),
    }
    entries = {key: value for key, value in head.items() if value is not None}
    return {**entries, "parameters": wandb_export.parameters(study.space)}
