"""Studies in a bucket of a real S3 server: the journal, the checkpoints, what breaks on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.object_server import object_server
from tune_app.core.journal import FILE_NAME, Journal
from tune_app.errors import UserError
from tune_app.storage import journals, objects, places
from tune_app.storage.bucket_study import BucketStudy
from tune_app.storage.checkpoints import MANIFEST, BucketCheckpoints, FolderCheckpoints, check
from tune_app.storage.journals import Pusher
from tune_app.storage.objects import ObjectStore
from tune_app.storage.store import StorageFailed

count = iter(range(10**9))


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_server() as environment:
        yield environment


@pytest.fixture
def url(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return f"s3://studies/{next(count)}"


@pytest.fixture
def store(url: str) -> ObjectStore:
    return ObjectStore(url)


def checkpoint(folder: Path, text: str = "weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(text)
    (folder / "optimizer.pt").write_bytes(b"\0" * 1000)
    return folder


def test_what_is_written_is_read_listed_and_removed(store: ObjectStore) -> None:
    store.write("a/b", b"one")
    store.write("a/c/d", b"")
    assert store.read("a/b") == b"one"
    assert {key: entry.size for key, entry in store.list("").items()} == {"a/b": 3, "a/c/d": 0}
    assert store.list("a").keys() == {"a/b", "a/c/d"}
    assert store.folders("a") == ["c"]
    store.remove("a/b")
    store.remove("a/b")
    store.remove_folder("a")
    store.remove_folder("a")
    assert store.list("a") == {}
    with pytest.raises(FileNotFoundError):
        store.read("a/b")


@pytest.mark.parametrize(
    "wrong",
    ["s3://k:secret@b/x", "s3://b/x?access_key=secret", "ftp://b/x", "s3:///x", "s3://b/../x"],
)
def test_a_url_that_is_no_bucket_or_holds_credentials_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(UserError) as caught:
        places.at(wrong)
    assert "secret" not in str(caught.value)


def test_a_storage_that_is_away_is_told_after_some_tries(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(objects, "TRIES", 3)
    pauses: list[float] = []
    with pytest.raises(StorageFailed, match="Could not connect"):
        ObjectStore(url, sleep=pauses.append).write("a", b"")
    assert len(pauses) == 2


def test_a_storage_that_fails_now_and_then_loses_nothing(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(store.url, sleep=lambda seconds: None)
    whole, calls = ObjectStore._write, iter(range(10**6))

    def failing(self: ObjectStore, key: str, data: bytes) -> None:
        if next(calls) % 3:
            raise OSError("AWS Error SLOW_DOWN")
        whole(self, key, data)

    monkeypatch.setattr(ObjectStore, "_write", failing)
    path = tmp_path / FILE_NAME
    path.touch()
    pusher = Pusher(store, path, "me")
    for number in range(10):
        with open(path, "ab") as file:
            file.write(f"line {number}\n".encode())
        pusher.push()
    assert journals.read(store) == path.read_bytes()


def test_a_journal_is_pushed_in_chunks_and_read_back_whole(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "CHUNK_BYTES", 300)
    path = tmp_path / FILE_NAME
    path.write_bytes(b"begun before\n")
    pusher = Pusher(store, path, "me")
    for number in range(12):
        with open(path, "ab") as file:
            file.write(f"line {number}\n".encode() * 9)
        pusher.push()
        assert journals.read(store) == path.read_bytes()
    assert len(store.list("journal")) > 2


def test_a_driver_that_lost_its_lease_unknowing_writes_what_nobody_reads(
    store: ObjectStore, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"one\n")
    zombie = Pusher(store, old, "old")
    zombie.push()
    new.write_bytes(journals.read(store) + b"two\n")
    Pusher(store, new, "new").push()
    with open(old, "ab") as file:
        file.write(b"from the grave\n")
    zombie.push()
    assert journals.read(store) == b"one\ntwo\n"


def test_a_session_that_died_before_its_first_push_hides_nothing(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"one\n")
    Pusher(store, path, "a").push()
    Pusher(store, path, "b")
    assert journals.read(store) == b"one\n"
    for token in "cdef":
        Pusher(store, path, token).push()
    assert len(journals.sessions(store)) == 2


def test_a_study_goes_on_from_an_empty_cache_and_from_a_fuller_one(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_APP_CACHE", str(tmp_path / "a"))
    first = places.at(url).create("s")
    pen = Journal(first.folder, backing=first)
    first.open_session()
    pen.append("one")
    pen.append("report", rung=None)
    pen.commit()
    pen.append("report", rung=None)
    pen.commit()
    whole = pen.path.read_bytes()
    pushed = journals.read(ObjectStore(f"{url}/s"))
    assert whole.startswith(pushed)
    assert pushed.count(b"\n") == 2, "a report that decides nothing may wait"
    (first.folder / "report" / "report.md").write_text("found")
    first.publish()
    pen.close()
    # It dies, and its lease expires.
    assert isinstance(first, BucketStudy)
    assert first._lease is not None
    first._lease.release()

    here = places.at(url).study("s")
    here.refresh()
    assert (here.folder / FILE_NAME).read_bytes() == whole, "this machine knows more"
    monkeypatch.setenv("TUNE_APP_CACHE", str(tmp_path / "b"))
    assert places.at(url).names() == ["s"]
    there = places.at(url).study("s")
    pen = Journal(there.folder, backing=there)
    there.open_session()
    assert pen.path.read_bytes() == pushed
    assert (there.folder / "report" / "report.md").read_text() == "found"
    pen.append("two")
    pen.commit()
    pen.close()
    there.close_session()
    here.refresh()
    assert (here.folder / FILE_NAME).read_bytes() == (there.folder / FILE_NAME).read_bytes()


def test_a_checkpoint_counts_when_it_is_complete_and_reaches_another_node(
    store: ObjectStore, tmp_path: Path
) -> None:
    checkpoints = BucketCheckpoints(store, tmp_path / "node")
    name = checkpoints.publish(checkpoint(tmp_path / "work"), "0003", 12)
    assert name == "checkpoints/0003/step-12"
    other = BucketCheckpoints(store, tmp_path / "other")
    assert (other.fetch(name) / "model.safetensors").read_text() == "weights"
    assert other.sizes().keys() == {name}
    store.remove(f"{name}/{MANIFEST}")
    with pytest.raises(StorageFailed, match="no complete checkpoint"):
        BucketCheckpoints(store, tmp_path / "third").fetch(name)


def test_a_copy_of_an_earlier_study_of_the_same_name_is_not_taken_for_the_checkpoint(
    store: ObjectStore, tmp_path: Path
) -> None:
    node = BucketCheckpoints(store, tmp_path / "node")
    name = node.publish(checkpoint(tmp_path / "old", "old"), "0000", 1)
    elsewhere = BucketCheckpoints(store, tmp_path / "elsewhere")
    elsewhere.publish(checkpoint(tmp_path / "new", "new"), "0000", 1)
    assert (node.fetch(name) / "model.safetensors").read_text() == "new"


def test_a_damaged_or_hostile_checkpoint_in_a_bucket_reaches_no_disk(
    store: ObjectStore, tmp_path: Path
) -> None:
    name = BucketCheckpoints(store, tmp_path / "a").publish(checkpoint(tmp_path / "w"), "0000", 1)
    store.write(f"{name}/model.safetensors", b"tampered")
    with pytest.raises(StorageFailed, match="safetensors is damaged"):
        BucketCheckpoints(store, tmp_path / "b").fetch(name)
    for file in ("../../../escaped", "/escaped", "a/b", "..", ""):
        files = {file: {"bytes": 1, "sha256": ""}}
        store.write(f"{name}/{MANIFEST}", json.dumps({"files": files}).encode())
        with pytest.raises(StorageFailed, match="not names of files"):
            BucketCheckpoints(store, tmp_path / "b").fetch(name)
    store.write(f"{name}/{MANIFEST}", b"[" * 100_000)
    with pytest.raises(StorageFailed, match="not a manifest"):
        BucketCheckpoints(store, tmp_path / "b").fetch(name)
    assert not list((tmp_path / "b").rglob("*.safetensors"))
    assert not list(tmp_path.rglob("escaped*"))


def test_a_name_in_a_bucket_that_leaves_the_study_is_refused(
    url: str, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_APP_CACHE", str(tmp_path / "cache"))
    study = places.at(url).create("s")
    (study.folder / "sub").symlink_to(tmp_path)
    store.below("s").write("sub/escaped", b"x")
    pen = Journal(study.folder, backing=study)
    with pytest.raises(UserError, match="leaves the study's folder"):
        study.open_session()
    pen.close()
    assert not (tmp_path / "escaped").exists()


def test_a_checkpoint_is_published_whole_and_once(tmp_path: Path) -> None:
    checkpoints = FolderCheckpoints(tmp_path)
    name = checkpoints.publish(checkpoint(tmp_path / "work"), "0000", 3)
    again = checkpoints.publish(checkpoint(tmp_path / "again", "other"), "0000", 3)
    assert name == again
    assert (checkpoints.fetch(name) / "model.safetensors").read_text() == "weights"
    assert checkpoints.sizes() == {name: 1007}
    checkpoints.remove(name)
    assert checkpoints.sizes() == {}


def test_a_checkpoint_that_is_not_there_is_the_storage_s_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="step-3: no such checkpoint"):
        FolderCheckpoints(tmp_path).fetch("checkpoints/0000/step-3")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("pytorch_model.bin", b"pickle"),
        ("model.safetensors.index.json", b'{"weight_map": {"w": "../../secret.safetensors"}}'),
        ("model.safetensors.index.json", b'{"weight_map": {"w": "/etc/passwd"}}'),
        ("model.safetensors.index.json", b"[]"),
        ("global_step3", None),
    ],
)
def test_a_checkpoint_with_what_trials_do_not_write_is_refused(
    tmp_path: Path, file: str, content: bytes | None
) -> None:
    path = checkpoint(tmp_path / "step-1")
    check(path)
    if content is None:
        (path / file).symlink_to("/etc")
    else:
        (path / file).write_bytes(content)
    with pytest.raises(UserError) as caught:
        check(path)
    assert caught.value.problems[0].where == str(path / file)


def test_a_link_on_the_way_to_a_checkpoint_is_not_followed(tmp_path: Path) -> None:
    study, outside = tmp_path / "study", tmp_path / "outside"
    checkpoint(outside / "step-1")
    (study / "checkpoints").mkdir(parents=True)
    os.symlink(outside, study / "checkpoints" / "0000")
    for act in (FolderCheckpoints(study).fetch, FolderCheckpoints(study).remove):
        with pytest.raises(UserError, match="leaves the study's folder"):
            act("checkpoints/0000/step-1")
    assert (outside / "step-1" / "model.safetensors").exists()
