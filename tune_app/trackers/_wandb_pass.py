"""One pass over a study's journal that brings W&B up to it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tune_app.core.journal import FILE_NAME, Event, follow
from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, Status, TrialState
from tune_app.trackers._wandb_ledger import Ledger
from tune_app.trackers._wandb_run import RunRecord, describe, sweep_config
from tune_app.trackers._wandb_writer import OpenRun, Target, Writer


class Away(Exception):
    """W&B could not be reached, or did not take a run."""

    def __init__(self, trial: str, error: Exception) -> None:
        super().__init__(f"trial {trial}: {type(error).__name__}: {error}".splitlines()[0])
        self.trial = trial
        self.reason = _in_short(error)


def _in_short(error: Exception) -> str:
    """A few words for a person; the client packs the server's answer into a sentence of its own."""
    is_silent = isinstance(error, (ConnectionError, TimeoutError, socket.gaierror))
    if is_silent or "deadline exceeded" in str(error):
        return "nobody answers"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    status = re.search(r"\berror ([45]\d\d)\b", str(error))
    return f"error {status[1]}" if status else type(error).__name__


class Mirror:
    """Reads one study's journal once and brings W&B up to it.

    Args:
        target: where runs go, in place of what the study says.
        put_off: trials that W&B did not take before; they come after all others.
        is_checking: whether to ask for runs that are known to be written if they are still there.
    """

    def __init__(
        self,
        folder: Path,
        target: Target | None = None,
        put_off: frozenset[str] = frozenset(),
        is_checking: bool = False,
    ) -> None:
        self._folder = folder
        self._target = target or Target()
        self._is_checking = is_checking
        self._put_off = set(put_off)
        self._state = StudyState()
        self._writer: Writer | None = None
        self._ledger: Ledger | None = None
        self._open: dict[str, OpenRun] = {}
        self._changed: set[str] = set()
        self._best: TrialState | None = None
        self.place = ""
        self.written = 0
        self.kept = 0

    def run(self, is_told_to_end: Callable[[], bool], poll_s: float = 0.5) -> None:
        """Mirrors until the study is over, or until told to end and the journal is read.

        Raises:
            Away: W&B is, and all must be tried again.
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
    def mode(self) -> str:
        """online, offline or disabled; empty before there was anything to write."""
        return self._writer.mode if self._writer is not None else ""

    def close(self) -> None:
        """Lets go of W&B, whatever is still open."""
        if self._writer is not None:
            # A service that is stuck says so here; it is left behind either way.
            with suppress(Exception):
                self._writer.close()

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
                self._write(trial, describe(self._state, trial))
        self._try_again()
        self._mark_winner()

    def _mark_winner(self) -> None:
        best = self._state.best()
        if self._state.ended is not None and best is not None:
            self._write(best, describe(self._state, best))

    def _bring(self, trial: TrialState) -> None:
        record = describe(self._state, trial)
        if trial.status is Status.RUNNING:
            self._attempt(trial, lambda: self._run_of(trial, record).send(record))
        elif trial.segments or trial.outcome is not None:
            self._write(trial, record)
            self._forget(trial)

    def _write(self, trial: TrialState, record: RunRecord) -> None:
        """Writes all there is of a run and closes it."""
        writer, ledger = self._session(trial, record)
        if self.mode == "disabled":
            return
        digest = record.digest()

        def finish() -> None:
            is_known = ledger.has(trial.id, digest) and trial.id not in self._open
            if is_known and (not self._is_checking or writer.has(record)):
                self.kept += 1
                return
            self._run_of(trial, record).finish(record)
            ledger.add(trial.id, record.id, digest)
            self.written += 1

        self._attempt(trial, finish)
        self._open.pop(trial.id, None)
        self._put_off.discard(trial.id)

    def _run_of(self, trial: TrialState, record: RunRecord) -> OpenRun:
        if trial.id not in self._open:
            self._open[trial.id] = self._session(trial, record)[0].open(record)
        return self._open[trial.id]

    def _attempt(self, trial: TrialState, act: Callable[[], None]) -> None:
        try:
            act()
        except Away:
            raise
        except Exception as error:
            # The client raises what it likes, its service's errors and the network's included.
            raise Away(trial.id, error) from error

    def _session(self, trial: TrialState, record: RunRecord) -> tuple[Writer, Ledger]:
        """The W&B client and the record of what it wrote, from the first run on."""
        if self._writer is None or self._ledger is None:
            self._writer = Writer(self._folder, self._target)
            self.place = self._writer.place(record.project, record.entity)
            self._attempt(trial, self._writer.reach)
            self._ledger = Ledger(self._folder / "wandb", self.place)
            self._writer.join_sweep(self._ledger, sweep_config(self._state), record)
        return self._writer, self._ledger

    def _is_live(self) -> bool:
        """Whether trials are shown while they run; only asked where one has begun."""
        if self._writer is None and self._state.trials:
            any_trial = next(iter(self._state.trials.values()))
            self._session(any_trial, describe(self._state, any_trial))
        return self.mode == "online"

    def _forget(self, trial: TrialState) -> None:
        """Keeps memory flat: of an ended trial only what others are compared with is needed."""
        if trial.outcome is None:
            return
        if trial.outcome is Outcome.COMPLETED and trial is self._state.best():
            trial, self._best = self._best or trial, trial
        if trial is not self._best:
            # Its effective configuration may also be that of a trial that took over from it.
            trial.reports, trial.samples, trial.effective = [], {}, {}
