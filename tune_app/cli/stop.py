"""Asks a running study to save and stop, from another terminal or on a cluster."""

from __future__ import annotations

import argparse
import time

from tune_app.cli import _common, _requests, _submit
from tune_app.cli.list import live_status
from tune_app.console import commands
from tune_app.errors import Problem, UserError
from tune_app.storage import catalogue
from tune_app.storage.lease import place_of
from tune_app.storage.study import Study

HELP = "let a running study save its trials and stop, as Ctrl-C does"

POLL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _common.add_name(parser)
    _common.add_storage(parser)
    _submit.add_submit(parser)


def execute(args: argparse.Namespace) -> int:
    """Runs the verb; returns the exit code once the study has stopped.

    Raises:
        UserError: the study is not running, or its driver cannot be reached from here.
    """
    if args.submit is not None:
        return _submit.ask(args, "stop", args.name)
    study = catalogue.find(args.storage, args.name)
    if _status(study) != "running":
        resume = commands.verb("resume", args.name, args.storage)
        fix = "" if _status(study) == "ended" else f"go on with it: {resume}"
        raise UserError(Problem(f"{args.name} is not running", study.address, fix=fix))
    _check_reachable(study)
    with catalogue.explained("ask the study to stop", study.folder):
        _requests.ask_to_stop(study.folder)
    while (status := _status(study)) == "running":
        time.sleep(POLL_S)
    if args.json:
        _common.print_json({"name": args.name, "status": status})
    else:
        print(f"{args.name}: {status}")
    return 0


def _check_reachable(study: Study) -> None:
    """Checks that the driver is on this machine: the request is a file in the study's folder.

    Raises:
        UserError: the driver of a study in a bucket is on another machine.
    """
    holder = study.holder()
    if study.url is not None and holder is not None and holder.place != place_of(study.folder):
        what = f"its driver is on another machine: {holder.host}"
        raise UserError(Problem(what, study.address, fix="run `stop` there"))


def _status(study: Study) -> str:
    study.refresh()
    state, _ = catalogue.read(study.folder)
    return live_status("ended" if state.ended else "", study)
