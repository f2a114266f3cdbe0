"""What a bucket holds at each moment of a session: a machine may be lost at any of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.memory_bucket import MemoryBucket
from tune_app.core.journal import FILE_NAME, Journal, is_locked, read
from tune_app.storage import journals
from tune_app.storage.bucket_study import BucketStudy
from tune_app.storage.checkpoints import BucketCheckpoints
from tune_app.storage.study import FolderStudy


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


def session(bucket: MemoryBucket, folder: Path) -> tuple[BucketStudy, Journal]:
    folder.mkdir(exist_ok=True)
    study = BucketStudy(bucket, folder)
    pen = Journal(folder, backing=study)
    study.open_session()
    return study, pen


def saved(study: BucketStudy, step: int) -> str:
    """A checkpoint, as a worker brings it to the bucket."""
    work = study.folder / "work"
    work.mkdir()
    (work / "model.safetensors").write_text("weights")
    return study.checkpoints.publish(work, "0000", step)


def let_removals_end(study: BucketStudy) -> None:
    assert isinstance(study.checkpoints, BucketCheckpoints)
    study.checkpoints._removals.shutdown()
    study.checkpoints._removals = ThreadPoolExecutor(1)


def elsewhere(bucket: MemoryBucket, folder: Path) -> BucketStudy:
    """The study as another machine has it, which only knows the bucket."""
    folder.mkdir()
    study = BucketStudy(bucket, folder)
    study.refresh()
    return study


@pytest.mark.parametrize("rung", [None, 1])
def test_a_checkpoint_stays_until_the_bucket_has_the_report_that_replaces_it(
    bucket: MemoryBucket, tmp_path: Path, rung: int | None
) -> None:
    study, pen = session(bucket, tmp_path / "a")
    old = saved(study, 5)
    pen.append("report", step=5, rung=0, checkpoint=old)
    pen.commit()
    new = saved(study, 10)
    pen.append("report", step=10, rung=rung, checkpoint=new)
    study.checkpoints.remove(old)
    let_removals_end(study)
    other = elsewhere(bucket, tmp_path / "b")
    assert new not in (other.folder / FILE_NAME).read_text()
    assert other.checkpoints.fetch(old).is_dir()

    study._on_beat()
    let_removals_end(study)
    assert study.checkpoints.sizes().keys() == {new}
    assert new.encode() in b"".join(data for data, _ in bucket.held.values())
    pen.close()
    study.close_session()


def test_what_a_failed_push_leaves_is_removed_after_the_next(
    bucket: MemoryBucket, tmp_path: Path
) -> None:
    study, pen = session(bucket, tmp_path / "a")
    old = saved(study, 5)
    pen.append("trial_ended", trial="0000")
    study.checkpoints.remove(old)
    bucket.broken = True
    study._on_beat()
    bucket.broken = False
    let_removals_end(study)
    assert study.checkpoints.sizes().keys() == {old}
    pen.commit()
    let_removals_end(study)
    assert not study.checkpoints.sizes()
    pen.close()
    study.close_session()


@pytest.mark.parametrize("tail", [b'{"event":"report","step":12345', b"\0\0\0\n"])
def test_a_sign_of_life_before_the_repair_of_a_torn_line_leaves_it_out(
    bucket: MemoryBucket, tmp_path: Path, tail: bytes
) -> None:
    study, pen = session(bucket, tmp_path / "a")
    pen.append("one")
    pen.commit()
    pen.close()
    study.close_session()
    with open(pen.path, "ab") as file:
        file.write(tail)
    study, pen = session(bucket, tmp_path / "a")
    study._on_beat()
    _, torn = read(pen.path)
    assert torn is not None
    pen.repair(torn)
    pen.append("two")
    pen.commit()
    assert journals.read(bucket) == pen.path.read_bytes()
    pen.close()
    study.close_session()


def test_half_a_line_is_not_pushed(bucket: MemoryBucket, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"one\n")
    pusher = journals.Pusher(bucket, path, "me")
    for text in (b"two\n", b"thr", b"ee\n"):
        with open(path, "ab") as file:
            file.write(text)
        pusher.push()
        assert journals.read(bucket) == path.read_bytes().removesuffix(b"thr")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_disk_that_is_gone_raises_nothing_into_what_a_signal_interrupted(
    bucket: MemoryBucket, tmp_path: Path, wanted: bool
) -> None:
    gone = tmp_path / "a file" / "study"
    gone.parent.touch()
    FolderStudy(gone).stop(wanted)
    BucketStudy(bucket, gone).stop(wanted)


def test_who_reads_a_study_on_this_machine_keeps_no_driver_from_starting(
    bucket: MemoryBucket, tmp_path: Path
) -> None:
    study, pen = session(bucket, tmp_path)
    pen.append("trial_ended", trial="0000")
    pen.commit()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            BucketStudy(bucket, tmp_path).refresh()

    with ThreadPoolExecutor(4) as readers:
        looks = [readers.submit(look) for _ in range(4)]
        try:
            for _ in range(100):
                pen.close()
                study.close_session()
                study, pen = session(bucket, tmp_path)
                pen.append("trial_ended", trial="0000")
                pen.commit()
        finally:
            done.set()
        for item in looks:
            item.result()
    assert len(read(tmp_path / FILE_NAME)[0]) == 101
    pen.close()
    study.close_session()


def test_a_study_that_is_being_read_does_not_count_as_running(
    bucket: MemoryBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def listing(prefix: str) -> dict[str, str]:
        seen.append(is_locked(tmp_path))
        return {}

    monkeypatch.setattr(bucket, "list", listing)
    BucketStudy(bucket, tmp_path).refresh()
    assert seen == [False]
