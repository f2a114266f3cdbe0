"""What has been mirrored where: `wandb/mirrored.jsonl` and `wandb/sweeps.json` of a study."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tune_app.storage.atomic import write_atomically


class Ledger:
    """The runs that are completely written, one JSON object a line.

    A trial's line names the target (offline, or a project of a server) and a digest of what was
    written; the trial is written again when there is something else to say of it.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._path = folder / "mirrored.jsonl"
        self._sweeps = folder / "sweeps.json"
        self._target = target
        self._written: set[tuple[str, str]] = set()
        raw = self._path.read_bytes() if self._path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole != raw:  # A crash cut the last line short: that run is written again.
            os.truncate(self._path, len(whole))
        for line in whole.splitlines():
            entry = json.loads(line)
            if entry.get("target") == target:
                self._written.add((entry["trial"], entry["digest"]))

    @property
    def trials(self) -> set[str]:
        """All that have a run, if not their last one."""
        return {trial for trial, _ in self._written}

    def has(self, trial: str, digest: str) -> bool:
        return (trial, digest) in self._written

    def add(self, trial: str, run: str, digest: str) -> None:
        """Notes that a trial's run is written, durably."""
        entry = {"target": self._target, "trial": trial, "run": run, "digest": digest}
        with open(self._path, "ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._written.add((trial, digest))

    @property
    def sweep(self) -> str | None:
        """The W&B sweep that the target's runs belong to."""
        found = self._all_sweeps().get(self._target)
        return None if found is None else str(found)

    def keep_sweep(self, sweep: str) -> None:
        text = json.dumps(self._all_sweeps() | {self._target: sweep}, indent=2)
        write_atomically(self._sweeps, text)

    def _all_sweeps(self) -> dict[str, str]:
        if not self._sweeps.exists():
            return {}
        found: dict[str, str] = json.loads(self._sweeps.read_text(encoding="utf-8"))
        return found
