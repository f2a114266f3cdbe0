"""Which W&B sweep a study's runs belong to: `wandb/sweeps.json` of a study."""

from __future__ import annotations

import json
from pathlib import Path

from tune_app.storage.atomic import write_atomically

FILE_NAME = "sweeps.json"


class Sweeps:
    """The sweep of each target, which is a project of a server."""

    def __init__(self, folder: Path, target: str) -> None:
        self._path = folder / FILE_NAME
        self._target = target

    def known(self) -> str | None:
        """The sweep that the target's runs belong to."""
        found = self._all().get(self._target)
        return None if found is None else str(found)

    def keep(self, sweep: str) -> None:
        write_atomically(self._path, json.dumps(self._all() | {self._target: sweep}, indent=2))

    def _all(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        found: dict[str, str] = json.loads(self._path.read_text(encoding="utf-8"))
        return found
