"""One driver a study where no file lock reaches: claims, their expiry, and who comes back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tune_app.core.journal import FILE_NAME, read
from tune_app.errors import Problem, UserError
from tune_app.storage import catalogue
from tune_app.storage.lease import CLAIMS, LEASE_S, Lease, holders, place_of
from tune_app.storage.store import Entry, FolderStore, StorageFailed
from tune_app.storage.study import FolderStudy


class Shared(FolderStore):
    """A file system that another machine sees too; `broken` while it does not answer."""

    broken = False

    def list(self, prefix: str) -> dict[str, Entry]:
        if self.broken:
            raise StorageFailed("no answer")
        return super().list(prefix)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def age(folder: Path, seconds: float) -> None:
    """Lets all claims be older, as the storage tells it."""
    for path in (folder / CLAIMS).iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_a_second_machine_is_refused_and_told_who_has_the_study(tmp_path: Path) -> None:
    first = Lease(Shared(tmp_path), "machine a", "place")
    with pytest.raises(UserError) as caught:
        Lease(Shared(tmp_path), "machine b", "place")
    (problem,) = caught.value.problems
    assert f"process {os.getpid()} on " in problem.what
    assert ", since 2" in problem.what
    assert re.search("expires in (60|59) s", problem.fix)
    assert [holder.place for holder in holders(Shared(tmp_path))] == ["machine a"]
    first.release()
    assert holders(Shared(tmp_path)) == []
    Lease(Shared(tmp_path), "machine b", "place").release()


def test_the_lease_of_a_dead_driver_expires(tmp_path: Path) -> None:
    Lease(Shared(tmp_path), "machine a", "place")
    age(tmp_path, LEASE_S - 5)
    with pytest.raises(UserError, match=r"expires in [45] s"):
        Lease(Shared(tmp_path), "machine b", "place")
    age(tmp_path, 6)
    second = Lease(Shared(tmp_path), "machine b", "place")
    assert [holder.place for holder in holders(Shared(tmp_path))] == ["machine b"]
    second.release()


def test_on_one_machine_the_second_driver_is_told_at_once_and_need_not_hope(tmp_path: Path) -> None:
    study = FolderStudy(tmp_path)
    pen = catalogue.opened(study)
    with pytest.raises(UserError) as caught:
        catalogue.opened(FolderStudy(tmp_path))
    (problem,) = caught.value.problems
    assert f"already running: process {os.getpid()} on " in problem.what
    assert problem.fix == "wait for it to end, or stop it"
    pen.close()
    study.close_session()
    assert study.holder() is None
    catalogue.opened(FolderStudy(tmp_path)).close()


def test_a_driver_that_lost_its_study_writes_no_line_more(tmp_path: Path) -> None:
    study = FolderStudy(tmp_path)
    pen = catalogue.opened(study)
    pen.append("one")
    assert study._lease is not None
    study._lease._lost = Problem("given to another one")
    with pytest.raises(UserError, match="given to another one"):
        pen.append("two")
    assert [event["event"] for event in read(pen.path)[0]] == ["one"]
    study.delete()
    assert pen.path.exists(), "it is somebody else's"


def test_where_the_file_lock_tells_that_a_driver_is_dead_nobody_waits(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    Lease(Shared(tmp_path), place, "place")
    Lease(Shared(tmp_path), place, "place").release()


def test_a_driver_that_slept_while_another_took_over_stops(tmp_path: Path) -> None:
    clock = Clock()
    sleeper = Lease(Shared(tmp_path), "machine a", "place", now=clock)
    age(tmp_path, LEASE_S + 1)
    second = Lease(Shared(tmp_path), "machine b", "place")
    clock.now += LEASE_S + 1
    for _ in range(2):
        with pytest.raises(UserError, match="given to another one"):
            sleeper.check()
    second.check()


def test_a_late_driver_yields_to_one_that_took_its_claim_for_dead_but_did_not_remove_it(
    tmp_path: Path,
) -> None:
    clock = Clock()
    sleeper = Lease(Shared(tmp_path), "machine a", "place", now=clock)
    (claim,) = (tmp_path / CLAIMS).iterdir()
    text = claim.read_bytes()
    age(tmp_path, LEASE_S + 1)
    Lease(Shared(tmp_path), "machine b", "place")
    # As if the sleeper had written just after it was removed.
    claim.write_bytes(text)
    clock.now += LEASE_S + 1
    with pytest.raises(UserError, match="given to another one"):
        sleeper.check()


def test_a_machine_that_slept_goes_on_when_nobody_took_over(tmp_path: Path) -> None:
    clock = Clock()
    sleeper = Lease(Shared(tmp_path), "machine a", "place", now=clock)
    clock.now += 10 * LEASE_S
    sleeper.check()
    sleeper.release()


def test_a_short_outage_is_waited_for_and_a_long_one_stops_the_driver(tmp_path: Path) -> None:
    clock, store = Clock(), Shared(tmp_path)
    lease = Lease(store, "machine a", "place", now=clock)
    store.broken = True
    clock.now += LEASE_S / 2
    lease.refresh()
    lease.check()
    clock.now += LEASE_S / 2
    with pytest.raises(UserError, match="does not answer any more: no answer"):
        lease.check()


def test_a_claim_that_makes_no_sense_holds_for_its_time(tmp_path: Path) -> None:
    (tmp_path / CLAIMS).mkdir()
    (tmp_path / CLAIMS / "x.json").write_bytes(b"{")
    with pytest.raises(UserError, match="an unknown machine"):
        Lease(Shared(tmp_path), "machine a", "place")
    age(tmp_path, LEASE_S)
    Lease(Shared(tmp_path), "machine a", "place").release()


def test_of_many_that_come_at_once_at_most_one_gets_the_study(tmp_path: Path) -> None:
    code = """
    import random, sys, time
    from pathlib import Path
    from tune_app.errors import UserError
    from tune_app.storage.lease import Lease
    from tune_app.storage.store import FolderStore
    print("ready", flush=True)
    sys.stdin.readline()
    # Those that meet may all step back, and then come again at other times.
    deadline, had = time.monotonic() + 60, 0
    while had < 3 and time.monotonic() < deadline:
        try:
            lease = Lease(FolderStore(Path(sys.argv[1])), sys.argv[2], "place")
        except UserError:
            time.sleep(random.uniform(0.0, 0.02))
            continue
        inside = Path(sys.argv[1]) / "inside"
        inside.mkdir()
        time.sleep(0.002)
        inside.rmdir()
        lease.release()
        had += 1
    print(had)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    racers = [
        subprocess.Popen([*command, f"machine {number}"], text=True, **pipes)  # type: ignore[call-overload]
        for number in range(4)
    ]
    for racer in racers:
        racer.stdout.readline()
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=120) for racer in racers]
    assert [err for _, err in said if err] == []
    assert [int(out) for out, _ in said] == [3] * 4


def test_a_container_with_a_disk_of_its_own_is_another_place(tmp_path: Path) -> None:
    folder, others = tmp_path / "study", tmp_path / "other" / "study"
    others.mkdir(parents=True)
    folder.mkdir()
    (folder / FILE_NAME).touch()
    (others / FILE_NAME).touch()
    first = place_of(folder)
    Lease(Shared(tmp_path), first, "place")
    (folder / FILE_NAME).write_text("grows\n")
    assert place_of(folder) == first
    # What another container has mounted under the same path.
    folder.rename(tmp_path / "away")
    others.rename(folder)
    with pytest.raises(UserError, match="already running"):
        Lease(Shared(tmp_path), place_of(folder), "place")
