"""What trackers and the person are told of one session, with a study in place of Ray's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.simulated import document
from tune_app.cli._session import Session
from tune_app.console import screens
from tune_app.core.journal import Journal, read
from tune_app.core.recorder import Recorder
from tune_app.core.state import rebuild
from tune_app.errors import Problem, UserError
from tune_app.storage import places

TRACKER = """
import json

class Notes:
    def __init__(self, folder):
        self._path = folder / "notes.jsonl"

    def on_event(self, event, state):
        assert state.study, "the state comes first"
        self._write([event["event"], len(state.trials)])
        if event["event"] == "finding":
            raise ValueError("no room for findings")

    def close(self, timeout_s):
        self._write(["close", 0])

    def _write(self, note):
        with open(self._path, "a") as file:
            file.write(json.dumps(note) + chr(10))

def create(folder):
    return Notes(folder)
"""

Drive = Callable[[Session, screens.Screen, Recorder], None]


def notes(folder: Path) -> list[tuple[str, int]]:
    return [tuple(json.loads(line)) for line in (folder / "notes.jsonl").read_text().splitlines()]


@pytest.fixture
def sit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Drive], Path]:
    """Runs a session, the first or a further one, of a study whose tracker is a user's own."""
    (tmp_path / "mine.py").write_text(TRACKER)
    storage = places.at(str(tmp_path))
    resolved = document(trials=3) | {"trackers": [{"name": str(tmp_path / "mine.py")}]}
    resolved |= {"source": "a test", "project": "p", "trainable": "t"}
    resolved |= {"resources": {"cpu": 1, "gpu": 0.0, "concurrent": None}}

    def run(drive: Drive) -> Path:
        monkeypatch.setattr(Session, "_drive", drive)
        there = (tmp_path / "tiny").exists()
        study = storage.study("tiny") if there else storage.create("tiny")
        args = argparse.Namespace(json=False, storage=storage, address=None)
        journal = Journal(study.folder)
        state = rebuild(read(journal.path)[0])
        session = Session(args, study, state, journal)
        fields = {} if state.study else {"study": resolved}
        event = "study_resumed" if state.study else "study_started"
        try:
            session.run(event, **fields, software={}, machine={})
        finally:
            study.close_session()
        return study.folder

    return run


def interrupted(session: Session, screen: screens.Screen, recorder: Recorder) -> None:
    raise KeyboardInterrupt


def begun(session: Session, screen: screens.Screen, recorder: Recorder) -> None:
    recorder.record("trial_created", trial="0000", number=0, kind="search", params={"x": 0.5})
    raise KeyboardInterrupt


def told_of_findings(session: Session, screen: screens.Screen, recorder: Recorder) -> None:
    for text in ("one", "two"):
        recorder.record("finding", text=text)
    raise KeyboardInterrupt


def test_a_tracker_is_told_every_event_of_each_session_once_and_in_order(
    sit: Callable[[Drive], Path],
) -> None:
    sit(begun)
    folder = sit(interrupted)
    first = [("study_started", 0), ("trial_created", 1), ("study_interrupted", 1), ("close", 0)]
    again = [("study_resumed", 1), ("study_interrupted", 1), ("close", 0)]
    assert notes(folder) == [*first, *again]
    events = [event["event"] for event in read(folder / "journal.jsonl")[0]]
    assert events == [name for name, _ in notes(folder) if name != "close"]


def test_a_tracker_that_raises_is_one_line_on_the_terminal_and_a_traceback_elsewhere(
    sit: Callable[[Drive], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = sit(told_of_findings)
    out, err = capfd.readouterr()
    (line,) = [line for line in out.splitlines() if "no room" in line]
    assert f"mine.py raised ValueError: no room for findings ({tmp_path / 'mine.py'}, line 12)" in (
        line
    )
    assert err.count("Traceback") == 1
    assert "note: two" in out
    assert [name for name, _ in notes(folder)] == ["study_started", "finding", "close"]


def test_a_resumed_study_tells_its_tracker_again(sit: Callable[[Drive], Path]) -> None:
    sit(told_of_findings)
    folder = sit(interrupted)
    assert [name for name, _ in notes(folder)][3:] == [
        "study_resumed",
        "study_interrupted",
        "close",
    ]


def test_a_screen_that_raises_ends_neither_the_study_nor_the_trackers(
    sit: Callable[[Drive], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(screens.PlainScreen, "on_event", lambda *_: 1 / 0)
    folder = sit(begun)
    assert [name for name, _ in notes(folder)][:2] == ["study_started", "trial_created"]
    assert capfd.readouterr().out.count("the tracker screen raised ZeroDivisionError") == 1


def test_a_screen_that_cannot_say_that_it_failed_has_it_said_all_the_same(
    sit: Callable[[Drive], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> None:
        raise UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(screens.PlainScreen, "on_event", broken)
    monkeypatch.setattr(screens.PlainScreen, "say", broken)
    sit(interrupted)
    assert capfd.readouterr().out.count("the tracker screen raised UnicodeEncodeError") == 1


def test_a_mistake_on_the_way_reaches_the_person_after_the_trackers_are_closed(
    sit: Callable[[Drive], Path], tmp_path: Path
) -> None:
    def refuse(session: Session, screen: screens.Screen, recorder: Recorder) -> None:
        raise UserError(Problem("nothing fits"))

    with pytest.raises(UserError, match="nothing fits"):
        sit(refuse)
    assert notes(tmp_path / "tiny") == [("study_started", 0), ("close", 0)]


def test_ctrl_c_while_trackers_finish_waits_for_none_and_keeps_the_reason_for_the_end(
    sit: Callable[[Drive], Path], tmp_path: Path
) -> None:
    def refuse(session: Session, screen: screens.Screen, recorder: Recorder) -> None:
        raise UserError(Problem("nothing fits"))

    waits = "self._write(['close', timeout_s])\n        if timeout_s: raise KeyboardInterrupt"
    (tmp_path / "mine.py").write_text(TRACKER.replace('self._write(["close", 0])', waits))
    with pytest.raises(UserError, match="nothing fits"):
        sit(refuse)
    assert [name for name, _ in notes(tmp_path / "tiny")] == ["study_started", "close", "close"]
    assert notes(tmp_path / "tiny")[-1] == ("close", 0)


def test_a_tracker_that_cannot_be_made_costs_nothing_and_leaves_no_event(
    sit: Callable[[Drive], Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def create(folder): raise OSError('no token')")
    with pytest.raises(UserError, match=r"mine\.py raised OSError: no token"):
        sit(begun)
    journal = tmp_path / "tiny" / "journal.jsonl"
    assert journal.read_bytes() == b""
    Journal(journal.parent).close()


def test_half_a_character_in_a_value_does_not_take_the_screen_away(
    sit: Callable[[Drive], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """As in names of files that are not UTF-8."""

    def drive(session: Session, screen: screens.Screen, recorder: Recorder) -> None:
        recorder.record("finding", text="a file named \udc80")
        screen.say("and \udc80 again")
        raise KeyboardInterrupt

    sit(drive)
    out = capfd.readouterr().out
    assert "note: a file named" in out
    assert "again" in out
    assert "screen raised" not in out
