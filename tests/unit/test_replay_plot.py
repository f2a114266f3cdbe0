"""The plot of replays: panels, and that their axes can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.support import tables
from tests.support.tables import curves
from tune_app.core.definition import PlugIn
from tune_app.history import plot
from tune_app.history.replay import Setting, replay
from tune_app.history.table import load


def drawn(tmp_path: Path, count: int = 1, target: float = 1.5, full_runs: float = 3.0) -> Figure:
    """The plot of so many times the same table."""
    (table,) = load(tables.csv(tmp_path / "task.csv", curves()))
    setting = Setting(PlugIn("random"), PlugIn("fifo"), full_runs)
    runs = {"random + fifo": [replay(table, setting, seed).steps for seed in range(2)]}
    found = plot.figure([table] * count, [runs] * count, [target] * count, full_runs)
    found.canvas.draw()
    return found


@pytest.mark.parametrize("count", [1, 4, 5, 7])
def test_there_is_a_panel_for_each_table_and_no_other(count: int, tmp_path: Path) -> None:
    assert sum(axes.axison for axes in drawn(tmp_path, count).axes) == count


@pytest.mark.parametrize(
    ("full_runs", "expected"),
    [
        (3.0, ["0.5", "1", "2"]),
        (25.0, ["0.5", "1", "2", "5", "10", "20"]),
        (0.6, ["0.3", "0.4", "0.5"]),
    ],
)
def test_full_runs_are_plain_decimals(
    full_runs: float, expected: list[str], tmp_path: Path
) -> None:
    (axes,) = drawn(tmp_path, full_runs=full_runs).axes
    assert [label.get_text() for label in axes.get_xticklabels(which="both")] == expected


def test_a_far_target_does_not_flatten_the_curves(tmp_path: Path) -> None:
    (near,) = drawn(tmp_path, target=1.5).axes
    for target in (-50.0, 1e6):
        (far,) = drawn(tmp_path, target=target).axes
        assert far.get_ylim() == near.get_ylim()
    (within,) = drawn(tmp_path, target=0.9).axes
    assert within.get_ylim()[0] < 0.9
