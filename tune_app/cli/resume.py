"""Resumes a study that was interrupted by the user or by a crash."""

from __future__ import annotations

import argparse

from tune_app.cli import _common, _submit
from tune_app.console import commands
from tune_app.core.journal import Journal
from tune_app.provenance import machine, software
from tune_app.storage import catalogue
from tune_app.storage.study import Study

HELP = "go on with a study that was interrupted or killed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _common.add_name(parser)
    _common.add_storage(parser)
    parser.add_argument("--address", help="a running Ray cluster; default: a local one")
    _submit.add_submit(parser)


def execute(args: argparse.Namespace) -> int:
    if args.submit is not None:
        catalogue.check_name(args.name)
        return _submit.start(args, "resume", args.name, [args.name])
    study = catalogue.find(args.storage, args.name)
    journal = catalogue.opened(study)
    try:
        return _go_on(args, study, journal)
    finally:
        study.close_session()


def _go_on(args: argparse.Namespace, study: Study, journal: Journal) -> int:
    state, tail = catalogue.read(study.folder)
    if tail is not None:
        journal.repair(tail)
        print(f"the journal's last line was cut short and is dropped: {len(tail.text)} characters")
    if state.ended is not None:
        print(f"{state.name} has ended: {state.ended}")
        print(f"see it with: {commands.verb('show', state.name, args.storage)}")
        return 0
    from tune_app.cli import _session

    session = _session.Session(args, study, state, journal)
    return session.run("study_resumed", software=software(), machine=machine())
