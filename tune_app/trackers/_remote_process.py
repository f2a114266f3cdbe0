"""The driver's side of a tracker that writes to a remote service.

The driver only starts one process for the study and later closes its standard input. That process
does the rest, reading the journal included (see `_remote_mirror`), so a slow, broken or missing
service does not affect the trials.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tune_app
from tune_app.core.journal import Event
from tune_app.core.state import StudyState

_log = logging.getLogger(__name__)

FOR_A_PERSON = "tune_app: "
"""Prefix of the lines in the process's log that are shown on the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The constants of a service, for the driver and the mirror process."""

    service: str
    """Its name for the user."""
    module: str
    """`python -m MODULE FOLDER` mirrors the study in a folder."""
    folder: str
    """Folder in the study's for the ledger and the lock; the log is named after it, too."""
    verb: str
    """`python -m tune_app VERB NAME` writes the missing runs."""
    withheld: frozenset[str] = frozenset()
    """Variables of the driver's environment that the process does not get."""

    def home(self, study: Path) -> Path:
        """The mirror's folder in a study's folder."""
        return study / self.folder

    def log(self, study: Path) -> Path:
        """The mirror's log file in a study's folder."""
        return study / "logs" / f"{self.folder}_mirror.log"

    def completing(self, study: Path) -> str:
        """The command that writes the missing runs."""
        return f"python -m tune_app {self.verb} {study.name}"


class RemoteTracker:
    """Starts and closes the mirror process of one study. Never raises.

    Lines that the process writes for the user are logged as warnings at the next event.
    """

    def __init__(self, folder: Path, remote: Remote, is_enabled: bool = True) -> None:
        self._folder = folder.resolve()
        self._remote = remote
        self._log_path = remote.log(self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_enabled = is_enabled
        self._read_bytes = 0
        """Bytes of the log that were read."""
        self._has_warned = False

    def on_event(self, event: Event, state: StudyState) -> None:
        """Starts the process at the first event, and shows its lines for the user."""
        if self._is_enabled:
            self._is_enabled = False
            self._start()
        if self._process is not None:
            self._forward_log()

    def close(self, timeout_s: float) -> None:
        """Waits `timeout_s` for the process to finish; after that it continues on its own."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        self._forward_log()
        if not self._has_warned:
            self._warn_of_what_is_missing(code)

    def _warn_of_what_is_missing(self, code: int | None) -> None:
        service, log = self._remote.service, self._log_path
        if code is None:
            _log.warning("%s runs are still being written, which goes on: %s", service, log)
        elif code != 0:
            again = self._remote.completing(self._folder)
            _log.warning("not all runs are in %s (%s); complete them: %s", service, log, again)

    def _forward_log(self) -> None:
        """Logs the lines that the process has written for the user since the last call."""
        with suppress(OSError), open(self._log_path, "rb") as log:
            log.seek(self._read_bytes)
            new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_bytes += len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                if line.startswith(FOR_A_PERSON):
                    self._has_warned = True
                    _log.warning("%s", line.removeprefix(FOR_A_PERSON))

    def _start(self) -> None:
        withheld = self._remote.withheld
        environment = {key: item for key, item in os.environ.items() if key not in withheld}
        try:
            self._log_path.parent.mkdir(exist_ok=True)
            with open(self._log_path, "ab") as log:
                self._read_bytes = log.tell()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self._remote.module, str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=Path(tune_app.__file__).parents[1],
                    # Ctrl-C in the terminal must reach the driver only; the mirror ends after it.
                    start_new_session=True,
                )
        except OSError as error:
            _log.warning("no trials are mirrored to %s: %s", self._remote.service, error)
