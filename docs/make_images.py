"""Draws the README's pictures from a real study: python docs/make_images.py studies/NAME

The terminal as it looked when the study was at its most interesting, replayed from the journal,
and the study's learning curves.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from rich.console import Console, Group
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tune_app.console import screens, table
from tune_app.core import journal
from tune_app.core.state import StudyState
from tune_app.core.trial import Status

WIDTH, HEIGHT = 132, 40
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="a study's folder")
    study = parser.parse_args().study
    IMAGES.mkdir(exist_ok=True)
    terminal(study)
    shutil.copy(study / "report" / "learning_curves.png", IMAGES / "learning_curves.png")


def terminal(study: Path) -> None:
    """Writes terminal.svg: the opening lines and the live table before the last promotion ends."""
    events, _ = journal.read(study / journal.FILE_NAME)
    state = StudyState()
    lines: list[str] = []
    moment = max(i for i, e in enumerate(events) if e["event"] == "trial_created") + 12
    for event in events[:moment]:
        state.apply(event)
        if event["event"] in ("choice_dropped", "finding", "study_prepared"):
            lines.append(screens.line_of(event, state) or "")
    assert state.with_status(Status.RUNNING)
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO())
    console.print(Text("$ python -m tune_app.run", "bold"))
    console.print(Group(*map(Text, lines), Text()))
    console.print(table.render(state, events[moment - 1]["time"], console.size))
    console.save_svg(str(IMAGES / "terminal.svg"), title="tune_app", theme=MONOKAI)


if __name__ == "__main__":
    main()
