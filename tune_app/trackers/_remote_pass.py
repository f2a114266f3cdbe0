"""One pass over a study's journal that brings a service up to date.

If the service is live, a run is opened when its trial begins and gets rows as they are reported; it
is closed while the trial is paused and reopened when the trial continues, so that there are never
more open runs than running trials. Otherwise a run is written as a whole when its trial has ended.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tune_app.core.journal import FILE_NAME, Event, follow
from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, Status, TrialState
from tune_app.trackers._remote_ledger import Ledger
from tune_app.trackers._remote_process import Remote

NO_ANSWER = "nobody answers"


class Record(Protocol):
    """The complete content of one trial's run in a service."""

    @property
    def id(self) -> str:
        """The run's id: the same for a trial in every session of its study."""
        ...

    def digest(self) -> str:
        """A digest of the content: a run is written again when it differs."""
        ...


R = TypeVar("R", bound=Record)
R_contra = TypeVar("R_contra", bound=Record, contravariant=True)


class OpenRun(Protocol[R_contra]):
    """A run that accepts its trial's reports until it is finished."""

    def send(self, record: R_contra) -> None:
        """Sends what the service does not have yet."""
        ...

    def finish(self, record: R_contra) -> None:
        """Sends the rest and closes the run; raises if the service does not have all of it."""
        ...


class Client(Protocol[R_contra]):
    """One session with a service. Any exception means that the service is unavailable."""

    @property
    def place(self) -> str:
        """Where the runs are written: shown to the user, and a key in the ledger."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether runs are visible while they are written."""
        ...

    @property
    def is_off(self) -> bool:
        """Whether the user has disabled the service: nothing is to be written."""
        ...

    def begin(self, state: StudyState, record: R_contra) -> None:
        """Called once before the first run; raises if the service cannot be reached."""
        ...

    def open(self, record: R_contra) -> OpenRun[R_contra]:
        """Creates a run, or continues it if the service has it already."""
        ...

    def has(self, record: R_contra) -> bool:
        """Whether a run that was written before still exists."""
        ...

    def close(self) -> None:
        """Ends the session with the service, even with open runs."""
        ...


class Service(Protocol[R]):
    """A kind of service that stores runs."""

    @property
    def remote(self) -> Remote:
        """The service's names, folder and command."""
        ...

    def describe(self, state: StudyState, trial: TrialState) -> R:
        """The run of a trial in its current state, ended or not."""
        ...

    def client(self, folder: Path, record: R) -> Client[R]:
        """A client for the study in `folder`, created for the first run, that of `record`.

        Raises:
            ImportError: the client's library is not installed.
        """
        ...

    def reason(self, error: Exception) -> str:
        """Why the service is unavailable, in a few words for the user."""
        ...


def reason_of(error: Exception) -> str:
    """A short reason for an error of any client."""
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return NO_ANSWER
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


class ServiceUnavailable(Exception):
    """The service is unavailable: it could not be reached, or did not accept a run."""

    def __init__(self, trial: str, error: Exception, reason: str) -> None:
        super().__init__(f"trial {trial}: {type(error).__name__}: {error}".splitlines()[0])
        self.trial = trial
        self.reason = reason


class Mirror(Generic[R]):
    """Reads one study's journal once and brings the service up to it.

    Args:
        deferred: ids of trials that the service did not accept before; they are written last.
        is_checking: whether to query for runs that the ledger lists as written.
    """

    def __init__(
        self,
        service: Service[R],
        folder: Path,
        deferred: frozenset[str] = frozenset(),
        is_checking: bool = False,
    ) -> None:
        self._service = service
        self._folder = folder
        self._is_checking = is_checking
        self._deferred = set(deferred)
        self._state = StudyState()
        self._client: Client[R] | None = None
        self._ledger: Ledger | None = None
        self._open: dict[str, OpenRun[R]] = {}
        self._changed: set[str] = set()
        self._best: TrialState | None = None
        self.place = ""
        self.written = 0
        self.kept = 0

    def run(self, should_end: Callable[[], bool], poll_s: float = 0.5) -> None:
        """Mirrors until the study is over, or until `should_end()` and the journal is read.

        Raises:
            ServiceUnavailable: the service is unavailable; a new pass must be tried.
        """
        over = last_pass = False
        for event in follow(self._folder / FILE_NAME, poll_s):
            if event is None:
                if over or last_pass:
                    self._settle()
                    return
                # One more pass reads all that was written before `should_end()` became true.
                last_pass = should_end()
                if not last_pass:
                    self._catch_up()
                continue
            self._state.apply(event)
            over = event["event"] in ("study_ended", "study_interrupted")
            self._take(event)

    @property
    def is_off(self) -> bool:
        """Whether the service is disabled; known once there was a run to write."""
        return self._client is not None and self._client.is_off

    def close(self) -> None:
        """Ends the session with the service, even with open runs."""
        if self._client is not None:
            # A stuck client may raise; it is abandoned anyway.
            with suppress(Exception):
                self._client.close()

    def _take(self, event: Event) -> None:
        trial = self._state.trials.get(event.get("trial", ""))
        if trial is None:
            return
        self._changed.add(trial.id)
        if event["event"] == "trial_ended" and trial.id not in self._deferred:
            self._update(trial)

    def _catch_up(self) -> None:
        """Updates changed runs, once there is nothing more to read."""
        changed, self._changed = sorted(self._changed), set()
        for trial in (self._state.trials[name] for name in changed):
            if trial.outcome is None and self._is_live():
                self._update(trial)
        self._try_again()

    def _try_again(self) -> None:
        for trial in (self._state.trials[name] for name in sorted(self._deferred)):
            if trial.outcome is not None:
                self._update(trial)

    def _settle(self) -> None:
        """Closes all runs, those of interrupted trials included, and marks the winner."""
        for trial in self._state.trials.values():
            if trial.outcome is None and trial.segments and self._is_live():
                self._write(trial, self._describe(trial))
        self._try_again()
        self._mark_winner()

    def _mark_winner(self) -> None:
        best = self._state.best()
        if self._state.ended is not None and best is not None:
            self._write(best, self._describe(best))

    def _update(self, trial: TrialState) -> None:
        record = self._describe(trial)
        if trial.status is Status.RUNNING:
            self._attempt(trial, lambda: self._run_of(trial, record).send(record))
        elif trial.segments or trial.outcome is not None:
            self._write(trial, record)
            self._forget(trial)

    def _write(self, trial: TrialState, record: R) -> None:
        """Writes a run as a whole and closes it."""
        client, ledger = self._session(trial, record)
        if client.is_off:
            return
        digest = record.digest()

        def finish() -> None:
            is_written = ledger.has(trial.id, digest) and trial.id not in self._open
            if is_written and (not self._is_checking or client.has(record)):
                self.kept += 1
                return
            self._run_of(trial, record).finish(record)
            ledger.add(trial.id, record.id, digest)
            self.written += 1

        self._attempt(trial, finish)
        self._open.pop(trial.id, None)
        self._deferred.discard(trial.id)

    def _run_of(self, trial: TrialState, record: R) -> OpenRun[R]:
        if trial.id not in self._open:
            self._open[trial.id] = self._session(trial, record)[0].open(record)
        return self._open[trial.id]

    def _attempt(self, trial: TrialState, act: Callable[[], None]) -> None:
        try:
            act()
        except ServiceUnavailable:
            raise
        except Exception as error:
            # Clients raise errors of many types, those of the service and the network included.
            raise ServiceUnavailable(trial.id, error, self._service.reason(error)) from error

    def _session(self, trial: TrialState, record: R) -> tuple[Client[R], Ledger]:
        """The client and the ledger of written runs, both created for the first run."""
        if self._client is None or self._ledger is None:
            client = self._client = self._service.client(self._folder, record)
            self.place = client.place
            self._attempt(trial, lambda: client.begin(self._state, record))
            self._ledger = Ledger(self._service.remote.home(self._folder), client.place)
        return self._client, self._ledger

    def _is_live(self) -> bool:
        """Whether the service shows trials while they run; False before the first trial."""
        if self._client is None and self._state.trials:
            any_trial = next(iter(self._state.trials.values()))
            self._session(any_trial, self._describe(any_trial))
        return self._client is not None and self._client.is_live

    def _describe(self, trial: TrialState) -> R:
        return self._service.describe(self._state, trial)

    def _forget(self, trial: TrialState) -> None:
        """Frees the memory of ended trials, except of the best one, which may be written again."""
        if trial.outcome is None:
            return
        if trial.outcome is Outcome.COMPLETED and trial is self._state.best():
            trial, self._best = self._best or trial, trial
        if trial is not self._best:
            # New objects, since a trial that took over shares the effective configuration.
            trial.reports, trial.samples, trial.effective = [], {}, {}
