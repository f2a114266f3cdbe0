"""The append-only journal of a study, its single source of truth: one JSON object per line.

Every line has `event` and `time` (Unix seconds). The events, in the order they usually come:

    study_started      study (the resolved document), software, machine
    study_resumed      software, machine
    study_prepared     data, baseline_params, parameters, prior, budget, rungs
                                                           what preflight determined
    choice_dropped     parameter, value, reason            a choice that cannot run here
    finding            text                                something a person should know
    trial_created      trial, number, kind, params
    segment_started    trial, segment, checkpoint          a worker takes the trial (again)
    trial_effective    trial, effective                    what really runs
    report             trial, step, tokens, fraction, seconds, metrics, system, rung, checkpoint
    decision           trial, rung, decision               the scheduler's answer at a rung
    sample             trial, stage, prompt, text          stage: untrained or trained
    space_exhausted                                        nothing is left that was not tried
    trial_interrupted  trial, checkpoint                   stopped by a person, to be resumed
    segment_lost       trial, reason                       the worker died; the trial is retried
    batch_halved       trial, reason, per_device_train_batch_size, gradient_accumulation_steps
                                                           out of memory; retried with these
    trial_ended        trial, outcome, value, tokens, reason, error
    study_interrupted
    study_ended        reason

Metrics that are not finite are written as the strings "NaN", "Infinity" and "-Infinity", so that
every line is strict JSON. Checkpoints are paths relative to the study's folder.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from tune_app.errors import Problem, UserError

Event = dict[str, Any]

FILE_NAME = "journal.jsonl"

LOCK_TRIES, LOCK_PAUSE_S = 1000, 0.01
"""How often a driver retries while another process only probes the lock for microseconds."""


def encode(event: Event) -> str:
    """One line of strict JSON, without the newline."""
    return json.dumps(_strict(event), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Tail:
    """A torn last line, which a crash cut short.

    `offset` is where it begins, in bytes.
    """

    offset: int
    text: str


def read(path: Path) -> tuple[list[Event], Tail | None]:
    """All events of a journal, and its torn last line if there is one.

    Raises:
        UserError: a line other than the last is not a JSON object.
    """
    events: list[Event] = []
    raw = path.read_bytes()
    offset = 0
    for number, line in enumerate(raw.splitlines(keepends=True), start=1):
        event = _parse(line)
        if event is None:
            if offset + len(line) == len(raw):
                return events, Tail(offset, line.decode("utf-8", "replace"))
            raise UserError(
                Problem(
                    "this line is not a JSON object",
                    where=f"{path}:{number}",
                    expected="one event a line, as written by a study",
                    fix="restore the line from a backup, or delete it and resume",
                )
            )
        events.append(event)
        offset += len(line)
    return events, None


def _parse(line: bytes) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "event" in value else None


class Backing(Protocol):
    """The storage behind a journal's file, in which the study lives."""

    def check(self) -> None:
        """Checks that this process may still write to the study.

        Raises:
            UserError: it may not.
        """
        ...

    def commit(self) -> None:
        """Makes the appended lines durable.

        Raises:
            UserError: the storage does not accept them.
        """
        ...


class AlreadyRunning(UserError):
    """Another process on this machine is writing the journal."""


class Journal:
    """Appends events to a study's journal; each is flushed to disk before `append` returns.

    Raises:
        AlreadyRunning: another process on this machine is writing this journal.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.time, backing: Backing | None = None
    ) -> None:
        self.path = folder / FILE_NAME
        self._clock = clock
        self._backing = backing
        self._has_news = False
        # Opened for reading as well: NFS grants the shared lock of `_lock` on such files only.
        self._file = open(self.path, "ab+", buffering=0)  # noqa: SIM115 - closed by close()
        self._lock()

    def _lock(self) -> None:
        """Allows one writer per journal; the lock ends with the process, however that ends.

        `is_locked` in another process holds a shared lock for a moment; this waits for it.
        """
        try:
            for _ in range(LOCK_TRIES):
                if try_lock(self._file, fcntl.LOCK_EX):
                    return
                if not try_lock(self._file, fcntl.LOCK_SH):
                    break
                fcntl.flock(self._file, fcntl.LOCK_UN)
                time.sleep(LOCK_PAUSE_S)
        except OSError:
            self._file.close()
            raise
        self._file.close()
        fix = "wait for it to end, or stop it"
        raise AlreadyRunning(Problem("this study is already running", str(self.path), fix=fix))

    def append(self, event: str, **fields: Any) -> Event:
        """Writes one event; returns it as a reader of the journal gets it.

        Raises:
            UserError: the disk refuses the line (the journal is left unchanged), or another driver
                has taken over the study.
        """
        if self._backing is not None:
            self._backing.check()
        line = encode({"event": event, "time": round(self._clock(), 3), **fields})
        end = os.fstat(self._file.fileno()).st_size
        try:
            # Lone surrogates, as in file names that are not UTF-8, become JSON escapes.
            data = (line + "\n").encode("utf-8", "backslashreplace")
            if self._file.write(data) != len(data):
                raise OSError("short write")
            os.fsync(self._file.fileno())
        except OSError as error:
            os.ftruncate(self._file.fileno(), end)
            raise UserError(
                Problem(
                    f"cannot write to the journal: {error}",
                    where=str(self.path),
                    fix="free some disk space, then resume the study; nothing before is lost",
                )
            ) from error
        written: Event = json.loads(line)
        self._has_news = self._has_news or not _can_wait(written)
        return written

    def commit(self) -> None:
        """Makes the journal durable; called before its consequences leave this process.

        Raises:
            UserError: the storage does not accept it.
        """
        if self._has_news and self._backing is not None:
            self._backing.commit()
        self._has_news = False

    def repair(self, tail: Tail) -> None:
        """Cuts off the torn last line."""
        os.ftruncate(self._file.fileno(), tail.offset)

    def close(self) -> None:
        self._file.close()


def _can_wait(event: Event) -> bool:
    """Whether no decision follows from an event: a trial that loses it reports it again."""
    plain = event["event"] == "report" and event.get("rung") is None
    return plain or event["event"] in ("sample", "trial_effective")


def try_lock(file: IO[bytes], lock: int) -> bool:
    """Takes the lock `lock` of a file without waiting; False if another process holds it."""
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(folder: Path) -> bool:
    """Whether a driver on this machine is writing the journal in `folder` now.

    It probes with a shared lock, which a starting driver can tell from another driver's lock.
    """
    try:
        with open(folder / FILE_NAME, "rb") as file:
            return not try_lock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def follow(path: Path, poll_s: float = 0.5) -> Iterator[Event | None]:
    """Yields the events of a journal as they are written; None whenever there is no new one."""
    with open(path, "rb") as file:
        while True:
            line = file.readline()
            if line.endswith(b"\n"):
                event = _parse(line)
                if event is not None:
                    yield event
            else:
                # Read the line again from its start: a torn line is cut off and replaced.
                file.seek(-len(line), os.SEEK_CUR)
                yield None
                time.sleep(poll_s)
