"""What the small W&B server was sent, in sqlite."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENTITY = "practitioner"

_SCHEMA = """
create table if not exists run (project, id, fields, complete, exitcode, primary key (project, id));
create table if not exists line (project, run, file, number, text,
    primary key (project, run, file, number));
create table if not exists file (project, run, name, content, primary key (project, run, name));
create table if not exists sweep (id primary key, project, fields);
create table if not exists view (id primary key, project, fields);
"""


class Store:
    """What the server was sent."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # What it holds is looked at while it runs and thrown away after.
        self._db.executescript("pragma synchronous = off; pragma journal_mode = wal;" + _SCHEMA)

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def run(self, project: str, id: str) -> dict[str, Any] | None:
        rows = self.ask("select fields from run where project = ? and id = ?", project, id)
        return json.loads(rows[0][0]) if rows else None

    def lines(self, project: str, run: str, file: str) -> list[str]:
        statement = "select text from line where project=? and run=? and file=? order by number"
        return [text for (text,) in self.ask(statement, project, run, file)]

    def stream(self, project: str, run: str, files: dict[str, Any]) -> None:
        for file, part in files.items():
            for number, text in enumerate(part["content"], start=part["offset"]):
                statement = "insert or replace into line values (?, ?, ?, ?, ?)"
                self.ask(statement, project, run, file, number, text)

    def upsert(self, project: str, id: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields that are given replace those that were."""
        known = self.run(project, id) or {}
        given = {key: value for key, value in fields.items() if value is not None}
        merged = {**known, **given}
        self.ask(
            "insert or replace into run values (?, ?, ?, 0, null)", project, id, json.dumps(merged)
        )
        return merged


@dataclass(frozen=True)
class Run:
    """A run as a person would find it in W&B."""

    id: str
    fields: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    files: dict[str, bytes]
    complete: bool
    exitcode: int | None
