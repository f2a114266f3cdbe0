"""Goes on with a study that was interrupted, by a person or by a crash."""

from __future__ import annotations

import argparse

from tune_app.cli import _folders, _session, _submit
from tune_app.console import commands
from tune_app.journal import Journal
from tune_app.provenance import machine, software

HELP = "go on with a study that was interrupted or killed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _folders.add_name(parser)
    _folders.add_storage(parser)
    parser.add_argument("--address", help="a running Ray cluster; default: a local one")
    _submit.add_submit(parser)


def execute(args: argparse.Namespace) -> int:
    if args.submit is not None:
        _folders.check_name(args.name)
        return _submit.start(args, "resume", args.name, [args.name])
    folder = _folders.find(args.storage, args.name).resolve()
    with _folders.explained("write to the journal", folder):
        journal = Journal(folder)
    state, tail = _folders.read(folder)
    if tail is not None:
        journal.repair(tail)
        print(f"the journal's last line was cut short and is dropped: {len(tail.text)} characters")
    if state.ended is not None:
        print(f"{state.name} has ended: {state.ended}")
        print(f"see it with: {commands.verb('show', state.name, args.storage)}")
        return 0
    session = _session.Session(args, folder, state, journal)
    return session.run("study_resumed", software=software(), machine=machine())
