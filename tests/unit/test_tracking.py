"""A tracker that raises is told of once and costs the study nothing; what keeps checkpoints may."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated import MemoryJournal, Simulation, defined, document, result
from tune_app.core.conductor import Conductor
from tune_app.core.journal import Event
from tune_app.core.ports import Tracker
from tune_app.core.recorder import Recorder
from tune_app.core.state import StudyState
from tune_app.core.tracking import TrackerGroup
from tune_app.errors import Problem, UserError
from tune_app.plugins import make

MINE = """
import time

class Mine:
    def __init__(self):
        self.told, self.closed = [], 0

    def on_event(self, event, state):
        self.told.append(event["event"])
        if {when}:
            raise {what}

    def close(self, timeout_s):
        self.closed += 1
        {at_close}

def create(folder):
    {at_create}
    return Mine()
"""


def written(
    folder: Path,
    what: str = "ValueError('boom')",
    when: str = "True",
    at_close: str = "pass",
    at_create: str = "pass",
) -> str:
    """A user's own file with a tracker that raises; its path is what a study names."""
    path = folder / "mine.py"
    path.write_text(MINE.format(what=what, when=when, at_close=at_close, at_create=at_create))
    return str(path)


def made(folder: Path, *names: str) -> list[tuple[str, Any]]:
    return list(make.trackers(defined(trackers=[{"name": name} for name in names]), folder))


def searched(trackers: TrackerGroup, interrupt: bool = False) -> Simulation:
    """A whole study on the simulated clock whose recorder has these trackers."""
    simulation = Simulation(document(trials=5))
    state = StudyState()
    recorder = Recorder(state, simulation.memory, trackers)
    study = defined(trials=5)
    simulation.memory.events.clear()
    simulation.conductor = Conductor(
        recorder, make.searcher(study), make.scheduler(study), study.baseline_params
    )
    recorder.record("study_started", study=study.to_document(), software={}, machine={})
    simulation.run()
    recorder.close(1.0)
    return simulation


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


class Seen:
    """Follows what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.closed: list[float] = []

    def on_event(self, event: Event, state: StudyState) -> None:
        assert state.updated == event["time"]
        self.told.append(event["event"])

    def close(self, timeout_s: float) -> None:
        self.closed.append(timeout_s)


def test_a_tracker_that_raises_is_told_of_in_one_line_and_the_study_is_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, seen = written(tmp_path, when='event["event"] == "report"'), Seen()
    ((_, mine),) = made(tmp_path, name)
    simulation = searched(TrackerGroup([(name, mine), ("seen", seen)]))
    (line,) = warnings(caplog)
    assert line.startswith(f"the tracker {name} raised ValueError: boom ({name}, line 11): ")
    assert "the study continues" in line
    assert "resume" in line
    assert "\n" not in line
    assert mine.told[-1] == "report"
    assert mine.told.count("report") == 1
    assert mine.closed == 1
    assert seen.told == [event["event"] for event in simulation.events]
    assert result(simulation.state) == result(Simulation(document(trials=5)).run())


@pytest.mark.parametrize(
    "what",
    [
        "ValueError('one line\\nand another')",
        "ValueError()",
        "OSError(28, 'No space left on device')",
        "AssertionError",
        "RecursionError('deep')",
        "ImportError('no such client')",
        "StopIteration()",
        "GeneratorExit() if False else TimeoutError('60 s')",
        "UnicodeEncodeError('utf-8', chr(0xdc80), 0, 1, 'no')",
        "__import__('tune_app.errors').errors.UserError([])",
        "__import__('tune_app.errors').errors.UserError(())",
        "type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
    ],
)
def test_whatever_a_tracker_raises_costs_the_study_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    name = written(tmp_path, what)
    simulation = searched(TrackerGroup(made(tmp_path, name)))
    assert simulation.state.ended
    (line,) = warnings(caplog)
    assert "mine.py" in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("what", ["KeyboardInterrupt", "SystemExit(3)"])
def test_what_ends_the_process_is_not_held_back(tmp_path: Path, what: str) -> None:
    group = TrackerGroup(made(tmp_path, written(tmp_path, what)))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        searched(group)


def test_a_tracker_that_raises_at_the_end_is_told_of_and_the_others_are_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, first, last = written(tmp_path, when="False", at_close="1 / 0"), Seen(), Seen()
    ((_, mine),) = made(tmp_path, name)
    searched(TrackerGroup([("first", first), (name, mine), ("last", last)]))
    assert len(first.closed) == len(last.closed) == 1
    (line,) = warnings(caplog)
    assert "ZeroDivisionError" in line


def test_a_tracker_that_raises_always_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    searched(TrackerGroup(made(tmp_path, written(tmp_path, at_close="1 / 0"))))
    assert len(warnings(caplog)) == 1


def test_something_that_is_no_tracker_is_told_of_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    simulation = searched(TrackerGroup([("nothing", None)]))  # type: ignore[list-item]
    assert simulation.state.ended
    (line,) = warnings(caplog)
    assert "the tracker nothing raised AttributeError" in line


def test_trackers_share_the_time_that_the_end_may_take() -> None:
    now = 0.0

    class Slow(Seen):
        def close(self, timeout_s: float) -> None:
            nonlocal now
            super().close(timeout_s)
            now += min(4.0, timeout_s)

    slow: list[tuple[str, Tracker]] = [(f"{number}", Slow()) for number in range(3)]
    TrackerGroup(slow, clock=lambda: now).close(5.0)
    assert [tracker.closed for _, tracker in slow] == [[0.0], [1.0], [5.0]]  # type: ignore[attr-defined]


def test_a_tracker_that_cannot_be_made_stops_the_study_before_it_begins(tmp_path: Path) -> None:
    name = written(tmp_path, at_create="raise ValueError('no token')")
    with pytest.raises(UserError) as caught:
        made(tmp_path, name)
    (problem,) = caught.value.problems
    assert problem.what == f"the tracker {name} raised ValueError: no token"
    assert problem.where == f"{name}, line 18"


class Full:
    """Keeps checkpoints until there is no room for one more."""

    def on_event(self, event: Event, state: StudyState) -> None:
        if event.get("checkpoint"):
            raise UserError(Problem("no room"))


def test_what_keeps_checkpoints_ends_the_study_and_the_trackers_know_the_last_event() -> None:
    seen = Seen()
    simulation = Simulation(document(), trackers=[seen], keeper=Full())
    with pytest.raises(UserError, match="no room"):
        simulation.run()
    assert seen.told == [event["event"] for event in simulation.events]
    assert simulation.events[-1]["checkpoint"]


def test_checkpoints_are_kept_before_any_tracker_is_told() -> None:
    told: list[str] = []

    class Keeper:
        def on_event(self, event: Event, state: StudyState) -> None:
            told.append("keeper")

    class Last(Seen):
        def on_event(self, event: Event, state: StudyState) -> None:
            super().on_event(event, state)
            told.append("tracker")

    recorder = Recorder(StudyState(), MemoryJournal(), TrackerGroup([("last", Last())]), Keeper())
    recorder.record("study_started", study=document())
    assert told == ["keeper", "tracker"]


def test_a_watcher_of_a_simulation_that_raises_ends_it() -> None:
    """It is a part of the program: a replay or a plan without it would tell wrong figures."""

    class Wrong(Seen):
        def on_event(self, event: Event, state: StudyState) -> None:
            raise ZeroDivisionError

    with pytest.raises(UserError, match="the tracker Wrong raised ZeroDivisionError"):
        Simulation(document(), trackers=[Wrong()])
