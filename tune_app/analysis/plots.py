"""The plots of a study as PNG files. Matplotlib is imported only for drawing."""

from __future__ import annotations

from pathlib import Path

from tune_app.analysis.scales import scales
from tune_app.core.state import StudyState


def draw(state: StudyState, folder: Path) -> list[Path]:
    """Writes the plots into `folder` and returns their paths.

    A study without searched parameters has learning curves only.
    """
    from tune_app.analysis import plot_curves, plot_parallel, plot_parameters, plot_style

    figures = {"learning_curves.png": plot_curves.figure}
    if scales(state):
        figures["loss_against_parameters.png"] = plot_parameters.figure
        figures["parallel_coordinates.png"] = plot_parallel.figure
    folder.mkdir(parents=True, exist_ok=True)
    return [plot_style.save(figure(state), folder / name) for name, figure in figures.items()]
