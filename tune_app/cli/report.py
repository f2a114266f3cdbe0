"""Writes a study's report and plots again from its journal."""

from __future__ import annotations

import argparse

from tune_app.cli import _common
from tune_app.storage import catalogue, places

HELP = "write a study's report and plots again from its journal"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _common.add_name(parser)
    _common.add_storage(parser)


def execute(args: argparse.Namespace) -> int:
    study = catalogue.find(args.storage, args.name)
    folder = study.folder
    state, _ = catalogue.read(folder)
    from tune_app.analysis import report

    with catalogue.explained("write the report", folder / "report"):
        path = report.write(state, folder / "report", folder, str(args.storage))
    with places.answering(study.address):
        study.publish()
    if args.json:
        _common.print_json({"report": str(path)})
    else:
        print(path)
    return 0
