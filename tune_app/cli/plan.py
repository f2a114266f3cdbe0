"""Tells what a study would do and cost; runs no trial and writes nothing but the cache."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console

from tune_app import engine
from tune_app.cache import cache_folder
from tune_app.cli import _common, _study
from tune_app.console import plan_view, screens, terminal
from tune_app.console.output import PIPE_WIDTH
from tune_app.core.trial import Params
from tune_app.errors import Problem, UserError
from tune_app.simulation import costs, rehearsal
from tune_app.space.domains import describe, from_document, grid_size

if TYPE_CHECKING:
    from tune_app.engine.planner import Known

HELP = "tell what a study would do and cost, without running it"

EXAMPLES = 3
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _study.add_study(parser)
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    parser.add_argument(
        "--price-per-hour",
        type=float,
        metavar="PRICE",
        help="what an hour of all the machines together costs, in any currency",
    )


def execute(args: argparse.Namespace) -> int:
    price = getattr(args, "price_per_hour", None)
    if price is not None and not 0 <= price < float("inf"):
        what, where = f"{price!r} is no price", "--price-per-hour"
        raise UserError(Problem(what, where, "a number from 0 on"))
    study, path, overrides = _study.load(args, "plan")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with terminal.reserved(scratch / "plan.log") as (stdout, stderr):
            shown = screens.create(stderr if args.json else stdout, scratch)
            try:
                plan = _plan(study.to_document(), args.address, scratch, shown, price)
            except UserError as error:
                raise UserError(_study.placed(error.problems, path, overrides)) from error
            except KeyboardInterrupt:
                return INTERRUPTED
            _show(plan, args.json, stdout)
    return 0


def _plan(
    document: dict[str, Any],
    address: str | None,
    scratch: Path,
    screen: screens.Screen,
    price: float | None,
) -> dict[str, Any]:
    screen.say("starting Ray …")
    # Ray takes seconds to import: only once something is on the screen.
    if address is None:
        engine.stay_on_this_machine()
    from tune_app.engine.cluster import connect
    from tune_app.engine.planner import find_out

    with connect(address, cache_folder()) as cluster:
        where = cluster.describe()
        screen.say(f"Ray: {where}")
        known = find_out(document, cluster, scratch, screen.say)
    screen.say("rehearsing the search on a simulated clock …")
    return {**told(known, where), **_forecast(known, document["checkpoints"]["keep"], price)}


def told(known: Known, where: str) -> dict[str, Any]:
    """What is known of the study before any rehearsal, as plain data."""
    document = known.state.document
    space = {name: from_document(item) for name, item in document["parameters"].items()}
    return {
        "study": document["source"],
        "metric": document["metric"],
        "budget": document["budget"],
        "searcher": document["searcher"]["name"],
        "scheduler": document["scheduler"]["name"],
        "data": document["data"],
        "space": {name: describe(domain) for name, domain in space.items()},
        "searched": [n for n, item in document["parameters"].items() if item["type"] != "fixed"],
        "combinations": grid_size(space),
        "left_out": [
            {key: event[key] for key in ("parameter", "value", "reason")}
            for event in known.state.dropped
        ],
        "probed": known.probed,
        "findings": known.state.findings,
        "examples": rehearsal.first_suggestions(document, EXAMPLES),
        "machines": where,
        "slots": known.slots,
        "resources": asdict(known.trial),
        "corners": known.corners,
        "corners_not_measured": known.not_measured,
        "largest_batch": known.largest_batch,
    }


def _forecast(known: Known, keep_best: int, price: float | None) -> dict[str, Any]:
    """Schedule and cost, None where no corner ran that they could be told from."""
    document, trial = known.state.document, known.trial
    corners = costs.together(costs.good(known.corners), trial.processes)
    if not corners:
        return {"schedule": None, "cost": None, "compiling": ""}

    def speed(params: Params) -> rehearsal.Speed:
        return costs.speed(document, corners, params)

    done = [
        replace(one, wall_s=one.wall_s + known.worker_s)
        for one in rehearsal.rehearse(document, known.slots, speed, keep_best)
    ]
    schedule = rehearsal.summary(document, done)
    gpus = trial.gpu * trial.processes
    return {
        "schedule": schedule,
        "compiling": costs.compile_payback(document, corners),
        "cost": {
            "trial_s": schedule["trial_s"],
            "wall_s": schedule["wall_s"],
            "gpu_hours": costs.gpu_hours(schedule["trial_s"], gpus) if gpus else None,
            "money": None if price is None else costs.money(schedule["wall_s"], price),
            "disk_bytes": costs.disk_bytes(schedule["most_checkpoints"], corners),
        },
    }


def _show(plan: dict[str, Any], as_json: bool, stdout: TextIO) -> None:
    if as_json:
        _common.print_json(plan, stdout)
        return
    width = None if stdout.isatty() else PIPE_WIDTH
    plan_view.write(Console(file=stdout, highlight=False, width=width), plan)
