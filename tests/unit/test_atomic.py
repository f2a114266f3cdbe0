"""A file is replaced as a whole or not at all, whoever is killed, fails or writes beside us."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tune_app.storage.atomic import replacing, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", ["a line\nпривет\n", b"\x00\r\n\xff", ""])
def test_what_is_written_is_what_is_read(tmp_path: Path, data: str | bytes) -> None:
    path = tmp_path / "there.json"
    for _ in range(2):
        write_atomically(path, data)
        assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert names(tmp_path) == ["there.json"]


def test_a_writer_that_is_killed_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "there.json"
    path.write_text("old")
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tune_app.storage.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as new:\n"
        "    new.write_text('ne')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    leftover = next(name for name in names(tmp_path) if name != "there.json")
    assert leftover.startswith("."), "listings of a study leave hidden files out"
    write_atomically(path, "new")
    assert path.read_text() == "new"


def test_of_two_writers_at_once_neither_gets_a_part_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "there.json"
    with replacing(path) as first:
        first.write_text("a long text of the first")
        with replacing(path) as second:
            second.write_text("of the second")
        assert path.read_text() == "of the second"
    assert path.read_text() == "a long text of the first"
    assert names(tmp_path) == ["there.json"]


@pytest.mark.parametrize("raised", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, raised: BaseException
) -> None:
    path = tmp_path / "there.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as new:
            new.write_text("half of the ne")
            raise raised

    with pytest.raises(type(raised)):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["there.json"]


def test_a_place_that_cannot_be_taken_is_an_error_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    (tmp_path / "there.json").mkdir()
    with pytest.raises(OSError, match=r"there\.json"):
        write_atomically(tmp_path / "there.json", "new")
    assert names(tmp_path) == ["there.json"]
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "there.json", "new")


def test_a_writer_that_goes_by_the_ending_finds_the_same_one(tmp_path: Path) -> None:
    with replacing(tmp_path / "plot.svg") as new:
        assert new.suffix == ".svg"
        new.touch()


def test_a_reader_that_goes_by_a_part_of_the_name_does_not_take_the_new_file_for_one(
    tmp_path: Path,
) -> None:
    """TensorBoard reads all files with such a name, those of a killed writer as well."""
    with replacing(tmp_path / "events.out.tfevents.17") as new:
        assert "tfevents" not in new.name
        new.touch()


def test_others_may_read_the_new_file_as_they_may_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "there.json", "new")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)}
    assert len(modes) == 1


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_file_is_on_the_disk_before_its_name_is_and_its_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def replaced(old: Path, new: Path) -> None:
        done.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    write_atomically(tmp_path / "there.json", "new", durable=durable)
    assert done == (["file", "name", "folder"] if durable else ["name"])
