"""Small multiples: the objective against each searched parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, MaxNLocator

from tune_app.analysis import format
from tune_app.analysis import plot_style as style
from tune_app.analysis.scales import Categorical, Numeric, Scale, most_varied, scales
from tune_app.analysis.summary import evaluations, ranked
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, TrialState

SHOWN = 12
_DEFAULTS = ("untuned defaults", style.INK)
_GOLDEN = 0.6180339887498949
"""Golden ratio: its multiples modulo 1 are evenly spread for any number of them."""


@dataclass(frozen=True, slots=True)
class Point:
    """A trial's last finite value; `share` is the share of the budget at which it was measured."""

    trial: TrialState
    share: float
    value: float

    @property
    def full(self) -> bool:
        return self.trial.outcome is Outcome.COMPLETED


def figure(state: StudyState) -> Figure:
    """One panel for each of at most `SHOWN` parameters, those with the most distinct values."""
    names, every = most_varied(state, SHOWN), scales(state)
    points = _points(state)
    columns = min(len(names), 3 if len(names) <= 9 else 4)
    lines = math.ceil(len(names) / columns)
    width = max(6.5, 2.75 * columns + 0.9)
    drawing = style.new_figure(width, 2.35 * lines + 1.2)
    grid = drawing.subplots(lines, columns, sharey=True, squeeze=False)
    panels = list(grid.flat)
    best = next(iter(ranked(state)), None)
    colours = style.ramp("Blues", 0.22, 1.0)
    for panel, name in zip(panels, names, strict=False):
        _panel(panel, name, every[name], points, best, colours)
    panels[0].set_ylim(*_limits(points))
    for row in grid:
        row[0].set_ylabel(style.name(state.reported_metric, 24), fontsize=8.5)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    _colour_bar(drawing, panels, colours)
    _legend(drawing, points, best)
    _texts(drawing, state, points, len(names), round(width * 17))
    return drawing


def _points(state: StudyState) -> list[Point]:
    points = []
    for trial in state.trials.values():
        finite = [(at, value) for at, _, value in evaluations(state, trial) if math.isfinite(value)]
        if finite:
            points.append(Point(trial, *finite[-1]))
    return sorted(points, key=lambda point: (point.share, point.trial.number))


def _limits(points: list[Point]) -> tuple[float, float]:
    sound = [point.value for point in points if point.trial.outcome is not Outcome.DIVERGED]
    return style.limits(sound or [point.value for point in points])


def _panel(
    panel: Axes,
    name: str,
    scale: Scale,
    points: list[Point],
    best: TrialState | None,
    colours: Colormap,
) -> None:
    style.tidy(panel)
    panel.set_title(style.name(name, 30), fontsize=8.5, color=style.INK, loc="left")
    match scale:
        case Numeric():
            _numeric_axis(panel, scale)
        case Categorical():
            _category_axis(panel, scale)
    low, high = _limits(points)
    for layer, point in enumerate(points, start=3):
        at = scale.coordinate(point.trial.params[name]) if name in point.trial.params else None
        if at is not None:
            if isinstance(scale, Categorical):
                at += jitter(point.trial.number)
            _mark(panel, (at, min(max(point.value, low), high)), point, best, colours, layer)


def jitter(number: int) -> float:
    """A fixed sideways shift of trial `number` within its strip, -0.2 to 0.2."""
    return 0.4 * ((number * _GOLDEN) % 1 - 0.5)


def _mark(
    panel: Axes,
    at: tuple[float, float],
    point: Point,
    best: TrialState | None,
    colours: Colormap,
    layer: int,
) -> None:
    shape, size = "o", 36.0 if point.full else 30.0
    if point.trial.outcome is Outcome.DIVERGED:
        shape, size = "X", 44.0
    if point.trial.kind is Kind.BASELINE:
        shape, size = "D", 34.0
    edge, width = (style.INK, 1.1) if point.full else ("white", 0.6)
    if point.trial is best:
        shape, size = (shape, 60.0) if shape == "D" else ("*", 150.0)
        edge, layer = style.BASELINE, layer + 1000
    panel.scatter(
        *at,
        s=size,
        marker=shape,
        color=[colours(point.share)],
        edgecolors=edge,
        linewidths=width,
        zorder=layer,
        clip_on=False,
    )


def _numeric_axis(panel: Axes, scale: Numeric) -> None:
    if scale.log:
        panel.set_xscale("log")
        margin = (scale.high / scale.low) ** 0.04
        panel.set_xlim(scale.low / margin, scale.high * margin)
        decades = math.log10(scale.high / scale.low)
        subs = (1.0,) if decades >= 2 else (1.0, 2.0, 5.0)
        panel.xaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
        panel.xaxis.set_major_formatter(LogFormatterSciNotation(labelOnlyBase=False))
        panel.minorticks_off()
        return
    margin = 0.04 * (scale.high - scale.low)
    panel.set_xlim(scale.low - margin, scale.high + margin)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=scale.whole))


def _category_axis(panel: Axes, scale: Categorical) -> None:
    number = len(scale.values)
    every = math.ceil(number / 10)
    ticks = list(range(0, number, every))
    labels = [style.name(format.value(scale.values[index]), 14) for index in ticks]
    tilted = max(map(len, labels)) * len(labels) > 30
    panel.set_xticks(
        ticks, labels, rotation=35 if tilted else 0, ha="right" if tilted else "center"
    )
    panel.set_xlim(-0.5, number - 0.5)


def _colour_bar(drawing: Figure, panels: list[Axes], colours: Colormap) -> None:
    from matplotlib.cm import ScalarMappable

    bar = drawing.colorbar(
        ScalarMappable(Normalize(0, 1), colours), ax=panels, shrink=0.8, aspect=30, pad=0.015
    )
    bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    bar.set_label("share of the budget reached", fontsize=8)
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.outline.set_visible(False)


def _legend(drawing: Figure, points: list[Point], best: TrialState | None) -> None:
    handles = [
        Line2D([], [], ls="", marker=marker, ms=size, mfc=face, mec=edge, label=label)
        for label, marker, face, edge, size in _entries(points, best)
    ]
    if handles:
        drawing.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.0, 1 - 0.25 / drawing.get_figheight()),
            ncols=5,
            fontsize=8,
            frameon=False,
            handletextpad=0.2,
            columnspacing=1.2,
            borderaxespad=0.2,
        )


def _entries(
    points: list[Point], best: TrialState | None
) -> list[tuple[str, str, str, str, float]]:
    """Label, marker, face, edge and size of each kind of mark in the plot."""
    dark, pale = "#08306B", "#B7D4EA"
    trials = [point.trial for point in points]
    entries = []
    if best is not None and best.kind is Kind.SEARCH:
        entries.append(("best", "*", dark, style.BASELINE, 11.0))
    if any(trial.kind is Kind.BASELINE for trial in trials):
        wins = best is not None and best.kind is Kind.BASELINE
        label, edge = ("untuned defaults: best", style.BASELINE) if wins else _DEFAULTS
        entries.append((label, "D", dark, edge, 6.0))
    if any(point.full for point in points):
        entries.append(("completed", "o", dark, style.INK, 6.0))
    if any(not point.full for point in points):
        entries.append(("ended earlier or still running", "o", pale, "white", 6.0))
    if any(trial.outcome is Outcome.DIVERGED for trial in trials):
        entries.append(("diverged", "X", pale, "white", 7.0))
    return entries


def _texts(drawing: Figure, state: StudyState, points: list[Point], shown: int, width: int) -> None:
    metric = format.shorten(state.reported_metric, 40)
    style.title(drawing, f"{metric} against each hyper-parameter\n")
    notes = [
        f"{'Lower' if state.sign == 1 else 'Higher'} is better.",
        "Values at different shares of the budget are not comparable: "
        "the less was spent, the paler the mark.",
    ]
    every = len(scales(state))
    if shown < every:
        notes.append(f"Drawn: the {shown} parameters of {every} with the most distinct values.")
    hidden = len(state.trials) - len(points)
    if hidden:
        notes.append(f"Not drawn: {hidden} trials without a finite evaluation.")
    low, high = _limits(points)
    if any(not low <= point.value <= high for point in points):
        notes.append("Values far from the others are drawn at the edge.")
    style.caption(drawing, " ".join(notes), width)
