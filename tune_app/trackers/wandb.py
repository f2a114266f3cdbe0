"""Mirrors the trials as W&B runs, from a process of its own.

The driver only starts that process and later closes its standard input; all else, the reading of
the journal included, happens over there (see `_wandb_mirror`). W&B can therefore be slow, broken or
absent without a trial noticing. With a key (`WANDB_API_KEY` or netrc) runs are seen while they run.
Without one they are written offline into the study's `wandb` folder, each when its trial has ended,
and go to a server with `wandb sync FOLDER/wandb/offline-run-*` or `python -m tune_app mirror`.
`WANDB_MODE` is respected.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import tune_app
from tune_app.core.journal import Event
from tune_app.core.state import StudyState

_log = logging.getLogger(__name__)

_ONE_RUN_ONLY = {"WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID", "WANDB_SERVICE"}
"""Variables that would tie all trials to a run, sweep or process that the driver is part of."""


SAYS = "tune_app: "
"""Begins each line of the mirror's log that is meant for the terminal."""


class WandbTracker:
    """Holds the mirror process of one study. Never raises: a study does not need W&B.

    What the mirror has to say is a warning here, as soon as something happens after it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._log_path = self._folder / "logs" / "wandb_mirror.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = os.environ.get("WANDB_MODE") != "disabled"
        self._heard = 0
        """Bytes of the log that were looked at."""
        self._said = False

    def on_event(self, event: Event, state: StudyState) -> None:
        """Starts the mirror at the first event; it reads the journal by itself from then on."""
        if self._wanted:
            self._wanted = False
            self._start()
        if self._process is not None:
            self._hear()

    def close(self, timeout_s: float) -> None:
        """Lets the mirror finish; one that needs longer goes on by itself and then ends."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        self._hear()
        if self._said:
            return
        if code is None:
            _log.warning("W&B runs are still being written, which goes on: %s", self._log_path)
        elif code != 0:
            again = f"python -m tune_app mirror {self._folder.name}"
            _log.warning("not all runs are in W&B (%s); complete them: %s", self._log_path, again)

    def _hear(self) -> None:
        """Passes on what the mirror has said since the last time."""
        with suppress(OSError), open(self._log_path, "rb") as log:
            log.seek(self._heard)
            new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._heard += len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                if line.startswith(SAYS):
                    self._said = True
                    _log.warning("%s", line.removeprefix(SAYS))

    def _start(self) -> None:
        environment = {key: item for key, item in os.environ.items() if key not in _ONE_RUN_ONLY}
        try:
            self._log_path.parent.mkdir(exist_ok=True)
            with open(self._log_path, "ab") as log:
                self._heard = log.tell()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tune_app.trackers._wandb_mirror", str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=Path(tune_app.__file__).parents[1],
                    # Ctrl-C in the terminal ends the study in order; the mirror ends after it.
                    start_new_session=True,
                )
        except OSError as error:
            _log.warning("no trials are mirrored to W&B: %s", error)


def create(folder: Path) -> WandbTracker:
    """The tracker of the study in `folder`."""
    return WandbTracker(folder)
