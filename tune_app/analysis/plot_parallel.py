"""Parallel coordinates: each trial is a line through its values to its objective."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tune_app.analysis import format
from tune_app.analysis import plot_style as style
from tune_app.analysis.plot_parameters import SHOWN, jitter
from tune_app.analysis.scales import Categorical, Numeric, Scale, most_varied, scales
from tune_app.analysis.summary import ranked
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, TrialState

TICKS = 12
"""Labelled values of a categorical axis, at most."""


def figure(state: StudyState) -> Figure:
    """One axis for each of at most `SHOWN` parameters, and one for the objective at full budget."""
    every = scales(state)
    names = most_varied(state, SHOWN)
    order = ranked(state)
    objective = _objective_scale(state, order)
    axes_scales: list[Scale] = [*(every[name] for name in names), objective]
    drawing = style.new_figure(min(max(7.0, 1.45 * len(axes_scales) + 1.2), 16.0), 4.8)
    axes = drawing.subplots()
    _bare(axes, len(axes_scales))
    for at, scale in enumerate(axes_scales):
        last = scale is objective
        _axis(axes, at, last, [] if last and not order else _ticks(scale))
    _titles(axes, [*names, state.metric])
    colours = style.ramp("viridis_r", 0.18, 1.0)
    _lines(axes, state, names, axes_scales, order, colours)
    _colour_bar(drawing, axes, len(order), colours)
    _texts(drawing, state, order, len(names), len(every))
    return drawing


def _objective_scale(state: StudyState, order: list[TrialState]) -> Numeric:
    low, high = style.limits([trial.rung_values[state.full_rung] for trial in order])
    return Numeric(low, high, log=False, whole=False)


def _bare(axes: Axes, number: int) -> None:
    axes.set_xlim(-0.25, number - 1 + 0.3)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _axis(axes: Axes, at: int, objective: bool, ticks: list[tuple[float, str]]) -> None:
    colour = style.INK if objective else style.FAINT
    axes.plot([at, at], [0, 1], color=colour, lw=1.4 if objective else 1.0, zorder=1)
    for height, label in ticks:
        axes.plot([at - 0.025, at], [height, height], color=colour, lw=0.8, zorder=1)
        axes.text(
            at - 0.04,
            height,
            label,
            ha="right",
            va="center",
            fontsize=7,
            color=style.INK,
            zorder=3000,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
        )


def _ticks(scale: Scale) -> list[tuple[float, str]]:
    match scale:
        case Categorical(values):
            every = math.ceil(len(values) / TICKS)
            places = [(scale.unit(value), value) for value in values[::every]]
            return [
                (at, style.name(format.value(value), 12)) for at, value in places if at is not None
            ]
        case Numeric():
            numbers = [(scale.unit(number), number) for number in _numbers(scale)]
            return [(at, format.value(number)) for at, number in numbers if at is not None]


def _numbers(scale: Numeric) -> list[float]:
    """Round numbers between the ends of an axis."""
    if scale.log:
        low, high = math.log10(scale.low), math.log10(scale.high)
        steps = (1, 2, 5) if high - low < 2 else (1,)
        powers = range(math.floor(low), math.ceil(high) + 1)
        numbers = [step * 10.0**power for power in powers for step in steps]
    else:
        numbers = list(MaxNLocator(5, integer=scale.whole).tick_values(scale.low, scale.high))
    slack = 1e-9 * (scale.high - scale.low)
    return [n for n in numbers if scale.low - slack <= n <= scale.high + slack]


def _titles(axes: Axes, names: list[str]) -> None:
    tilted = max(map(len, names)) > 18
    for at, name in enumerate(names):
        axes.text(
            at,
            1.06,
            style.name(name, 24),
            ha="left" if tilted else "center",
            va="bottom",
            rotation=20 if tilted else 0,
            fontsize=8.5,
            color=style.INK,
            fontweight="bold" if at == len(names) - 1 else "normal",
        )
    axes.set_xticks([])


def _lines(
    axes: Axes,
    state: StudyState,
    names: list[str],
    axes_scales: list[Scale],
    order: list[TrialState],
    colours: Colormap,
) -> None:
    ranks = {trial.id: rank for rank, trial in enumerate(order)}
    for trial in state.trials.values():
        heights = [
            _height(scale, trial.params[name], trial.number) if name in trial.params else None
            for name, scale in zip(names, axes_scales, strict=False)
        ]
        path = [math.nan if height is None else height for height in heights]
        if trial.id not in ranks:
            axes.plot(path, color=style.PALE, lw=0.7, alpha=0.7, zorder=2)
            continue
        path.append(axes_scales[-1].unit(trial.rung_values[state.full_rung]) or 0.0)
        path[-1] = min(max(path[-1], 0.0), 1.0)
        rank = ranks[trial.id]
        colour = colours(1 - rank / max(len(order) - 1, 1))
        dashes = (0, (4, 1.6)) if trial.kind is Kind.BASELINE else "-"
        axes.plot(
            path,
            color=colour,
            lw=2.8 if rank == 0 else 1.6,
            ls=dashes,
            zorder=2000 - rank,
            marker="o",
            ms=3.2,
            solid_joinstyle="round",
        )


def _height(scale: Scale, value: object, number: int) -> float | None:
    at = scale.unit(value)
    if at is None or isinstance(scale, Numeric):
        return at
    return at + jitter(number) / len(scale.values)


def _colour_bar(drawing: Figure, axes: Axes, completed: int, colours: Colormap) -> None:
    if completed < 2:
        return
    bar = drawing.colorbar(
        ScalarMappable(Normalize(0, 1), colours), ax=axes, shrink=0.6, aspect=22, pad=0.02
    )
    bar.set_ticks([0, 1], labels=[f"{completed}: worst", "1: best"])
    bar.set_label("rank at the full budget", fontsize=8, labelpad=-14)
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.outline.set_visible(False)


def _texts(
    drawing: Figure, state: StudyState, order: list[TrialState], shown: int, every: int
) -> None:
    number, every_trial = len(order), len(state.trials)
    trials = f"{every_trial} trial{'' if every_trial == 1 else 's'}"
    ended = f"and where the {number} completed ended" if number else "none completed"
    style.title(drawing, f"Values of {trials}, {ended}")
    notes = [
        f"{'Lower' if state.sign == 1 else 'Higher'} {format.shorten(state.metric, 40)} is better."
    ]
    if number < every_trial:
        notes.append(
            "Thin pale lines: trials without a value at the full budget, to the last axis but one."
        )
    if state.baseline() in order:
        notes.append("Dashed: the untuned defaults.")
    if shown < every:
        notes.append(f"Drawn: the {shown} parameters of {every} with the most distinct values.")
    style.caption(drawing, " ".join(notes), round(drawing.get_figwidth() * 17))
