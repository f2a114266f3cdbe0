"""The W&B sweeps of a study's runs, stored in `wandb/sweeps.json` of the study."""

from __future__ import annotations

import json
from pathlib import Path

from tune_app.storage.atomic import write_atomically

FILE_NAME = "sweeps.json"


class Sweeps:
    """The sweep of the target, which is a project of a server."""

    def __init__(self, folder: Path, target: str) -> None:
        self._path = folder / FILE_NAME
        self._target = target

    def load(self) -> str | None:
        """The id of the target's sweep, None if none is stored."""
        sweep = self._all().get(self._target)
        return None if sweep is None else str(sweep)

    def keep(self, sweep: str) -> None:
        """Stores the id of the target's sweep."""
        write_atomically(self._path, json.dumps(self._all() | {self._target: sweep}, indent=2))

    def _all(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        sweeps: dict[str, str] = json.loads(self._path.read_text(encoding="utf-8"))
        return sweeps
