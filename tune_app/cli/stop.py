"""Asks a running study to save and stop, from another terminal or for a job on a cluster."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tune_app.cli import _folders, _requests, _submit
from tune_app.cli.list import standing
from tune_app.console import commands
from tune_app.errors import Problem, UserError

HELP = "let a running study save its trials and stop, as Ctrl-C does"

POLL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _folders.add_name(parser)
    _folders.add_storage(parser)
    _submit.add_submit(parser)


def execute(args: argparse.Namespace) -> int:
    if args.submit is not None:
        return _submit.ask(args, "stop", args.name)
    folder = _folders.find(args.storage, args.name).resolve()
    if _status(folder) != "running":
        resume = commands.verb("resume", args.name, args.storage)
        fix = "" if _status(folder) == "ended" else f"go on with it: {resume}"
        raise UserError(Problem(f"{args.name} is not running", str(folder), fix=fix))
    with _folders.explained("ask the study to stop", folder):
        _requests.ask_to_stop(folder)
    while (status := _status(folder)) == "running":
        time.sleep(POLL_S)
    if args.json:
        _folders.print_json({"name": args.name, "status": status})
    else:
        print(f"{args.name}: {status}")
    return 0


def _status(folder: Path) -> str:
    state, _ = _folders.read(folder)
    return standing("ended" if state.ended else "", folder)
