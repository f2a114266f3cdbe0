"""Plots replays: the incumbent over the spent budget, one panel for each table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from tune_app.analysis import plot_style as style
from tune_app.history.figures import incumbent, random_runs
from tune_app.history.table import Table
from tune_app.history.trajectory import Incumbents

POINTS = 200
COLUMNS = 3
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5E6B78")
SHOWN = 0.5
"""The axis ends at this quantile of the runs' best values."""
FAR = 1.5
"""A target further from the middle of the axis than this, in lengths of the axis, is not shown."""


def figure(
    tables: Sequence[Table], runs: Sequence[Incumbents], targets: Sequence[float], full_runs: float
) -> Figure:
    """Medians over seeds, with the interquartile range as a band."""
    columns = min(len(tables), COLUMNS)
    rows = math.ceil(len(tables) / columns)
    drawing = style.new_figure(4.2 * columns + 0.6, 3.2 * rows + 0.8)
    panels = list(drawing.subplots(rows, columns, squeeze=False).flat)
    for axes, table, searches, target in zip(panels, tables, runs, targets, strict=False):
        _panel(axes, table, searches, target, full_runs)
    for axes in panels[len(tables) :]:
        axes.set_axis_off()
    style.title(drawing, "The best value so far, by what was spent")
    seeds = len(next(iter(runs[0].values())))
    text = (
        f"Median of {seeds} seeds, band: interquartile range. Dashed: the median best of "
        f"{random_runs(full_runs)} runs at random, or the target asked for. "
        "Dotted: the table's best."
    )
    style.caption(drawing, text, 60 * columns)
    return drawing


def _panel(axes: Axes, table: Table, searches: Incumbents, target: float, full_runs: float) -> None:
    style.tidy(axes)
    at = np.geomspace(max(float(table.shares[0]), full_runs / 1000), full_runs, POINTS)
    for (name, seeds), colour in zip(searches.items(), COLOURS * len(searches), strict=False):
        values = np.array([[incumbent(steps, spent) for spent in at] for steps in seeds])
        is_finite = np.isfinite(values).all(axis=0)
        low, middle, high = np.quantile(values[:, is_finite], [0.25, 0.5, 0.75], axis=0)
        axes.plot(at[is_finite], middle, color=colour, linewidth=1.6, label=name)
        axes.fill_between(at[is_finite], low, high, color=colour, alpha=0.15, linewidth=0)
    # Diverging runs can have huge losses: the axis leaves out the worse half of the runs.
    reached = table.best_seen[np.isfinite(table.best_seen)]
    best, bad = table.sign * reached.min(), table.sign * np.quantile(reached, SHOWN)
    axes.axhline(best, color=style.INK, linewidth=0.8, linestyle=":")
    if math.isfinite(target):
        axes.axhline(target, color=style.INK, linewidth=0.8, linestyle="--")
    axes.set_ylim(*_ends(best, bad, target))
    axes.set_xlim(at[0] / 1.1, at[-1] * 1.1)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(_ticks(at[0], at[-1]))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set_title(style.plain(table.name), fontsize=8, loc="left", color=style.INK)
    axes.set_xlabel("full runs", fontsize=8, color=style.FAINT)
    axes.set_ylabel(style.plain(table.metric), fontsize=8, color=style.FAINT)
    axes.legend(frameon=False, fontsize=7)


def _ends(best: float, bad: float, target: float) -> tuple[float, float]:
    """The limits of the value axis; they leave out a target that is far away."""
    low, high = min(best, bad), max(best, bad)
    if abs(target - (low + high) / 2) <= FAR * (high - low):
        low, high = min(low, target), max(high, target)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Ticks at 1, 2, 5, 10, …; evenly spaced ones if the axis is too short for two of these."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    series = [float(f"{first}e{decade}") for decade in decades for first in (1, 2, 5)]
    ticks = [tick for tick in series if low <= tick <= high]
    if len(ticks) > 1:
        return ticks
    even = MaxNLocator(4).tick_values(low, high)
    return [float(tick) for tick in even if low <= tick <= high]
