"""Lists the studies of a storage, oldest first."""

from __future__ import annotations

import argparse
import math
from datetime import datetime
from typing import Any

from rich.table import Table

from tune_app.analysis import format
from tune_app.analysis.summary import summarise
from tune_app.cli import _common, _submit
from tune_app.console import commands, output
from tune_app.core.journal import is_locked
from tune_app.errors import UserError
from tune_app.storage import catalogue, places
from tune_app.storage.places import Storage
from tune_app.storage.study import Study

HELP = "list the studies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _common.add_storage(parser)
    _submit.add_submit(parser)


def execute(args: argparse.Namespace) -> int:
    if args.submit is not None:
        return _submit.ask(args, "list")
    rows = sorted((_row(args.storage, name) for name in args.storage.names()), key=_started)
    if args.json:
        _common.print_json(rows)
        return 0
    if not rows:
        start = f"{commands.python()} -m tune_app.run"
        print(f"no studies in {args.storage} yet; start one with: {start}")
        return 0
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("study", "started", "state", "trials", "metric", "best", "elapsed"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    output.stdout().print(table)
    return 0


def _row(storage: Storage, name: str) -> dict[str, Any]:
    """The row of one study; a study that cannot be read gets the status unreadable."""
    try:
        study = catalogue.find(storage, name)
        state, _ = catalogue.read(study.folder)
        summary = summarise(state)
    except UserError as error:
        return {"name": name, "status": "unreadable", "reason": str(error)}
    best = summary["best"]
    return {
        "name": name,
        "started": state.started,
        "status": live_status(summary["status"], study),
        "trials": len(state.trials),
        "metric": state.metric,
        "best": None if best is None else best["value"],
        "elapsed_s": summary["elapsed_s"],
    }


def _started(row: dict[str, Any]) -> float:
    """The start of a study; studies without one are listed last."""
    return float(row.get("started") or math.inf)


def live_status(status: str, study: Study) -> str:
    """The status of a study, with `running` or `interrupted` for one that has not ended.

    It is running while its driver holds the journal's lock or a lease.

    Raises:
        UserError: the storage does not answer.
    """
    if status == "ended":
        return status
    with places.answering(study.address):
        running = is_locked(study.folder) or study.holder() is not None
    return "running" if running else "interrupted"


def _cells(row: dict[str, Any]) -> list[str]:
    if row["status"] == "unreadable":
        return [row["name"], "", "unreadable", "", "", "", ""]
    started = datetime.fromtimestamp(row["started"]).strftime("%Y-%m-%d %H:%M")
    best, elapsed = format.loss(row["best"]), format.duration(row["elapsed_s"])
    return [row["name"], started, row["status"], str(row["trials"]), row["metric"], best, elapsed]
