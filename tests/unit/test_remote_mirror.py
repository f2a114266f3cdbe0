"""What any tracker of a remote service gets: a process, patience, a lock, a ledger; without W&B."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.files_mirror import FILES, PLACE, FileService
from tests.support.story import Story
from tune_app.trackers._remote_ledger import Ledger
from tune_app.trackers._remote_mirror import Busy, Patience, keep_up, locked
from tune_app.trackers._remote_pass import Mirror, ServiceUnavailable
from tune_app.trackers._remote_process import RemoteTracker

SOON_S = (0.05,)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs go."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.setenv(PLACE, str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The study's."""
    made = tmp_path / "tiny"
    made.mkdir()
    return made


def runs(place: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(place.glob("[0-9]*.json"))}


def calls(place: Path, verb: str) -> list[str]:
    lines = (place / "calls").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith(verb)]


def check(place: Path, story: Story) -> None:
    """Holds the service's files against the journal's state."""
    assert sorted(runs(place)) == sorted(story.state.trials)
    for name, run in runs(place).items():
        trial = story.state.trials[name]
        assert [tokens for tokens, _ in run["rows"]] == [r.tokens for r in trial.reports]
        assert run["outcome"] == str(trial.outcome or "")
        assert run["finished"]


def once(service: FileService, folder: Path) -> bool:
    """Brings the service up to what the journal holds now."""
    with locked(FILES.home(folder), wait=True):
        return keep_up(service, folder, lambda: True, patience_s=0.2, waits_s=SOON_S)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"never happened: {what}")


def test_the_driver_starts_a_process_that_writes_what_the_journal_says(
    place: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(folder, RemoteTracker(folder, FILES))
    story.start()
    story.three_trials()
    story.tell("study_ended", reason="done")
    assert story.tracker is not None
    story.tracker.close(60)
    check(place, story)
    assert (folder / "logs" / "files_mirror.log").read_text() == ""
    assert not caplog.records


def test_the_process_tells_once_that_nobody_answers_and_writes_all_when_somebody_does(
    place: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "away").touch()
    story = Story(folder, RemoteTracker(folder, FILES))
    with caplog.at_level(logging.WARNING):
        story.start()
        story.complete(0)

        def is_told() -> bool:
            story.tell("finding", text="time goes by")
            return bool(caplog.records)

        wait_for(is_told, "a warning")
        (place / "away").unlink()
        story.complete(1)
        story.tell("study_ended", reason="done")
        assert story.tracker is not None
        story.tracker.close(60)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "Files mirror waits: nobody answers; later: python -m tune_app mirror-files tiny"
    )
    check(place, story)


def test_patience_ends_when_the_service_stays_away_and_the_next_mirror_completes_it(
    place: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "away").touch()
    story = Story(folder)
    story.start()
    story.three_trials()
    assert not once(FileService(place), folder)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tune_app: ")]
    assert len(told) == 2
    assert told[1].endswith("`python -m tune_app mirror-files tiny` writes the missing runs")
    assert runs(place) == {}
    (place / "away").unlink()
    assert once(FileService(place), folder)
    check(place, story)


def test_a_service_that_is_away_for_a_while_gets_all_of_it(place: Path, folder: Path) -> None:
    story = Story(folder)
    story.start()
    story.three_trials()
    (place / "away").touch()
    back = threading.Timer(0.3, (place / "away").unlink)
    back.start()
    with locked(FILES.home(folder), wait=True):
        assert keep_up(FileService(place), folder, lambda: True, patience_s=60, waits_s=SOON_S)
    check(place, story)


def test_nobody_is_waited_for_before_the_word_to_end(place: Path) -> None:
    asked: list[bool] = []

    def is_told() -> bool:
        asked.append(True)
        return len(asked) > 3

    patience = Patience(is_told, patience_s=0.0, waits_s=SOON_S)
    tries = 0
    while not patience.is_over():
        tries += 1
    assert len(asked) == 4
    assert tries > 0


@pytest.mark.parametrize("is_live", [True, False])
def test_what_is_in_the_ledger_is_not_written_again(
    place: Path, folder: Path, is_live: bool
) -> None:
    story = Story(folder)
    story.start()
    story.three_trials()
    assert once(FileService(place, is_live), folder)
    first = calls(place, "finish")
    assert sorted(first) == ["0000", "0001", "0002"]
    assert once(FileService(place, is_live), folder)
    assert calls(place, "finish") == first
    story.complete(3)
    assert once(FileService(place, is_live), folder)
    assert calls(place, "finish") == [*first, "0003"]
    check(place, story)


def test_a_run_that_is_gone_from_the_service_is_written_again_where_it_is_asked_for(
    place: Path, folder: Path
) -> None:
    story = Story(folder)
    story.start()
    story.three_trials()
    assert once(FileService(place), folder)
    (place / "0001.json").unlink()
    mirror = Mirror(FileService(place), folder, is_checking=True)
    mirror.run(lambda: True, poll_s=0.0)
    assert (mirror.written, mirror.kept) == (1, 2)
    check(place, story)


def test_a_run_is_seen_while_its_trial_runs_where_the_service_is_live(
    place: Path, folder: Path
) -> None:
    story = Story(folder)
    story.start()
    trial = story.begin(0)
    story.report(trial, 10, 4.0, rung=0)
    steps: list[int] = []

    def is_told() -> bool:
        if runs(place):
            steps.append(len(runs(place)["0000"]["rows"]))
            story.report(trial, 10 * (len(steps) + 1), 3.0)
        return bool(steps) and steps[-1] >= 3

    with locked(FILES.home(folder), wait=True):
        Mirror(FileService(place), folder).run(is_told, poll_s=0.0)
    assert sorted(set(steps)) == [1, 2, 3]
    assert story.state.trials[trial].outcome is None


def test_two_mirrors_of_one_study_do_not_meet(place: Path, folder: Path) -> None:
    def second() -> None:
        with locked(FILES.home(folder), wait=False):
            pytest.fail("both have the lock")

    with locked(FILES.home(folder), wait=True), pytest.raises(Busy):
        second()


def test_a_mirror_that_is_killed_half_way_is_completed_by_the_next(
    place: Path, folder: Path
) -> None:
    story = Story(folder)
    story.start()
    for number in range(30):
        story.complete(number)
    command = [sys.executable, "-m", FILES.module, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    wait_for(lambda: len(runs(place)) >= 3, "three runs are written")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert once(FileService(place), folder)
    check(place, story)


def test_what_a_client_raises_is_told_in_a_few_words(place: Path, folder: Path) -> None:
    class Broken(FileService):
        def client(self, *_: Any) -> Any:
            class Client:
                place, is_off, is_live = "somewhere", False, True

                def begin(self, *_: Any) -> None:
                    raise OSError(28, "No space left on device")

            return Client()

    story = Story(folder)
    story.start()
    story.complete(0)
    FILES.home(folder).mkdir()
    with pytest.raises(ServiceUnavailable) as caught:
        Mirror(Broken(place), folder).run(lambda: True, poll_s=0.0)
    assert caught.value.reason == "No space left on device"
    assert caught.value.trial == "0000"


def test_none_of_it_knows_wandb(place: Path, folder: Path) -> None:
    story = Story(folder)
    story.start()
    story.complete(0)
    program = (
        "import runpy, sys\n"
        "sys.modules['wandb'] = None\n"
        "sys.argv = ['mirror', sys.argv[1]]\n"
        "try:\n"
        "    runpy.run_module('tests.support.files_mirror', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "print([name for name in sys.modules if 'wandb' in name])\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.stdout.strip() == "['wandb']", done.stderr
    check(place, story)


def test_a_torn_ledger_forgets_only_its_last_line(tmp_path: Path) -> None:
    Ledger(tmp_path, "offline p").add("0000", "run", "d")
    with open(tmp_path / "mirrored.jsonl", "ab") as file:
        file.write(b'{"trial": "00')
    again = Ledger(tmp_path, "offline p")
    assert again.has("0000", "d")
    again.add("0001", "run", "d")
    whole = Ledger(tmp_path, "offline p")
    assert whole.has("0000", "d")
    assert whole.has("0001", "d")


def test_what_is_written_in_one_place_is_not_written_in_another(tmp_path: Path) -> None:
    Ledger(tmp_path, "offline p").add("0000", "run", "d")
    assert Ledger(tmp_path, "offline p").has("0000", "d")
    assert not Ledger(tmp_path, "offline p").has("0000", "another")
    assert not Ledger(tmp_path, "https://wandb.example.org p").has("0000", "d")
