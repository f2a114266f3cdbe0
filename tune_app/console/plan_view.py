"""Prints a plan: what a study would do and cost, in 80 columns or more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tune_app.analysis import format
from tune_app.budget import BATCH_COUNTS
from tune_app.console.plan import Plan
from tune_app.console.screens import data_lines
from tune_app.simulation.costs import Cost
from tune_app.simulation.profile import Profile
from tune_app.simulation.rehearsal import Schedule, Span
from tune_app.space.domains import Fixed, Space, describe, fixed, grid_size, searched
from tune_app.training.preflight.messages import Impossible, Probed

ALONE = "measured one at a time: trials that share a machine are slower than that"


def write(console: Console, plan: Plan) -> None:
    """Prints the plan, without spaces at the ends of lines."""
    with console.capture() as captured:
        _write(console, plan)
    for line in captured.get().splitlines():
        console.print(Text.from_ansi(line.rstrip()), soft_wrap=True)


def _write(console: Console, plan: Plan) -> None:
    _head(console, plan)
    _section(console, "the space", _space(plan.study.space))
    _section(console, "tried on a worker", _probed(plan.probed))
    for title, lines in (
        ("left out", [_left_out(item) for item in plan.left_out]),
        ("worth knowing", plan.findings),
        ("the first trials would be", [format.params(item) for item in plan.examples]),
    ):
        _section(console, title, _bullets(lines) if lines else None)
    _section(console, "measured on a worker", _profiles(plan.profiles))
    _notes(console, plan)
    if plan.schedule is None or plan.cost is None:
        console.print("\nNo configuration of the space ran: the cost cannot be estimated.")
        return
    _section(console, "what would happen", _schedule(plan.schedule))
    _section(console, "what it would cost", _cost(plan.cost))


def _head(console: Console, plan: Plan) -> None:
    study, budget = plan.study, plan.study.budget
    console.print(Text(f"\nplan for {study.source}", "bold"))
    console.print(
        f"{budget.trials} trials of at most {format.count(budget.amount)} "
        f"{budget.unit}, {study.searcher.name} and {study.scheduler.name}, "
        f"{plan.slots} at a time ({plan.machines})"
    )
    for line in data_lines(study.data):
        console.print(line)


def _section(console: Console, title: str, content: Table | None) -> None:
    if content is not None:
        console.print(Text(f"\n{title}", "bold"))
        console.print(Padding(content, (0, 0, 0, 2), expand=False))


def _grid(*headers: str, right: Sequence[int] = ()) -> Table:
    """A table without lines; the columns with indices `right` are aligned right."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        show_header=any(headers),
        header_style="dim",
    )
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index in right else "left")
    return table


def _bullets(lines: Sequence[str]) -> Table:
    table = _grid("", "")
    for line in lines:
        table.add_row("-", Text(line))
    return table


def _space(space: Space) -> Table:
    table = _grid("", "")
    for name, domain in searched(space).items():
        table.add_row(name, Text(describe(domain)))
    constants = [f"{name}={describe(Fixed(value))}" for name, value in fixed(space).items()]
    if constants:
        table.add_row("fixed", Text(", ".join(constants)))
    count = grid_size(space)
    table.add_row("size", "infinite" if count is None else f"{count:,} combinations")
    return table


def _left_out(item: Impossible) -> str:
    return f"{item.parameter} = {format.value(item.value)}: {item.reason}"


def _probed(rows: Sequence[Probed]) -> Table | None:
    table = _grid("", "", "")
    for row in rows:
        if row.value is False or row.parameter not in PROBED:
            continue
        text = row.reason or "runs"
        if row.speed is not None:
            text += f"; {row.speed:.2g} times the speed of float32 in a matrix product"
        if row.seconds is not None:
            text += f"; a first layer compiled in {format.duration(row.seconds)}"
        table.add_row(row.parameter, format.value(row.value), Text(text))
    return table if table.row_count else None


PROBED = ("optim", "bf16", "fp16", "torch_compile", "attn_implementation")
"""Parameters whose values are probed on a worker; of others only failures are shown."""


def _profiles(profiles: Sequence[Profile]) -> Table | None:
    if not profiles:
        return None
    headers = ("batch", "other values", "tokens/s", "start", "evaluation", "peak memory")
    table = _grid(*headers, right=(0, 2, 3, 4, 5))
    usual = profiles[0].params
    for profile in profiles:
        if profile.error:
            table.add_row(
                _batch(profile), Text(f"{_costly_values(profile, usual)} {profile.error}")
            )
            continue
        table.add_row(
            _batch(profile),
            Text(_costly_values(profile, usual)),
            format.tokens(profile.tokens_per_s),
            format.duration(profile.start_s),
            format.duration(profile.evaluation_s),
            size(profile.peak_bytes),
        )
    return table


def _batch(profile: Profile) -> str:
    return " x ".join(str(count) for count in profile.counts.values()) or format.NOTHING


def _costly_values(profile: Profile, usual: Mapping[str, Any]) -> str:
    """Values that affect the cost, without the batch; values of the first profile only there."""
    costly = {n: v for n, v in profile.params.items() if n in profile.costly}
    is_first = profile.params is usual
    return format.params(
        {n: v for n, v in costly.items() if n not in BATCH_COUNTS and (is_first or usual[n] != v)}
    )


def _notes(console: Console, plan: Plan) -> None:
    lines = [plan.compiling] if plan.compiling else []
    missing = plan.not_profiled
    lines += [f"{missing} more configurations were not measured"] if missing else []
    largest = plan.largest_batch
    lines += [f"the largest micro-batch that fits: {largest}"] if largest is not None else []
    counts = sorted({profile.parameters for profile in plan.profiles if not profile.error})
    if counts:
        sizes = " to ".join(map(format.tokens, counts[:: max(1, len(counts) - 1)]))
        lines += [f"{sizes} parameters; batch: batch size x accumulation", ALONE]
        lines += _parallel(plan.processes)
    for line in lines:
        console.print(Padding(Text(line, "dim"), (0, 0, 0, 2), expand=False))


def _parallel(processes: int) -> list[str]:
    if processes == 1:
        return []
    return [
        f"measured in one process; the estimates assume that {processes} processes are "
        f"{processes} times as fast, which is the best case"
    ]


def _schedule(schedule: Schedule) -> Table:
    table = _grid("", "")
    for rung in schedule.rungs:
        counts = _span(rung.trials, lambda number: f"{number:.3g}")
        table.add_row(f"reach {format.share(rung.share)}", f"{counts} trials")
    runs = _span(schedule.runs, lambda number: f"{number:.1f}")
    table.add_row("full runs", f"{runs}, instead of {schedule.trials}")
    table.add_row("from", f"{schedule.rehearsals} rehearsals with made-up losses")
    return table


def _cost(cost: Cost) -> Table:
    table = _grid("", "")
    table.add_row("trials' time", _span(cost.trial_s, format.duration))
    table.add_row("wall time", f"{_span(cost.wall_s, format.duration)}, once Ray has started")
    if cost.gpu_hours is not None:
        table.add_row("GPU-hours", _span(cost.gpu_hours, lambda number: f"{number:.2f}"))
    if cost.money is not None:
        table.add_row("money", _span(cost.money, lambda number: f"{number:.2f}"))
    table.add_row("disk", f"{_span(cost.disk_bytes, size)} for checkpoints at the fullest")
    return table


def _span(span: Span, text: Callable[[float], str]) -> str:
    """A mean with its range, or one number if all are equal."""
    low, mean, high = text(span.low), text(span.mean), text(span.high)
    return low if low == high else f"{mean} ({low} to {high})"


def size(count: float) -> str:
    """Bytes in three digits: 123456789 -> "123 MB"."""
    for unit, bytes_ in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_:
            return f"{count / bytes_:.3g} {unit}"
    return f"{count:.0f} B"
