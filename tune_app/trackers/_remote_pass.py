"""One pass over a study's journal that brings a service up to it.

A run is opened when its trial begins, where the service is live, and takes rows as they are
reported; it is closed while the trial waits and gone on with when the trial does, so that no more
runs are open than trials run. Otherwise a run is written in one go when its trial has ended.
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
    """All that a service is to have of one trial."""

    @property
    def id(self) -> str:
        """The run's: the same for a trial in every session of its study."""
        ...

    def digest(self) -> str:
        """Differs when there is something else to write."""
        ...


R = TypeVar("R", bound=Record)
R_contra = TypeVar("R_contra", bound=Record, contravariant=True)


class OpenRun(Protocol[R_contra]):
    """A run that takes what its trial reports until it is finished."""

    def send(self, record: R_contra) -> None:
        """Sends what is not there yet."""
        ...

    def finish(self, record: R_contra) -> None:
        """Sends the rest and closes the run; raises where not all of it has arrived."""
        ...


class Client(Protocol[R_contra]):
    """One session with a service. What it raises means that the service is away."""

    @property
    def place(self) -> str:
        """Where the runs go: for the ledger, and for a person."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether runs are seen while they are written."""
        ...

    @property
    def is_off(self) -> bool:
        """Whether nothing is to be written at all."""
        ...

    def begin(self, state: StudyState, record: R_contra) -> None:
        """Called once before the first run: raises where the service cannot be reached."""
        ...

    def open(self, record: R_contra) -> OpenRun[R_contra]:
        """Begins a run, or goes on with it where the service has it already."""
        ...

    def has(self, record: R_contra) -> bool:
        """Whether a run that was written once is still where it was."""
        ...

    def close(self) -> None:
        """Lets go of the service, whatever is still open."""
        ...


class Service(Protocol[R]):
    """A kind of service that takes runs."""

    @property
    def remote(self) -> Remote: ...

    def describe(self, state: StudyState, trial: TrialState) -> R:
        """The run of a trial as it is now; of one that has not ended, what there is of it."""
        ...

    def client(self, folder: Path, record: R) -> Client[R]:
        """A client for the study in `folder`, made when the first run is to be written.

        Raises:
            ImportError: the client's library is not installed.
        """
        ...

    def reason(self, error: Exception) -> str:
        """Why the service is away, in a few words for a person."""
        ...


def reason_of(error: Exception) -> str:
    """What can be said of any client's error."""
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return NO_ANSWER
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


class Away(Exception):
    """The service could not be reached, or did not take a run."""

    def __init__(self, trial: str, error: Exception, reason: str) -> None:
        super().__init__(f"trial {trial}: {type(error).__name__}: {error}".splitlines()[0])
        self.trial = trial
        self.reason = reason


class Mirror(Generic[R]):
    """Reads one study's journal once and brings the service up to it.

    Args:
        put_off: trials that the service did not take before; they come after all others.
        is_checking: whether to ask for runs that are known to be written if they are still there.
    """

    def __init__(
        self,
        service: Service[R],
        folder: Path,
        put_off: frozenset[str] = frozenset(),
        is_checking: bool = False,
    ) -> None:
        self._service = service
        self._folder = folder
        self._is_checking = is_checking
        self._put_off = set(put_off)
        self._state = StudyState()
        self._client: Client[R] | None = None
        self._ledger: Ledger | None = None
        self._open: dict[str, OpenRun[R]] = {}
        self._changed: set[str] = set()
        self._best: TrialState | None = None
        self.place = ""
        self.written = 0
        self.kept = 0

    def run(self, is_told_to_end: Callable[[], bool], poll_s: float = 0.5) -> None:
        """Mirrors until the study is over, or until told to end and the journal is read.

        Raises:
            Away: the service is, and all must be tried again.
        """
        over = last_pass = False
        for event in follow(self._folder / FILE_NAME, poll_s):
            if event is None:
                if over or last_pass:
                    self._settle()
                    return
                # Whatever was written before the word to end is read by one more pass.
                last_pass = is_told_to_end()
                if not last_pass:
                    self._catch_up()
                continue
            self._state.apply(event)
            over = event["event"] in ("study_ended", "study_interrupted")
            self._take(event)

    @property
    def is_off(self) -> bool:
        """Whether nothing is to be written; known once there was something to write."""
        return self._client is not None and self._client.is_off

    def close(self) -> None:
        """Lets go of the service, whatever is still open."""
        if self._client is not None:
            # One that is stuck may raise here; it is left behind either way.
            with suppress(Exception):
                self._client.close()

    def _take(self, event: Event) -> None:
        trial = self._state.trials.get(event.get("trial", ""))
        if trial is None:
            return
        self._changed.add(trial.id)
        if event["event"] == "trial_ended" and trial.id not in self._put_off:
            self._bring(trial)

    def _catch_up(self) -> None:
        """Does what can wait until there is nothing more to read."""
        changed, self._changed = sorted(self._changed), set()
        for trial in (self._state.trials[name] for name in changed):
            if trial.outcome is None and self._is_live():
                self._bring(trial)
        self._try_again()

    def _try_again(self) -> None:
        for trial in (self._state.trials[name] for name in sorted(self._put_off)):
            if trial.outcome is not None:
                self._bring(trial)

    def _settle(self) -> None:
        """Leaves no run open, those included whose trial lost its driver, and marks the winner."""
        for trial in self._state.trials.values():
            if trial.outcome is None and trial.segments and self._is_live():
                self._write(trial, self._describe(trial))
        self._try_again()
        self._mark_winner()

    def _mark_winner(self) -> None:
        best = self._state.best()
        if self._state.ended is not None and best is not None:
            self._write(best, self._describe(best))

    def _bring(self, trial: TrialState) -> None:
        record = self._describe(trial)
        if trial.status is Status.RUNNING:
            self._attempt(trial, lambda: self._run_of(trial, record).send(record))
        elif trial.segments or trial.outcome is not None:
            self._write(trial, record)
            self._forget(trial)

    def _write(self, trial: TrialState, record: R) -> None:
        """Writes all there is of a run and closes it."""
        client, ledger = self._session(trial, record)
        if client.is_off:
            return
        digest = record.digest()

        def finish() -> None:
            is_known = ledger.has(trial.id, digest) and trial.id not in self._open
            if is_known and (not self._is_checking or client.has(record)):
                self.kept += 1
                return
            self._run_of(trial, record).finish(record)
            ledger.add(trial.id, record.id, digest)
            self.written += 1

        self._attempt(trial, finish)
        self._open.pop(trial.id, None)
        self._put_off.discard(trial.id)

    def _run_of(self, trial: TrialState, record: R) -> OpenRun[R]:
        if trial.id not in self._open:
            self._open[trial.id] = self._session(trial, record)[0].open(record)
        return self._open[trial.id]

    def _attempt(self, trial: TrialState, act: Callable[[], None]) -> None:
        try:
            act()
        except Away:
            raise
        except Exception as error:
            # A client raises what it likes, its service's errors and the network's included.
            raise Away(trial.id, error, self._service.reason(error)) from error

    def _session(self, trial: TrialState, record: R) -> tuple[Client[R], Ledger]:
        """The client and the ledger of what it wrote, from the first run on."""
        if self._client is None or self._ledger is None:
            client = self._client = self._service.client(self._folder, record)
            self.place = client.place
            self._attempt(trial, lambda: client.begin(self._state, record))
            self._ledger = Ledger(self._service.remote.home(self._folder), client.place)
        return self._client, self._ledger

    def _is_live(self) -> bool:
        """Whether trials are shown while they run; only asked where one has begun."""
        if self._client is None and self._state.trials:
            any_trial = next(iter(self._state.trials.values()))
            self._session(any_trial, self._describe(any_trial))
        return self._client is not None and self._client.is_live

    def _describe(self, trial: TrialState) -> R:
        return self._service.describe(self._state, trial)

    def _forget(self, trial: TrialState) -> None:
        """Keeps memory flat: of an ended trial only what others are compared with is needed."""
        if trial.outcome is None:
            return
        if trial.outcome is Outcome.COMPLETED and trial is self._state.best():
            trial, self._best = self._best or trial, trial
        if trial is not self._best:
            # Its effective configuration may also be that of a trial that took over from it.
            trial.reports, trial.samples, trial.effective = [], {}, {}
