"""A study in a bucket is mirrored from whichever machine: what W&B has is never doubled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.object_server import object_server
from tests.support.story import DOCUMENT, Story
from tests.support.wandb_server import Server, serving
from tune_app.__main__ import main
from tune_app.core.journal import Journal
from tune_app.storage import places
from tune_app.storage.objects import ObjectStore

URL = "s3://studies/of"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    wandb = pytest.importorskip("wandb")
    with serving(tmp_path) as found, object_server() as bucket:
        for name, value in {**found.environment, **bucket}.items():
            monkeypatch.setenv(name, value)
        # Its settings are kept in the process: each test has another server.
        wandb.teardown()
        yield found
    wandb.teardown()


@pytest.fixture
def ended(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that a machine `first` ran without a mirror."""
    use(monkeypatch, tmp_path / "first")
    study = places.at(URL).create("tiny")
    story = Story(study.folder)
    story.journal.close()
    story.journal = Journal(study.folder, backing=study)
    study.open_session()
    story.start()
    story.three_trials()
    story.tell("study_ended", reason="done")
    study.publish()
    story.journal.close()
    study.close_session()


def use(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Goes to another machine, which has nothing but the bucket's address."""
    monkeypatch.setenv("TUNE_APP_CACHE", str(cache))


def verb(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([words[0], "tiny", "--storage", URL, *words[1:], "--json"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def points(server: Server) -> dict[str, list[int]]:
    runs = server.runs(DOCUMENT["project"])
    return {id: [row["step"] for row in run.history if "step" in row] for id, run in runs.items()}


def sweeps(server: Server) -> list[str]:
    return [id for (id,) in server.store.ask("select id from sweep")]


def test_a_second_machine_knows_what_the_first_has_written(
    server: Server,
    ended: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = verb(capsys, "mirror")
    before = points(server)
    saved = verb(capsys, "panels")
    use(monkeypatch, tmp_path / "second")
    said = verb(capsys, "mirror")
    assert (said["written"], said["kept"]) == (0, first["written"])
    assert verb(capsys, "panels") == saved
    assert points(server) == before
    assert len(sweeps(server)) == 1
    assert len(server.store.ask("select id from view")) == 2


def test_a_ledger_that_is_lost_with_its_machine_doubles_nothing(
    server: Server,
    ended: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As when a driver and its machine are gone before anything was published."""
    first = verb(capsys, "mirror")
    before = points(server)
    bucket = ObjectStore(f"{URL}/tiny")
    for key in list(bucket.list("wandb")):
        bucket.remove(key)
    use(monkeypatch, tmp_path / "second")
    assert verb(capsys, "mirror")["written"] == first["written"]
    assert points(server) == before
    (sweep,) = sweeps(server)
    assert {run.fields["sweep"] for run in server.runs(DOCUMENT["project"]).values()} == {sweep}


def test_offline_runs_of_two_machines_are_one_set(
    server: Server,
    ended: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    first = verb(capsys, "mirror")
    use(monkeypatch, tmp_path / "second")
    said = verb(capsys, "mirror")
    assert (said["written"], said["kept"]) == (0, first["written"])
    runs = list(places.at(URL).study("tiny").folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(runs) == 3
