"""Shows one study: the result, the trials and where the files are."""

from __future__ import annotations

import argparse
from typing import Any

from rich.table import Table
from rich.text import Text

from tune_app.analysis import format
from tune_app.cli import _common, _submit
from tune_app.cli.list import live_status
from tune_app.console import closing, output
from tune_app.storage import catalogue

HELP = "show a study's result and trials"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _common.add_name(parser)
    _common.add_storage(parser)
    _submit.add_submit(parser)


def execute(args: argparse.Namespace) -> int:
    if args.submit is not None:
        return _submit.ask(args, "show", args.name)
    study = catalogue.find(args.storage, args.name)
    state, _ = catalogue.read(study.folder)
    from tune_app.analysis.importance_words import in_full

    summary = in_full(state)
    summary["status"] = live_status(summary["status"], study)
    if args.json:
        _common.print_json({**summary, "folder": study.address})
        return 0
    console = output.stdout()
    console.print(Text(f"{summary['name']}: {summary['status']}", "bold"))
    table = _trials(summary, folded=False)
    fits = console.measure(table).maximum <= console.width
    console.print(table if fits else _trials(summary, folded=True))
    closing.write(console, summary, study, args.storage)
    return 0


def _trials(summary: dict[str, Any], folded: bool) -> Table:
    """One row per trial, with a column for each parameter, or one for all if `folded`."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    names = list(dict.fromkeys(name for row in summary["trials"] for name in row["params"]))
    for column in ("trial", "outcome", "value", "budget"):
        table.add_column(column, no_wrap=True)
    for column in ["values"] if folded else names:
        table.add_column(column, no_wrap=not folded)
    for row in summary["trials"]:
        values = [format.value(row["params"][n]) if n in row["params"] else "" for n in names]
        outcome = row["outcome"].replace("_", " ")
        head = [row["trial"], outcome, format.loss(row["value"]), format.share(row["fraction"])]
        table.add_row(*head, *([format.params(row["params"])] if folded else values))
    return table
