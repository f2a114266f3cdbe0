"""The common style of the plots: colours for all kinds of colour vision, plain captions.

Figures use Matplotlib's objects and Agg alone, so that plots can be drawn in any
thread and without a display.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from tune_app.analysis import format
from tune_app.storage.atomic import replacing

DPI = 150

# Okabe & Ito (2008), "Color Universal Design".
BEST = "#0072B2"
BASELINE = "#D55E00"
BROKEN = "#CC79A7"
COMPLETED = "#5E6B78"
PALE = "#B4BEC8"
INK = "#22272E"
FAINT = "#8A939D"
GRID = "#E9ECEF"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, `width` x `height` inches, whose layout leaves room for all text."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def title(figure: Figure, text: str) -> None:
    """Adds a title at the upper left."""
    figure.suptitle(plain(text), x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK)


def caption(figure: Figure, text: str, width: int) -> None:
    """Adds a caption below the plot, with at most `width` characters in a line."""
    figure.supxlabel(
        plain("\n".join(textwrap.wrap(text, width))), x=0.01, ha="left", fontsize=7.5, color=FAINT
    )


def tidy(axes: Axes) -> None:
    """Removes decoration from the axes."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.grid(True, axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=FAINT, labelcolor=INK, length=3)
    axes.minorticks_off()


def plain(text: str) -> str:
    """`text` with `$` escaped, so that Matplotlib does not read a formula."""
    return text.replace("$", r"\$")


def name(text: str, limit: int = 26) -> str:
    """A label of bounded length that is never read as a formula."""
    return plain(format.shorten(text.replace("\n", " "), limit))


def ramp(colormap: str, low: float, high: float) -> Colormap:
    """A part of a perceptually ordered colour map of Matplotlib."""
    colours = matplotlib.colormaps[colormap](np.linspace(low, high, 256))
    return LinearSegmentedColormap.from_list(f"{colormap}-part", [tuple(c) for c in colours])


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Bounds for an axis of these values, without far outliers.

    Values more than five interquartile ranges beyond the quartiles are outside of the bounds.
    """
    finite = np.array([value for value in values if math.isfinite(value)], dtype=float)
    if finite.size == 0:
        return 0.0, 1.0
    first, third = np.quantile(finite, [0.25, 0.75])
    reach = 5 * (third - first)
    near = finite[(finite >= first - reach) & (finite <= third + reach)] if reach > 0 else finite
    low, high = float(near.min()), float(near.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG atomically; the same figure gives the same bytes."""
    with replacing(path) as new:
        figure.savefig(new, format="png", dpi=DPI, metadata={"Software": None})
    return path
