"""Learning curves: the objective of every trial over its spent budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from tune_app.analysis import format
from tune_app.analysis import plot_style as style
from tune_app.analysis.summary import evaluations, improvement, ranked
from tune_app.budget import Unit
from tune_app.core.state import StudyState
from tune_app.core.trial import Kind, Outcome, TrialState


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial's finite values; `spent` is in tokens or in shares of the budget."""

    trial: TrialState
    spent: list[float]
    values: list[float]


def figure(state: StudyState) -> Figure:
    """One line for each trial; the best one and the untuned defaults are highlighted."""
    drawing = style.new_figure(8, 4.8)
    axes = drawing.subplots()
    curves = [curve for trial in state.trials.values() if (curve := _curve(state, trial)).values]
    best = next(iter(ranked(state)), None)
    style.tidy(axes)
    _frame(axes, state, _framing(curves))
    for curve in sorted(curves, key=lambda curve: _prominence(curve.trial, best)):
        _draw(axes, curve, best)
    _end_labels(axes, state, curves, best)
    _legend(axes, state, curves, best)
    _texts(drawing, state, curves, best)
    return drawing


def in_tokens(state: StudyState) -> bool:
    """Whether the x axis is in tokens; otherwise it is the share of the budget."""
    return state.definition.budget.unit is Unit.TOKENS


def _curve(state: StudyState, trial: TrialState) -> Curve:
    points = [point for point in evaluations(state, trial) if math.isfinite(point[2])]
    spent = [float(tokens) if in_tokens(state) else share for share, tokens, _ in points]
    return Curve(trial, spent, [value for _, _, value in points])


def _prominence(trial: TrialState, best: TrialState | None) -> int:
    if trial is best:
        return 3
    if trial.kind is Kind.BASELINE:
        return 2
    return int(trial.outcome is Outcome.COMPLETED)


def _framing(curves: list[Curve]) -> list[float]:
    """The values that determine the y axis: without those of diverged trials."""
    sound = [curve for curve in curves if curve.trial.outcome is not Outcome.DIVERGED]
    return [value for curve in sound or curves for value in curve.values]


def _frame(axes: Axes, state: StudyState, values: list[float]) -> None:
    low, high = style.limits(values)
    if low > 0 and high / low > 30:
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    full = state.definition.budget.amount if in_tokens(state) else 1.0
    axes.set_xlim(0, full * 1.002)
    axes.set_xlabel("training tokens" if in_tokens(state) else "share of the budget", fontsize=9)
    axes.set_ylabel(style.name(state.reported_metric, 40), fontsize=9)
    shown = format.tokens if in_tokens(state) else format.share
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: shown(at)))
    for rung in state.definition.rungs[:-1]:
        axes.axvline(rung * full, color=style.PALE, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        axes.text(
            rung * full,
            1.01,
            f"rung at {format.share(rung)}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7,
            color=style.FAINT,
        )


def _draw(axes: Axes, curve: Curve, best: TrialState | None) -> None:
    colour, width, dashes = _look(curve.trial, best)
    layer = 2 + _prominence(curve.trial, best)
    axes.plot(curve.spent, curve.values, color=colour, lw=width, ls=dashes, zorder=layer)
    low, high = axes.get_ylim()
    end = (curve.spent[-1], min(max(curve.values[-1], low), high))
    marker = _end_marker(curve) or ("o" if end[1] != curve.values[-1] else None)
    if marker is not None:
        size, edge = (6, colour) if marker in "xX" else (4.5, "white")
        axes.plot(
            *end,
            marker,
            color=colour,
            ms=size,
            mec=edge,
            mew=1.6 if marker == "x" else 0.7,
            zorder=layer + 4,
            clip_on=False,
        )


def _look(
    trial: TrialState, best: TrialState | None
) -> tuple[str, float, str | tuple[int, tuple[float, float]]]:
    if trial is best:
        return style.BEST, 2.6, "-" if trial.kind is Kind.SEARCH else (0, (4, 1.6))
    if trial.kind is Kind.BASELINE:
        return style.BASELINE, 2.0, (0, (4, 1.6))
    if trial.outcome is Outcome.COMPLETED:
        return style.COMPLETED, 1.3, "-"
    if _broke(trial):
        return style.BROKEN, 1.1, "-"
    return style.PALE, 1.1, "-"


def _broke(trial: TrialState) -> bool:
    return trial.outcome not in (None, Outcome.COMPLETED, Outcome.STOPPED)


def _end_marker(curve: Curve) -> str | None:
    if _broke(curve.trial):
        return "x"
    if curve.trial.outcome is Outcome.COMPLETED:
        return None if len(curve.values) > 1 else "o"
    return "o" if curve.trial.outcome is Outcome.STOPPED else ">"


def _end_labels(
    axes: Axes, state: StudyState, curves: list[Curve], best: TrialState | None
) -> None:
    """Labels the best trial and the baseline at their ends; moves overlapping labels apart."""
    named = [curve for curve in curves if _prominence(curve.trial, best) >= 2]
    low, high = axes.get_ylim()
    to_share = axes.transData.transform
    heights = [
        float(
            axes.transAxes.inverted().transform(
                to_share((curve.spent[-1], min(max(curve.values[-1], low), high)))
            )[1]
        )
        for curve in named
    ]
    if len(heights) == 2 and abs(heights[0] - heights[1]) < 0.12:
        middle, up = sum(heights) / 2, heights[0] >= heights[1]
        heights = [middle + (0.06 if up else -0.06), middle - (0.06 if up else -0.06)]
    for curve, height in zip(named, heights, strict=True):
        axes.text(
            1.015,
            height,
            style.plain(_end_text(curve, best)),
            transform=axes.transAxes,
            va="center",
            fontsize=8,
            fontweight="bold",
            color=_look(curve.trial, best)[0],
            linespacing=1.25,
        )


def _end_text(curve: Curve, best: TrialState | None) -> str:
    baseline = curve.trial.kind is Kind.BASELINE
    who = "untuned defaults" if baseline else f"trial {curve.trial.id}"
    label = f"best: {who}" if curve.trial is best else who
    done = curve.trial.outcome is Outcome.COMPLETED
    at = "" if done else f" at {format.share(curve.trial.fraction)}"
    return f"{label}\n{format.loss(curve.values[-1])}{at}"


def _legend(axes: Axes, state: StudyState, curves: list[Curve], best: TrialState | None) -> None:
    others = [c.trial for c in curves if _prominence(c.trial, best) < 2]
    entries = {
        "completed": (style.COMPLETED, None, any(t.outcome is Outcome.COMPLETED for t in others)),
        "stopped early": (style.PALE, "o", any(t.outcome is Outcome.STOPPED for t in others)),
        "not ended": (style.PALE, ">", any(t.outcome is None for t in others)),
        _broken_kinds(others): (style.BROKEN, "x", any(map(_broke, others))),
    }
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=5, lw=1.4, mew=1.4, label=label)
        for label, (colour, marker, present) in entries.items()
        if present
    ]
    corner: Literal["upper right", "lower right"] = (
        "upper right" if state.sign == 1 else "lower right"
    )
    if handles:
        axes.legend(handles=handles, loc=corner, fontsize=8, frameon=False, labelcolor=style.INK)


def _seen(state: StudyState, best: TrialState | None) -> str:
    """The main result, for the title."""
    if best is None:
        return "none completed"
    if best.kind is Kind.BASELINE:
        return "none completed better than the untuned defaults"
    relative = improvement(state)["relative"]
    if relative is None:
        return f"trial {best.id} is the best"
    side = "lower" if state.sign == 1 else "higher"
    return f"the best ends {format.share(relative)} {side} than the untuned defaults"


def _broken_kinds(trials: list[TrialState]) -> str:
    kinds = {str(trial.outcome).replace("_", " ") for trial in trials if _broke(trial)}
    return ", ".join(sorted(kinds))


def _texts(
    drawing: Figure, state: StudyState, curves: list[Curve], best: TrialState | None
) -> None:
    metric = format.shorten(state.reported_metric, 30)
    number = len(state.trials)
    trials = f"{number} trial{'' if number == 1 else 's'}"
    style.title(drawing, f"{metric} of {trials}: {_seen(state, best)}")
    notes = [f"{'Lower' if state.sign == 1 else 'Higher'} is better."]
    hidden = len(state.trials) - len(curves)
    if hidden:
        notes.append(f"Not drawn: {hidden} without a finite evaluation.")
    low, high = drawing.axes[0].get_ylim()
    if any(not low <= value <= high for curve in curves for value in curve.values):
        notes.append(
            "Values far from the others are outside of the plot; such ends are marked at its edge."
        )
    style.caption(drawing, " ".join(notes), 130)
