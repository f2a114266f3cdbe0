"""Every tracker that is found keeps the contract of `tune_app.core.ports.Tracker`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.simulated import defined, document, on_disk, sometimes_diverging
from tune_app import plugins
from tune_app.core.journal import FILE_NAME, Event, read
from tune_app.core.ports import Tracker
from tune_app.core.state import StudyState
from tune_app.core.tracking import TrackerGroup
from tune_app.plugins import make

NAMES = plugins.names("tracker")
CLOSE_TIMEOUT_S = 60.0


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, list[Event]]:
    """The folder and events of a study of a few trials, as `run` lays it out."""
    for part in ("report", "checkpoints", "wandb", "logs"):
        (tmp_path / part).mkdir()
    resolved = document(trials=3, rungs=2) | {
        "project": "p",
        "entity": None,
        "description": "",
        "trainable": "causal_lm",
        "method": "random",
    }
    simulation = on_disk(tmp_path, resolved, curve=sometimes_diverging)
    simulation.run()
    simulation.close()
    return tmp_path, read(tmp_path / FILE_NAME)[0]


def made(name: str, folder: Path) -> Tracker:
    tracker: Tracker = plugins.load("tracker", name).create(folder)
    return tracker


def tell(tracker: Tracker, events: list[Event]) -> StudyState:
    """As a driver does: the state first, then the tracker, which must leave both alone."""
    state = StudyState()
    for event in events:
        state.apply(event)
        before = repr((event, state))
        tracker.on_event(event, state)
        assert repr((event, state)) == before
    return state


@pytest.mark.parametrize("name", NAMES)
def test_a_study_can_be_followed_to_its_end_and_again(
    name: str, study: tuple[Path, list[Event]]
) -> None:
    folder, events = study
    journal = (folder / FILE_NAME).read_bytes()
    for _ in range(2):
        tracker = made(name, folder)
        tell(tracker, events)
        tracker.close(CLOSE_TIMEOUT_S)
    assert (folder / FILE_NAME).read_bytes() == journal


def test_a_study_can_have_all_of_them(
    study: tuple[Path, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder, events = study
    trackers = make.trackers(defined(trackers=[{"name": name} for name in NAMES]), folder)
    assert [name for name, _ in trackers] == NAMES
    for _, tracker in trackers:
        tell(tracker, events)
        tracker.close(CLOSE_TIMEOUT_S)
    assert (folder / "optuna.journal").stat().st_size > 0
    assert len(list((folder / "tensorboard").iterdir())) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_study_that_was_cut_short_can_be_followed_on(
    name: str, study: tuple[Path, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder, events = study
    resumed: Event = {"event": "study_resumed", "time": events[-1]["time"]}
    for cut in range(1, len(events), 5):
        tracker = made(name, folder)
        tell(tracker, [*events[:cut], resumed])
        tracker.close(CLOSE_TIMEOUT_S)


@pytest.mark.parametrize("name", NAMES)
def test_events_of_another_version_are_no_trouble(
    name: str, study: tuple[Path, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder, events = study
    tracker = made(name, folder)
    tell(tracker, [*events[:4], {"event": "something_new", "time": 1.0, "trial": "0000"}])
    tracker.close(CLOSE_TIMEOUT_S)


@pytest.mark.parametrize("name", NAMES)
def test_a_tracker_that_saw_nothing_closes_more_than_once(name: str, tmp_path: Path) -> None:
    tracker = made(name, tmp_path)
    tracker.close(CLOSE_TIMEOUT_S)
    tracker.close(CLOSE_TIMEOUT_S)
    assert sorted(os.listdir(tmp_path)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_cannot_be_written_to_is_no_reason_to_raise(
    name: str, study: tuple[Path, list[Event]]
) -> None:
    _, events = study
    tracker = made(name, Path("/dev/null/nowhere"))
    tell(tracker, events)
    tracker.close(CLOSE_TIMEOUT_S)


class Raises:
    """Breaks the contract as far as one can."""

    def on_event(self, event: Event, state: StudyState) -> None:
        raise RuntimeError(event["event"])

    def close(self, timeout_s: float) -> None:
        raise RuntimeError("close")


@pytest.mark.parametrize("name", NAMES)
def test_one_that_raises_is_no_trouble_for_another(
    name: str, study: tuple[Path, list[Event]], caplog: pytest.LogCaptureFixture
) -> None:
    folder, events = study
    raises: Tracker = Raises()
    group = TrackerGroup([("first", raises), (name, made(name, folder)), ("last", raises)])
    tell(group, events)
    group.close(CLOSE_TIMEOUT_S)
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(": ")[0] for line in told] == [
        "the tracker first raised RuntimeError",
        "the tracker last raised RuntimeError",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_goes_away_is_told_of_at_most_once(
    name: str, study: tuple[Path, list[Event]], caplog: pytest.LogCaptureFixture
) -> None:
    folder, events = study
    group = TrackerGroup([(name, made(name, folder))])
    tell(group, events[:9])
    shutil.rmtree(folder)
    tell(group, events)
    group.close(CLOSE_TIMEOUT_S)
    assert len(caplog.records) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_options_are_keywords_with_defaults(name: str) -> None:
    module = plugins.load("tracker", name)
    assert plugins.option_problems(module, {}, "") == []
    assert plugins.option_problems(module, {"no_such_option": 1}, "")
