"""A plan on paper: what a study would do and cost, for 80 columns and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tune_app.analysis import format
from tune_app.console.screens import data_lines

ALONE = "measured one at a time: trials that share a machine are slower than that"


def write(console: Console, plan: Mapping[str, Any]) -> None:
    """Prints the plan; `plan` is what `cli.plan` makes. Lines end with their last letter."""
    with console.capture() as captured:
        _write(console, plan)
    for line in captured.get().splitlines():
        console.print(Text.from_ansi(line.rstrip()), soft_wrap=True)


def _write(console: Console, plan: Mapping[str, Any]) -> None:
    _head(console, plan)
    _section(console, "the space", _space(plan))
    _section(console, "tried on a worker", _probed(plan["probed"]))
    for title, lines in (
        ("left out", [_left_out(item) for item in plan["left_out"]]),
        ("worth knowing", plan["findings"]),
        ("the first trials would be", [format.params(item) for item in plan["examples"]]),
    ):
        _section(console, title, _bullets(lines) if lines else None)
    _section(console, "measured on a worker", _corners(plan["corners"]))
    _notes(console, plan)
    if plan["schedule"] is None:
        console.print("\nNo corner of the space ran: there is nothing to tell a cost from.")
        return
    _section(console, "what would happen", _schedule(plan["schedule"]))
    _section(console, "what it would cost", _cost(plan))


def _head(console: Console, plan: Mapping[str, Any]) -> None:
    budget = plan["budget"]
    console.print(Text(f"\nplan for {plan['study']}", "bold"))
    console.print(
        f"{budget['trials']} trials of at most {format.count(budget['amount'])} "
        f"{budget['unit']}, {plan['searcher']} and {plan['scheduler']}, "
        f"{plan['slots']} at a time ({plan['machines']})"
    )
    for line in data_lines(plan["data"]):
        console.print(line)


def _section(console: Console, title: str, content: Table | None) -> None:
    if content is not None:
        console.print(Text(f"\n{title}", "bold"))
        console.print(Padding(content, (0, 0, 0, 2), expand=False))


def _grid(*headers: str, right: Sequence[int] = ()) -> Table:
    """Columns without lines; those of numbers are flush right."""
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


def _space(plan: Mapping[str, Any]) -> Table:
    table = _grid("", "")
    for name in plan["searched"]:
        table.add_row(name, Text(plan["space"][name]))
    constants = [f"{n}={text}" for n, text in plan["space"].items() if n not in plan["searched"]]
    if constants:
        table.add_row("fixed", Text(", ".join(constants)))
    count = plan["combinations"]
    table.add_row("size", "infinite" if count is None else f"{count:,} combinations")
    return table


def _left_out(item: Mapping[str, Any]) -> str:
    return f"{item['parameter']} = {format.value(item['value'])}: {item['reason']}"


def _probed(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    table = _grid("", "", "")
    for row in rows:
        if row["value"] is False or row["parameter"] not in PROBED:
            continue
        text = row["reason"] or "runs"
        if row["speed"] is not None:
            text += f"; {row['speed']:.2g} times the speed of float32 in a matrix product"
        if row["seconds"] is not None:
            text += f"; a first layer compiled in {format.duration(row['seconds'])}"
        table.add_row(row["parameter"], format.value(row["value"]), Text(text))
    return table if table.row_count else None


PROBED = ("optim", "bf16", "fp16", "torch_compile", "attn_implementation")
"""Parameters whose values are really tried; of the others only what fails is told."""


def _corners(corners: Sequence[Mapping[str, Any]]) -> Table | None:
    if not corners:
        return None
    headers = ("batch", "other values", "tokens/s", "start", "evaluation", "peak memory")
    table = _grid(*headers, right=(0, 2, 3, 4, 5))
    usual = corners[0]["params"]
    for corner in corners:
        if corner["error"]:
            table.add_row(_batch(corner), Text(f"{_others(corner, usual)} {corner['error']}"))
            continue
        table.add_row(
            _batch(corner),
            Text(_others(corner, usual)),
            format.tokens(corner["tokens_per_s"]),
            format.duration(corner["start_s"]),
            format.duration(corner["evaluation_s"]),
            size(corner["peak_bytes"]),
        )
    return table


def _batch(corner: Mapping[str, Any]) -> str:
    return " x ".join(str(count) for count in corner["counts"].values()) or format.NOTHING


def _others(corner: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """What costs besides the batch; values as in the first corner are told there only."""
    named = {n: v for n, v in corner["params"].items() if n in corner["costly"]}
    batch = ("per_device_train_batch_size", "gradient_accumulation_steps")
    different = corner["params"] is usual
    return format.params(
        {n: v for n, v in named.items() if n not in batch and (different or usual[n] != v)}
    )


def _notes(console: Console, plan: Mapping[str, Any]) -> None:
    lines = [plan["compiling"]] if plan["compiling"] else []
    missing = plan["corners_not_measured"]
    lines += [f"{missing} more corners were not measured"] if missing else []
    largest = plan["largest_batch"]
    lines += [f"the largest micro-batch that fits: {largest}"] if largest is not None else []
    counts = sorted({corner["parameters"] for corner in plan["corners"] if not corner["error"]})
    if counts:
        sizes = " to ".join(map(format.tokens, counts[:: max(1, len(counts) - 1)]))
        lines += [f"{sizes} parameters; batch: batch size x accumulation", ALONE]
        lines += _parallel(plan["resources"]["processes"])
    for line in lines:
        console.print(Padding(Text(line, "dim"), (0, 0, 0, 2), expand=False))


def _parallel(processes: int) -> list[str]:
    if processes == 1:
        return []
    return [
        f"measured in one process; what follows supposes that {processes} together are "
        f"{processes} times as fast, which is the most they can be"
    ]


def _schedule(schedule: Mapping[str, Any]) -> Table:
    table = _grid("", "")
    for rung in schedule["rungs"]:
        counts = _span(rung["trials"], lambda number: f"{number:.3g}")
        table.add_row(f"reach {format.share(rung['share'])}", f"{counts} trials")
    runs = _span(schedule["runs"], lambda number: f"{number:.1f}")
    table.add_row("full runs", f"{runs}, instead of {schedule['trials']}")
    table.add_row("from", f"{schedule['rehearsals']} rehearsals with made-up losses")
    return table


def _cost(plan: Mapping[str, Any]) -> Table:
    cost = plan["cost"]
    table = _grid("", "")
    table.add_row("trials' time", _span(cost["trial_s"], format.duration))
    table.add_row("wall time", f"{_span(cost['wall_s'], format.duration)}, once Ray has started")
    if cost["gpu_hours"] is not None:
        table.add_row("GPU-hours", _span(cost["gpu_hours"], lambda number: f"{number:.2f}"))
    if cost["money"] is not None:
        table.add_row("money", _span(cost["money"], lambda number: f"{number:.2f}"))
    table.add_row("disk", f"{_span(cost['disk_bytes'], size)} for checkpoints at the fullest")
    return table


def _span(span: Mapping[str, float], text: Any) -> str:
    """A mean with its range, or one figure where there is no range."""
    low, mean, high = (text(span[key]) for key in ("low", "mean", "high"))
    return low if low == high else f"{mean} ({low} to {high})"


def size(count: float) -> str:
    """Bytes in three digits: 123456789 -> "123 MB"."""
    for unit, bytes_ in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_:
            return f"{count / bytes_:.3g} {unit}"
    return f"{count:.0f} B"
