"""How tests know what they have started from all else that runs on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import processes

SLEEPS = "import time; time.sleep(600)"
WORDS = ("-m", "tune_app", "run", "raylet/raylet", "gcs_server", "ray::ImplicitFunc")
"""As the command line of somebody's study, which it is not."""

Start = Callable[[dict[str, str]], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    running = []

    def start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", SLEEPS, *WORDS], env=environment)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.parametrize("mark", [{}, {processes.MARK: "of other tests"}], ids=["none", "another"])
def test_a_study_of_somebody_else_on_the_machine_is_not_counted(
    start: Start, mark: dict[str, str]
) -> None:
    before = processes.started()
    others = {name: value for name, value in os.environ.items() if name != processes.MARK}
    process = start(others | mark)
    assert process.pid not in [found.pid for found in processes.started()]
    assert processes.left_behind(before, patience_s=0) == []


def test_what_a_test_started_is_counted_though_its_parent_has_gone(tmp_path: Path) -> None:
    before = processes.started()
    command = [sys.executable, "-c", SLEEPS, *WORDS, str(tmp_path)]
    leave = f"import subprocess; subprocess.Popen({command!r}, start_new_session=True)"
    subprocess.run([sys.executable, "-c", leave], check=True)
    (orphan,) = processes.started(str(tmp_path))
    try:
        assert processes.below(os.getpid(), str(tmp_path)) == []
        (line,) = processes.left_behind(before, patience_s=0)
        assert str(tmp_path) in line
    finally:
        processes.end([orphan])
    psutil.wait_procs([orphan], timeout=30)
    assert processes.left_behind(before, patience_s=30) == []


def test_a_process_that_renames_itself_as_those_of_ray_do_is_still_known(tmp_path: Path) -> None:
    rename = (
        "import ray, sys, time; from ray._raylet import setproctitle; "
        "setproctitle('ray::' + 'ImplicitFunc' * 400); print('renamed', flush=True); "
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", rename], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"renamed\n"
        assert process.pid in [found.pid for found in processes.started("ray::ImplicitFunc")]
    finally:
        process.kill()
        process.communicate()
