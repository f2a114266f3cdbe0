"""The ledger of mirrored runs: `mirrored.jsonl` in the mirror's folder of a study."""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE_NAME = "mirrored.jsonl"


class Ledger:
    """The runs that are completely written, one JSON object per line.

    A trial's line names the target (a place on a disk, or a project of a server) and a digest of
    the run's content; the run is written again when its digest differs.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._path = folder / FILE_NAME
        self._target = target
        self._written: set[tuple[str, str]] = set()
        raw = self._path.read_bytes() if self._path.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole != raw:  # A crash tore the last line: that run is written again.
            os.truncate(self._path, len(whole))
        for line in whole.splitlines():
            entry = json.loads(line)
            if entry.get("target") == target:
                self._written.add((entry["trial"], entry["digest"]))

    def has(self, trial: str, digest: str) -> bool:
        """Whether a trial's run was written with this digest."""
        return (trial, digest) in self._written

    def add(self, trial: str, run: str, digest: str) -> None:
        """Records durably that a trial's run is written."""
        entry = {"target": self._target, "trial": trial, "run": run, "digest": digest}
        with open(self._path, "ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._written.add((trial, digest))
