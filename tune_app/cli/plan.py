"""Shows what a study would do and cost; runs no trial and writes nothing but the cache."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from tune_app import engine
from tune_app.cache import cache_folder
from tune_app.cli import _common, _study
from tune_app.console import plan_view, screens, terminal
from tune_app.console.output import PIPE_WIDTH
from tune_app.console.plan import Plan
from tune_app.core.definition import StudyDefinition
from tune_app.core.trial import Params
from tune_app.errors import INTERRUPTED, Problem, UserError
from tune_app.simulation import costs, rehearsal
from tune_app.simulation.profile import Profile
from tune_app.training.preflight.messages import Impossible

if TYPE_CHECKING:
    from tune_app.engine.planner import PlanInputs

HELP = "show what a study would do and cost, without running it"

EXAMPLES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _study.add_study(parser)
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    parser.add_argument(
        "--price-per-hour",
        type=float,
        metavar="PRICE",
        help="price of an hour of all machines together, in any currency",
    )


def execute(args: argparse.Namespace) -> int:
    """Prints the plan.

    Raises:
        UserError: with every mistake in the study and the options that shows without a trial.
    """
    price = getattr(args, "price_per_hour", None)
    if price is not None and not 0 <= price < float("inf"):
        what, where = f"{price!r} is not a price", "--price-per-hour"
        raise UserError(Problem(what, where, "a number that is not negative"))
    study, path, overrides = _study.load(args, "plan")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with terminal.reserved(scratch / "plan.log") as (stdout, stderr):
            shown = screens.create(stderr if args.json else stdout, scratch)
            try:
                plan = _plan(study.to_definition(), args.address, scratch, shown, price)
            except UserError as error:
                raise UserError(_study.placed(error.problems, path, overrides)) from error
            except KeyboardInterrupt:
                return INTERRUPTED
            _show(plan, args.json, stdout)
    return 0


def _plan(
    study: StudyDefinition,
    address: str | None,
    scratch: Path,
    screen: screens.Screen,
    price: float | None,
) -> Plan:
    screen.say("starting Ray …")
    # Ray takes seconds to import: only once something is on the screen.
    if address is None:
        engine.stay_on_this_machine()
    from tune_app.engine.cluster import connect
    from tune_app.engine.planner import measure

    with connect(address, cache_folder()) as cluster:
        machines = cluster.describe()
        screen.say(f"Ray: {machines}")
        inputs = measure(study, cluster, scratch, screen.say)
    screen.say("rehearsing the search on a simulated clock …")
    return planned(inputs, machines, price)


def planned(inputs: PlanInputs, machines: str, price: float | None) -> Plan:
    """Computes the plan from its inputs."""
    study, state, trial = inputs.state.definition, inputs.state, inputs.trial
    profiles = costs.together(costs.good(inputs.profiles), trial.processes)
    schedule = _rehearsed(inputs, profiles) if profiles else None
    gpus = trial.gpu * trial.processes
    return Plan(
        study=study,
        left_out=tuple(Impossible(e["parameter"], e["value"], e["reason"]) for e in state.dropped),
        probed=inputs.probed,
        findings=tuple(state.findings),
        examples=tuple(rehearsal.first_suggestions(study, EXAMPLES)),
        machines=machines,
        slots=inputs.slots,
        cpu=trial.cpu,
        gpu=trial.gpu,
        processes=trial.processes,
        profiles=tuple(inputs.profiles),
        not_profiled=inputs.not_profiled,
        largest_batch=inputs.largest_batch,
        schedule=schedule,
        cost=None if schedule is None else costs.cost(schedule, profiles, gpus, price),
        compiling=costs.compile_payback(study, profiles),
    )


def _rehearsed(inputs: PlanInputs, profiles: list[Profile]) -> rehearsal.Schedule:
    study = inputs.state.definition

    def speed(params: Params) -> rehearsal.Speed:
        return costs.speed(study, profiles, params)

    done = [
        replace(one, wall_s=one.wall_s + inputs.worker_s)
        for one in rehearsal.rehearse(study, inputs.slots, speed, study.checkpoints.keep)
    ]
    return rehearsal.schedule(study, done)


def _show(plan: Plan, as_json: bool, stdout: TextIO) -> None:
    if as_json:
        _common.print_json(plan.as_json(), stdout)
        return
    width = None if stdout.isatty() else PIPE_WIDTH
    plan_view.write(Console(file=stdout, highlight=False, width=width), plan)
