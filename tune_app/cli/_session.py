"""One session of a study's driver on the terminal, shared by `run` and `resume`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import indent
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from tune_app import engine
from tune_app.analysis import report
from tune_app.analysis.importance_words import in_full
from tune_app.cache import cache_folder
from tune_app.cli import _common, _requests
from tune_app.console import closing, commands, screens, terminal
from tune_app.core.definition import StudyDefinition
from tune_app.core.failures import own_traceback
from tune_app.core.journal import Journal
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState
from tune_app.core.tracking import TrackerGroup
from tune_app.core.trial import Outcome, TrialState
from tune_app.errors import Problem, UserError
from tune_app.plugins import make
from tune_app.storage import catalogue, places
from tune_app.storage.retention import Retention
from tune_app.storage.study import Study

if TYPE_CHECKING:
    from tune_app.engine.driver import Driver

TRACKERS_TIMEOUT_S = 5.0
"""The longest wait for all trackers together at the end of a session."""

INTERRUPTED = 130
NO_ANSWER = 1


class _Warnings(logging.Handler):
    """Shows warnings of trackers on the screen."""

    def __init__(self, screen: screens.Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            # Standard error goes to the driver's log.
            print(logging.Formatter().formatException(record.exc_info), file=sys.stderr)
        try:
            self._screen.say(record.getMessage())
        except Exception:
            # The warning may be about the screen itself.
            self._screen.last_words(record.getMessage())


@contextmanager
def _warnings_on(screen: screens.Screen) -> Iterator[None]:
    handler, logger = _Warnings(screen), logging.getLogger("tune_app.trackers")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class Session:
    """Runs the driver; handles the terminal, the signals, the report and the closing."""

    def __init__(
        self, args: argparse.Namespace, study: Study, state: StudyState, journal: Journal
    ) -> None:
        self._args = args
        self._study = study
        self._folder = study.folder
        self._state = state
        self._journal = journal
        self._driver: Driver | None = None
        self._interrupts = 0

    def run(self, event: str, **fields: Any) -> int:
        """Opens the session with `event`, runs the study and closes; returns the exit code.

        Raises:
            UserError: the study cannot go on, or no trial completed.
        """
        log = self._folder / "logs" / "driver.log"
        with terminal.reserved(log) as (stdout, stderr):
            shown = stderr if self._args.json else stdout
            screen = screens.create(shown, self._study.address)
            with (
                contextlib.closing(self._journal),
                _warnings_on(screen),
                places.answering(self._study.address),
            ):
                new = fields.get("study")
                study = StudyDefinition.from_document(new) if new else self._state.definition
                recorder = self._recorder(screen, study)
                with self._signals(screen, shown):
                    self._run_session(screen, recorder, event, fields)
            self._report(screen)
            return self._say_goodbye(stdout, screen)

    def _recorder(self, screen: screens.Screen, study: StudyDefinition) -> Recorder:
        """The recorder with its trackers, which are created before the first event.

        Raises:
            UserError: the `create` of a tracker raises.
        """
        keeper = Retention(
            self._study.checkpoints, study.checkpoints.keep, study.checkpoints.disk_gb
        )
        trackers = TrackerGroup([("screen", screen), *make.trackers(study, self._folder)])
        return Recorder(self._state, self._journal, trackers, keeper)

    def _run_session(
        self, screen: screens.Screen, recorder: Recorder, event: str, fields: dict[str, Any]
    ) -> None:
        """Runs from the session's first event to its last."""
        try:
            recorder.record(event, **fields)
            recorder.commit()
            self._drive(screen, recorder)
        except KeyboardInterrupt:
            recorder.record("study_interrupted")
            recorder.commit()
        finally:
            try:
                recorder.close(TRACKERS_TIMEOUT_S)
            except KeyboardInterrupt:
                # No more waiting; the reason for the end must still be shown.
                recorder.close(0.0)

    def _drive(self, screen: screens.Screen, recorder: Recorder) -> None:
        screen.say("starting Ray …")
        # Ray takes seconds to import, so the screen shows something before.
        if self._args.address is None:
            engine.stay_on_this_machine()
        from tune_app.engine.cluster import connect
        from tune_app.engine.driver import Driver

        screen.opening(self._state)
        with connect(self._args.address, cache_folder()) as cluster:
            screen.say(f"Ray: {cluster.describe()}; dashboard {cluster.dashboard or 'off'}")
            self._driver = Driver(self._study, recorder, cluster)
            self._driver.run(screen.say, screen.last_words)

    @contextmanager
    def _signals(self, screen: screens.Screen, shown: terminal.Outlet) -> Iterator[None]:
        """The first Ctrl-C asks the trials to save, the second ends the process at once.

        The journal is complete in both cases. A `stop` from another process, and a closed terminal
        or output pipe, count as the first Ctrl-C; under `nohup` a closed terminal is ignored.
        """

        def on_signal(number: int, frame: FrameType | None) -> None:
            """Handles the signals of `_signals`.

            Raises:
                KeyboardInterrupt: no trial has started yet.
            """
            self._interrupts += 1
            if self._interrupts > 1:
                screen.last_words(f"stopped at once; go on with: {self._resume_command()}")
                os._exit(INTERRUPTED)
            if self._driver is None or not self._driver.interrupt():
                screen.say("stopping before the first trial")
                raise KeyboardInterrupt
            screen.say("stopping: running trials save a checkpoint (Ctrl-C again to leave at once)")

        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            numbers.remove(signal.SIGHUP)
        before = {number: signal.signal(number, on_signal) for number in numbers}
        shown.on_gone = self._stop
        try:
            with _requests.listening(self._folder, self._stop):
                yield
        finally:
            shown.on_gone = None
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        if not self._interrupts:
            os.kill(os.getpid(), signal.SIGTERM)

    def _report(self, screen: screens.Screen) -> None:
        if self._state.trials:
            screen.say("writing the report …")
            again = commands.verb("report", self._folder.name, self._args.storage)
            fix = f"free some space, then: {again}"
            with catalogue.explained("write the report", self._folder / "report", fix):
                place = str(self._args.storage)
                report.write(self._state, self._folder / "report", self._folder, place)
        with places.answering(self._study.address):
            self._study.publish()

    def _say_goodbye(self, stdout: TextIO, screen: screens.Screen) -> int:
        summary = in_full(self._state)
        closing.write(screen.console, summary, self._study, self._args.storage)
        if self._args.json:
            _common.print_json({**summary, "folder": self._study.address}, stdout)
        if self._state.ended is None:
            return INTERRUPTED
        if self._state.best() is not None:
            return 0
        failed = [t for t in self._state.trials.values() if t.outcome is Outcome.FAILED]
        if failed:
            raise self._none_completed(failed)
        return NO_ANSWER

    def _none_completed(self, failed: list[TrialState]) -> UserError:
        first = failed[0]
        what = f"no trial completed; trial {first.id} failed: {first.reason}"
        if first.error:
            what += "\n" + indent(own_traceback(first.error), "    ")
        where = f"trainable {self._state.definition.trainable}"
        log = self._folder / "logs" / "trials" / f"{first.id}.log"
        return UserError(Problem(what, where, fix=f"see what else was logged in {log}"))

    def _resume_command(self) -> str:
        return commands.verb("resume", self._folder.name, self._args.storage)
