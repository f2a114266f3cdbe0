"""Which checkpoints stay on disk, whatever was killed in between."""

from __future__ import annotations

from pathlib import Path

from tests.unit.simulation import MemoryJournal, Simulation, document, sometimes_diverging
from tests.unit.test_pbt import Disk
from tune_app.engine.checkpoints import KEEP_BEST, Retention
from tune_app.journal import Event
from tune_app.state import StudyState
from tune_app.trial import Outcome, TrialState


def left(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("checkpoints/*/step-*"))


def best(state: StudyState) -> list[str]:
    return sorted(trial.id for trial in state.completed()[:KEEP_BEST])


def test_what_a_killed_driver_left_behind_is_deleted_on_resume(tmp_path: Path) -> None:
    first = Simulation(document(trials=8), trackers=[Disk(tmp_path), Retention(tmp_path)])
    first.run(die_after=20)
    needed = left(tmp_path)
    for trial in ("0000", "0001", "0002"):
        (tmp_path / "checkpoints" / trial / "step-2").mkdir(parents=True)
    again = Simulation(
        document(trials=8), events=first.events, trackers=[Disk(tmp_path), Retention(tmp_path)]
    )
    assert left(tmp_path) == needed
    state = again.run()
    assert left(tmp_path) == best(state) != needed


class Swept:
    """Looks at once what a trial that diverged has left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.diverged = 0

    def on_event(self, event: Event, state: StudyState) -> None:
        if event.get("outcome") == "diverged":
            self.diverged += 1
            assert event["trial"] not in left(self._folder)

    def close(self, timeout_s: float) -> None:
        """Nothing to close."""


def test_a_trial_that_diverges_leaves_no_checkpoint(tmp_path: Path) -> None:
    swept = Swept(tmp_path)
    trackers = [Disk(tmp_path), Retention(tmp_path), swept]
    resolved = document(trials=20, eta=2)
    state = Simulation(resolved, curve=sometimes_diverging, trackers=trackers).run()
    assert swept.diverged
    assert any(t.outcome is Outcome.DIVERGED and t.checkpoint for t in state.trials.values())


class Counted(Retention):
    """Counts how often a trial's folder is looked at."""

    looks = 0

    def _clear(self, trial: TrialState, state: StudyState) -> None:
        self.looks += 1
        super()._clear(trial, state)


def test_deleting_takes_no_longer_the_more_trials_have_ended(tmp_path: Path) -> None:
    looks = []
    for trials in (50, 100):
        counted = Counted(tmp_path)
        Simulation(document(trials=trials), trackers=[counted], journal=MemoryJournal()).run()
        looks.append(counted.looks)
    assert looks[1] < 2.5 * looks[0]
