"""A service that takes runs as files in a folder: the least that a mirror can write to.

    python -m tests.support.files_mirror FOLDER        mirrors the study in a folder

`FILES_PLACE` names the folder. While it holds a file `away` the service takes nothing.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_app.core.state import StudyState
from tune_app.core.trial import TrialState
from tune_app.storage.atomic import write_atomically
from tune_app.trackers._remote_mirror import main
from tune_app.trackers._remote_pass import reason_of
from tune_app.trackers._remote_process import Remote

PLACE = "FILES_PLACE"
FILES = Remote(
    service="Files", module="tests.support.files_mirror", folder="files", verb="mirror-files"
)


@dataclass(frozen=True)
class FileRecord:
    """One trial as a file."""

    id: str
    rows: tuple[tuple[int, float], ...]
    outcome: str

    def digest(self) -> str:
        return f"{len(self.rows)} {self.outcome}"


class FileClient:
    """Writes to the folder; counts what is asked of it in `calls`, one line each."""

    is_off = False

    def __init__(self, place: Path, is_live: bool) -> None:
        self.place = str(place)
        self.is_live = is_live
        self._folder = place

    def begin(self, state: StudyState, record: FileRecord) -> None:
        self.called("begin", state.name)

    def open(self, record: FileRecord) -> FileRun:
        self.called("open", record.id)
        return FileRun(self, self._folder / f"{record.id}.json")

    def has(self, record: FileRecord) -> bool:
        return (self._folder / f"{record.id}.json").exists()

    def close(self) -> None:
        """Holds nothing."""

    def called(self, *words: str) -> None:
        if (self._folder / "away").exists():
            raise ConnectionError("the folder is away")
        with open(self._folder / "calls", "a") as file:
            print(*words, file=file)


class FileRun:
    """Appends the rows that the file lacks."""

    def __init__(self, client: FileClient, path: Path) -> None:
        self._client = client
        self._path = path

    def send(self, record: FileRecord) -> None:
        self._client.called("send", record.id)
        self._write(record, is_finished=False)

    def finish(self, record: FileRecord) -> None:
        self._client.called("finish", record.id)
        self._write(record, is_finished=True)

    def _write(self, record: FileRecord, is_finished: bool) -> None:
        there: dict[str, Any] = {"rows": []}
        if self._path.exists():
            there = json.loads(self._path.read_text())
        rows = [*there["rows"], *record.rows[len(there["rows"]) :]]
        run = {"rows": rows, "outcome": record.outcome, "finished": is_finished}
        write_atomically(self._path, json.dumps(run))


class FileService:
    """Describes trials as files."""

    remote = FILES

    def __init__(self, place: Path, is_live: bool = True) -> None:
        self._place = place
        self._is_live = is_live

    def describe(self, state: StudyState, trial: TrialState) -> FileRecord:
        rows = tuple(
            (report.tokens, report.metrics[state.reported_metric]) for report in trial.reports
        )
        return FileRecord(trial.id, rows, str(trial.outcome or ""))

    def client(self, folder: Path, record: FileRecord) -> FileClient:
        return FileClient(self._place, self._is_live)

    def reason(self, error: Exception) -> str:
        return reason_of(error)


if __name__ == "__main__":
    sys.exit(main(FileService(Path(os.environ[PLACE])), Path(sys.argv[1])))
