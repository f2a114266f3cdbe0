"""Trials without a value for some parameter go through everything that shows or mirrors them."""

from __future__ import annotations

import io
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console, ConsoleDimensions

from tests.support import synthetic
from tune_app.analysis import report
from tune_app.analysis.importance_words import in_full
from tune_app.console import closing, screens, table
from tune_app.core import journal
from tune_app.core.state import StudyState, rebuild
from tune_app.storage.study import FolderStudy
from tune_app.trackers import _wandb_run
from tune_app.trackers import optuna as optuna_tracker

RULES = {"constraints": ["batch_size <= 16"], "when": {"warmup_steps": "optim == 'adafactor'"}}


@pytest.fixture
def events(tmp_path: Path) -> list[journal.Event]:
    synthetic.write(tmp_path)
    found = journal.read(tmp_path / journal.FILE_NAME)[0]
    for event in found:
        if event["event"] == "study_started":
            event["study"] |= RULES
        if event["event"] == "trial_created" and event["params"].get("optim") != "adafactor":
            event["params"].pop("warmup_steps")
    return found


@pytest.fixture
def state(events: list[journal.Event]) -> StudyState:
    state = rebuild(events)
    having = [trial for trial in state.trials.values() if "warmup_steps" in trial.params]
    assert 0 < len(having) < len(state.trials)
    return state


def test_the_report_leaves_a_gap_and_names_the_rules(state: StudyState, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    report.write(state, folder, tmp_path)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "warmup_steps if optim == 'adafactor'" in text
    assert "batch_size &lt;= 16" in text
    assert len(list(folder.glob("*.png"))) >= 3


def test_the_terminal_shows_a_gap(state: StudyState, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=150)
    console.print(table.render(state, 0.0, ConsoleDimensions(150, 50)))
    closing.write(console, in_full(state), FolderStudy(tmp_path), tmp_path)
    assert isinstance(console.file, io.StringIO)
    assert "0003" in console.file.getvalue()


def test_notes_of_the_study_file_are_findings_and_are_shown(tmp_path: Path) -> None:
    study = synthetic.document()
    started = {"event": "study_started", "time": 0.0, "study": study, "notes": ["mind the gap"]}
    state = rebuild([started])
    assert state.findings == ["mind the gap"]
    assert "note: mind the gap" in screens.opening_lines(state, tmp_path)


def test_the_space_is_shown_with_its_rules(state: StudyState) -> None:
    lines = screens.space_lines(state)
    assert any(line.endswith("0 to 100 if optim == 'adafactor'") for line in lines)
    assert lines[-1] == "  only with batch_size <= 16"


def test_mirrors_hold_what_a_trial_has(
    events: list[journal.Event], state: StudyState, tmp_path: Path
) -> None:
    (tmp_path / "mirror").mkdir()
    tracker, growing = optuna_tracker.create(tmp_path / "mirror"), StudyState()
    for event in events:
        growing.apply(event)
        tracker.on_event(event, growing)
    tracker.close(5)
    path = next((tmp_path / "mirror").glob("*.journal"))
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name=None, storage=storage)
    mirrored = {trial.user_attrs["trial"]: trial for trial in study.trials}
    for trial in state.trials.values():
        has = "warmup_steps" in trial.params
        assert ("warmup_steps" in mirrored[trial.id].params) == has
        assert ("warmup_steps" in _wandb_run.describe(state, trial).config) == has
