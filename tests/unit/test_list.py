"""The list of the studies in a storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.simulated import document
from tune_app.__main__ import main
from tune_app.core.journal import FILE_NAME, Journal


def begun(storage: Path, name: str, started: float) -> None:
    folder = storage / name
    folder.mkdir()
    journal = Journal(folder, clock=lambda: started)
    journal.append("study_started", study=document(name=name), software={}, machine={})
    journal.close()


def test_studies_are_listed_oldest_first_whatever_was_written_to_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path, "b", 2e9)
    begun(tmp_path, "c", 1e9)
    (tmp_path / "aa").mkdir()
    (tmp_path / "aa" / FILE_NAME).write_text("no journal\n")
    begun(tmp_path, "a", 3e9)
    resumed = Journal(tmp_path / "c")
    resumed.append("study_resumed", software={}, machine={})
    resumed.close()
    assert main(["list", "--json", "--storage", str(tmp_path)]) == 0
    listed = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert listed == ["c", "b", "a", "aa"]
