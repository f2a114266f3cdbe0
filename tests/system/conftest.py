"""Runs the command line as a person does: real Ray, real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import processes

SMALL = Path(__file__).parent / "small.yaml"
TIMEOUT_S = 300


@dataclass
class Shell:
    """A working folder with its own studies; all share the cache of prepared data."""

    folder: Path
    cache: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(
        self, *words: str, program: tuple[str, ...] = ("-m", "tune_app")
    ) -> subprocess.Popen[str]:
        """Starts a verb in a process group of its own, as a shell does."""
        inherited = {name: v for name, v in os.environ.items() if name != "WANDB_API_KEY"}
        environment = {**inherited, "TUNE_APP_CACHE": str(self.cache), **self.environment}
        return subprocess.Popen(
            [sys.executable, *program, *words],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def study(self, name: str) -> Path:
        return self.folder / "studies" / name

    def journal(self, name: str) -> list[dict[str, Any]]:
        path = self.study(name) / "journal.jsonl"
        return events_in(path.read_bytes()) if path.exists() else []

    def wait_for(
        self, name: str, wanted: Callable[[list[dict[str, Any]]], bool], what: str
    ) -> list[dict[str, Any]]:
        """Waits until the journal of a study says what is `wanted`."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            events = self.journal(name)
            if wanted(events):
                return events
            time.sleep(0.1)
        raise AssertionError(f"{name} never came to {what}")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_can_be_heard() -> Iterator[None]:
    """One of several test processes is deaf to it, and all that it starts would be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    cache = tmp_path_factory.mktemp("cache")
    return Shell(tmp_path_factory.mktemp("system"), cache)


@pytest.fixture
def no_orphans() -> Iterator[None]:
    """Fails when a test leaves processes of Ray or of a study behind."""
    before = processes.started()
    yield
    left = processes.left_behind(before, patience_s=30)
    assert not left, f"left behind: {[line[:80] for line in left]}"


def kill_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signals a process and all in its group, as a terminal does on Ctrl-C."""
    os.killpg(process.pid, number)


@contextmanager
def ray_node(*options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A node of a cluster, once it says that it runs; killed with all it started."""
    node = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options],
        env={**os.environ, "RAY_AUTH_MODE": "token", "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert node.stdout is not None
        said = []
        while "Ray runtime started" not in (line := node.stdout.readline()):
            said.append(line)
            assert line, "".join(said)
        yield node
    finally:
        # A node that is asked to end takes half a minute over it.
        processes.end([*processes.below(node.pid, ""), psutil.Process(node.pid)])
        node.communicate(timeout=60)


def trial_workers(driver: int) -> list[psutil.Process]:
    """The processes that train trials for this driver now."""
    return processes.below(driver, "ImplicitFunc")


def events_in(journal: bytes) -> list[dict[str, Any]]:
    """What a journal says; its last line may still be under way."""
    lines = journal.splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def ends(events: list[dict[str, Any]]) -> dict[str, str]:
    """The outcome of each trial that ended; a second end of a trial is a mistake."""
    found: dict[str, str] = {}
    for event in events:
        if event["event"] == "trial_ended":
            assert event["trial"] not in found, f"trial {event['trial']} ended twice"
            found[event["trial"]] = event["outcome"]
    return found
