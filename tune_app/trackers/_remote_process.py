"""The driver's side of a tracker that writes to a service elsewhere.

The driver only starts a process for the whole study and later closes its standard input; all else,
the reading of the journal included, happens over there (see `_remote_mirror`). The service can
therefore be slow, broken or absent without a trial noticing.
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
"""Begins each line of the process's log that is meant for the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What both sides know of a service."""

    service: str
    """Its name for a person."""
    module: str
    """`python -m MODULE FOLDER` mirrors the study in a folder."""
    folder: str
    """Below the study's: what was written where, and the lock. Gives the log its name, too."""
    verb: str
    """`python -m tune_app VERB NAME` completes what is missing."""
    withheld: frozenset[str] = frozenset()
    """Variables of the driver's environment that the process does not get."""

    def home(self, study: Path) -> Path:
        return study / self.folder

    def log(self, study: Path) -> Path:
        return study / "logs" / f"{self.folder}_mirror.log"

    def completing(self, study: Path) -> str:
        """The command that writes what is missing."""
        return f"python -m tune_app {self.verb} {study.name}"


class RemoteTracker:
    """Holds the mirror process of one study. Never raises: a study does not need the service.

    What the process writes for a person is a warning here, at the next event after it.
    """

    def __init__(self, folder: Path, remote: Remote, is_wanted: bool = True) -> None:
        self._folder = folder.resolve()
        self._remote = remote
        self._log_path = remote.log(self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_wanted = is_wanted
        self._read_bytes = 0
        """How much of the log was looked at."""
        self._has_warned = False

    def on_event(self, event: Event, state: StudyState) -> None:
        """Starts the process at the first event; it reads the journal by itself from then on."""
        if self._is_wanted:
            self._is_wanted = False
            self._start()
        if self._process is not None:
            self._forward_log()

    def close(self, timeout_s: float) -> None:
        """Lets the process finish; one that needs longer goes on by itself and then ends."""
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
        """Warns of what the process has written for a person since the last time."""
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
                    # Ctrl-C in the terminal ends the study in order; the mirror ends after it.
                    start_new_session=True,
                )
        except OSError as error:
            _log.warning("no trials are mirrored to %s: %s", self._remote.service, error)
