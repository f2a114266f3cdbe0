"""The report of a study, from its journal alone; the same journal gives the same bytes."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from tune_app.analysis import importance_words
from tune_app.analysis import markdown as md
from tune_app.analysis import report_sections as sections
from tune_app.analysis.facts import Summary
from tune_app.analysis.plots import draw
from tune_app.analysis.report_setting import setting
from tune_app.analysis.summary import summarise
from tune_app.core.state import StudyState
from tune_app.storage.atomic import write_atomically

FILE_NAME = "report.md"
_STORAGE = "studies"
"""The default folder of studies of the command line."""

_ALT = {
    "learning_curves.png": "Learning curves of all trials",
    "loss_against_parameters.png": "The objective against each searched hyper-parameter",
    "parallel_coordinates.png": "Parallel coordinates of all trials",
}


def write(state: StudyState, folder: Path, study_folder: Path, storage: str = "") -> Path:
    """Writes report.md and its plots into `folder`, each file atomically.

    `study_folder` has the journal and the checkpoints; nothing is written there.
    `storage` is the value of --storage if the study is in a bucket.
    Returns the path of report.md, which is written last.
    """
    plots = draw(state, folder)
    path = folder / FILE_NAME
    write_atomically(path, _text(state, plots, folder, study_folder, storage))
    return path


def _text(
    state: StudyState, plots: list[Path], folder: Path, study_folder: Path, storage: str
) -> str:
    facts = summarise(state)
    best = sections.best_values(state, facts) + _checkpoint(facts, folder, study_folder)
    parts = [
        ("", f"# {md.text(state.name)}"),
        ("", md.text(state.definition.description)),
        ("", sections.answer(facts)),
        ("The best values", best),
        (
            "The schedule of the best trial",
            sections.schedule(state, state.trials[facts.best.trial]) if facts.best else "",
        ),
        ("What really ran", sections.effective(state, facts)),
        ("What mattered", importance_words.section(state)),
        ("All trials", sections.trials(state, facts)),
        ("Plots", "\n\n".join(f"![{_ALT[plot.name]}]({plot.name})" for plot in plots)),
        ("Generations", sections.generations(facts)),
        ("What was left out", sections.left_out(facts)),
        ("Findings", md.bullets(md.text(finding) for finding in facts.findings)),
        ("What this study cannot tell", md.bullets(sections.limits(state, facts))),
        ("How it was run", setting(state)),
        ("Next steps", _commands(state, facts, study_folder, storage)),
    ]
    written = [f"## {title}\n\n{body}" if title else body for title, body in parts if body]
    return "\n\n".join(written) + "\n"


def _checkpoint(facts: Summary, folder: Path, study_folder: Path) -> str:
    best = facts.best
    if best is None or best.checkpoint is None:
        return ""
    where = Path(os.path.relpath(study_folder / best.checkpoint, folder)).as_posix()
    return f"\n\nCheckpoint, as seen from this report: {md.code(where)}"


def _commands(state: StudyState, facts: Summary, study_folder: Path, storage: str) -> str:
    parent = study_folder.parent
    place = storage if "://" in storage else parent.as_posix()
    default = Path(place).name == _STORAGE and place != storage
    at = [study_folder.name] if default else [study_folder.name, "--storage", place]
    verbs = ["show", "report"] if facts.status == "ended" else ["resume", "show", "report"]
    lines = [f"# in the folder that holds {_STORAGE}/"] if default else []
    lines += [shlex.join(["python", "-m", "tune_app", verb, *at]) for verb in verbs]
    source = shlex.quote(state.definition.source)
    lines.append(f"python -m tune_app run {source}    # the same search again")
    return "```sh\n" + "\n".join(lines) + "\n```"
