"""Which checkpoints stay, and what is given up when the disk has a limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated import (
    InTurn,
    MemoryJournal,
    Simulation,
    document,
    sometimes_diverging,
)
from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, Status, TrialState
from tune_app.errors import UserError
from tune_app.storage.checkpoints import FolderCheckpoints
from tune_app.storage.retention import Retention
from tune_app.storage.store import StorageFailed

SIZE = 1000


class CheckpointStore:
    """Checkpoints of one size, put there as trials report them."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.most = 0
        self.broken = False

    def sizes(self) -> dict[str, int]:
        return dict.fromkeys(self.held, SIZE)

    def size(self, name: str) -> int:
        if self.broken:
            raise StorageFailed("no answer")
        return SIZE * (name in self.held)

    def remove(self, name: str) -> None:
        self.held.remove(name)

    def clean(self, trial: str) -> None:
        """Nothing is half written."""

    def publish(self, folder: Path, trial: str, step: int) -> str:
        raise AssertionError

    def fetch(self, name: str) -> Path:
        raise AssertionError


class Worker:
    """Stores what a report names, and loads what a segment begins from."""

    def __init__(self, checkpoints: CheckpointStore) -> None:
        self._checkpoints = checkpoints

    def on_event(self, event: Event, state: StudyState) -> None:
        name = event.get("checkpoint")
        if event["event"] == "segment_started":
            assert name is None or name in self._checkpoints.held
        elif name:
            self._checkpoints.held.add(name)


class Eye:
    """Sees how full the store is after each event."""

    def __init__(self, checkpoints: CheckpointStore) -> None:
        self._checkpoints = checkpoints

    def on_event(self, event: Event, state: StudyState) -> None:
        self._checkpoints.most = max(self._checkpoints.most, len(self._checkpoints.held))


def name_of(trial: TrialState) -> str | None:
    """Of its checkpoint."""
    return trial.checkpoint.name if trial.checkpoint else None


def searched(checkpoints: CheckpointStore, **options: Any) -> Simulation:
    keeper = InTurn(Worker(checkpoints), Retention(checkpoints, **options), Eye(checkpoints))
    simulation = Simulation(document(trials=20), journal=MemoryJournal(), keeper=keeper, workers=3)
    simulation.run()
    return simulation


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_the_best_stay_and_all_else_goes(keep: int) -> None:
    checkpoints = CheckpointStore()
    state = searched(checkpoints, keep=keep).conductor.state
    best = state.completed()[:keep]
    assert checkpoints.held == {name_of(trial) for trial in best}


def test_with_a_cap_the_worst_of_the_best_go_first_and_the_search_is_the_same() -> None:
    needed, free, tight = CheckpointStore(), CheckpointStore(), CheckpointStore()
    searched(needed, keep=0)
    whole = searched(free, keep=8).conductor.state
    cap = needed.most
    assert cap < free.most
    state = searched(tight, keep=8, disk_gb=cap * SIZE / 1e9).conductor.state
    assert tight.most <= cap
    assert [t.outcome for t in state.trials.values()] == [t.outcome for t in whole.trials.values()]
    kept = [name_of(t) in tight.held for t in state.completed()[:8]]
    assert kept[0]
    assert not all(kept)


def test_when_what_trials_need_is_too_much_the_study_stops() -> None:
    with pytest.raises(UserError, match="running and paused trials take"):
        searched(CheckpointStore(), keep=3, disk_gb=SIZE / 1e9)


class Swept:
    """Looks at once what a trial that diverged has left."""

    def __init__(self, checkpoints: CheckpointStore) -> None:
        self._checkpoints = checkpoints
        self.diverged = 0

    def on_event(self, event: Event, state: StudyState) -> None:
        if event.get("outcome") == "diverged":
            self.diverged += 1
            assert not [name for name in self._checkpoints.held if f"/{event['trial']}/" in name]


def test_a_trial_that_diverges_leaves_no_checkpoint() -> None:
    checkpoints = CheckpointStore()
    swept = Swept(checkpoints)
    keeper = InTurn(Worker(checkpoints), Retention(checkpoints), swept)
    resolved = document(trials=20, eta=2)
    state = Simulation(resolved, curve=sometimes_diverging, keeper=keeper).run()
    assert swept.diverged
    assert any(t.outcome is Outcome.DIVERGED and t.checkpoint for t in state.trials.values())


class Counted(Retention):
    """Counts how often a trial is looked at."""

    looks = 0

    def _clear(self, trial: TrialState, state: StudyState, best: list[str]) -> None:
        self.looks += 1
        super()._clear(trial, state, best)


def test_deleting_takes_no_longer_the_more_trials_have_ended() -> None:
    looks = []
    for trials in (50, 100):
        checkpoints = CheckpointStore()
        counted = Counted(checkpoints)
        keeper = InTurn(Worker(checkpoints), counted)
        Simulation(document(trials=trials), keeper=keeper, journal=MemoryJournal()).run()
        looks.append(counted.looks)
    assert looks[1] < 2.5 * looks[0]


def test_what_a_dead_session_left_is_cleared_by_the_next() -> None:
    checkpoints = CheckpointStore()
    state = searched(checkpoints, keep=1).conductor.state
    ended = next(t for t in state.trials.values() if name_of(t) not in checkpoints.held)
    checkpoints.held.add(f"checkpoints/{ended.id}/step-1")
    retention = Retention(checkpoints, keep=1)
    last = next(t for t in state.completed())
    event = {"event": "trial_ended", "trial": last.id, "time": 0}
    retention.on_event(event, state)
    assert checkpoints.held == {name_of(last)}


@pytest.mark.parametrize("ended", [True, False])
def test_nothing_is_given_up_while_there_are_leftovers(ended: bool) -> None:
    checkpoints = CheckpointStore()
    simulation = searched(checkpoints, keep=2)
    state = simulation.conductor.state
    kept = set(checkpoints.held)
    assert len(kept) == 2
    loser = next(t for t in state.trials.values() if name_of(t) not in kept)
    if not ended:
        # One that waits, with a checkpoint that it never came to report.
        loser.status, loser.outcome, loser.checkpoint = Status.PAUSED, None, None
    checkpoints.held.add(f"checkpoints/{loser.id}/step-1")
    retention = Retention(checkpoints, keep=2, disk_gb=3.5 * SIZE / 1e9)
    name = saved(checkpoints, state, retention, "0099")
    assert checkpoints.held == {*kept, name}


def saved(checkpoints: CheckpointStore, state: StudyState, retention: Retention, trial: str) -> str:
    """A new trial with a checkpoint, of which the retention hears."""
    created = {"event": "trial_created", "trial": trial, "number": int(trial), "kind": "search"}
    state.apply({**created, "params": {}, "time": 0})
    name = f"checkpoints/{trial}/step-1"
    report = {"event": "report", "trial": trial, "step": 1, "tokens": 1, "fraction": 0.1}
    report |= {"seconds": 1.0, "metrics": {}, "checkpoint": name, "time": 0}
    state.apply(report)
    checkpoints.held.add(name)
    retention.on_event(report, state)
    return name


def test_a_size_that_the_storage_does_not_tell_is_asked_for_later() -> None:
    checkpoints = CheckpointStore()
    state = searched(checkpoints, keep=2).conductor.state
    best, second = (str(name_of(trial)) for trial in state.completed()[:2])
    retention = Retention(checkpoints, keep=2, disk_gb=4.5 * SIZE / 1e9)
    checkpoints.broken = True
    names = {saved(checkpoints, state, retention, trial) for trial in ("0098", "0099")}
    assert checkpoints.held == {best, second, *names}
    checkpoints.broken = False
    names.add(saved(checkpoints, state, retention, "0097"))
    assert checkpoints.held == {best, *names}


class Killed:
    """Leaves what a worker that is killed while it saves has written until then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.left: list[Path] = []

    def on_event(self, event: Event, state: StudyState) -> None:
        if event["event"] == "segment_started":
            assert not any(
                path.exists() for path in self.left if path.parent.name == event["trial"]
            )
            work = self._folder / "checkpoints" / event["trial"] / f".work-{len(self.left)}"
            (work / "checkpoint-3").mkdir(parents=True)
            self.left.append(work)


def test_what_killed_workers_left_half_written_goes_with_the_next_segment_or_the_trial(
    tmp_path: Path,
) -> None:
    killed = Killed(tmp_path)
    keeper = InTurn(Retention(FolderCheckpoints(tmp_path)), killed)
    simulation = Simulation(document(trials=20), keeper=keeper, journal=MemoryJournal(), death=0.3)
    state = simulation.run()
    assert sum(trial.losses for trial in state.trials.values())
    assert len(killed.left) > len(state.trials)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_what_came_after_the_end_of_a_trial_is_swept_by_the_next_session(tmp_path: Path) -> None:
    state = searched(CheckpointStore()).conductor.state
    (tmp_path / "checkpoints" / "0000" / ".work-1" / "checkpoint-3").mkdir(parents=True)
    (tmp_path / "checkpoints" / "0001" / "step-1").mkdir(parents=True)
    event = {"event": "finding", "text": "", "time": 0}
    Retention(FolderCheckpoints(tmp_path)).on_event(event, state)
    assert not (tmp_path / "checkpoints" / "0000").exists()
