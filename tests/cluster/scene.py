"""The cluster, its study, and the log of what was seen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster import machines
from tests.cluster.laptop import PATIENCE, ROOT, Laptop
from tests.cluster.machines import Machine
from tune_app.core.state import StudyState
from tune_app.core.trial import Status

Events = list[dict[str, Any]]

TRIAL = "ImplicitFunc"
"""What Ray calls a process that trains."""

WAIT_S = 420.0
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))


class Scenario:
    """The cluster, its study, and the log of what was seen."""

    def __init__(self, folder: Path, redis: bool) -> None:
        self.folder = folder
        self.begun = time.monotonic()
        self.storage = folder / "studies"
        self.redis = redis
        self.laptop = Laptop(folder)
        self.head, *self.workers = (Machine(n, folder / f"machine{n}") for n in (10, 11, 12, 13))
        self.seen = 0
        self.ended: dict[str, dict[str, Any]] = {}

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.begun:5.0f} s] {text}", flush=True)

    def switch_on(self, machine: Machine) -> None:
        machine.start(self.laptop.public_key)
        own_environment(machine)

    def journal(self) -> Events:
        path = self.storage / "faults" / "journal.jsonl"
        if not path.exists():
            return []
        lines = path.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def news(self) -> Events:
        """What the journal says since the last call; the worst of it is told."""
        events = self.journal()
        new, self.seen = events[self.seen :], len(events)
        for event in new:
            if event["event"] in ("segment_lost", "trial_ended", "study_ended"):
                words = [
                    f"{key}={event[key]}"
                    for key in ("trial", "outcome", "reason")
                    if event.get(key)
                ]
                self.say(f"    journal: {event['event']} {' '.join(words)}")
        return new

    def wait(self, wanted: Callable[[], bool], what: str, most_s: float = WAIT_S) -> None:
        """Waits for something; tells how long it took."""
        begun = time.monotonic()
        while not wanted():
            self.news()
            if time.monotonic() > begun + most_s:
                raise AssertionError(f"it never came to this: {what}")
            time.sleep(0.5)
        self.news()
        self.say(f"  {what}, after {time.monotonic() - begun:.0f} s")

    def ends(self) -> dict[str, dict[str, Any]]:
        """The end of each trial; a second end of one is a mistake, and a changed one, too."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.journal():
            if event["event"] == "trial_ended":
                assert event["trial"] not in found, f"trial {event['trial']} ended twice"
                found[event["trial"]] = event
        assert self.ended.items() <= found.items(), "a finished trial changed"
        self.ended = found
        return found

    def losses(self) -> int:
        return sum(event["event"] == "segment_lost" for event in self.journal())

    def busy(self, machine: Machine) -> bool:
        """Whether a trial certainly trains there: as many are running as there are processes."""
        state = StudyState()
        for event in self.journal():
            state.apply(event)
        places = sum(worker.runs(TRIAL) for worker in self.workers)
        return machine.runs(TRIAL) and len(state.with_status(Status.RUNNING)) >= places

    def drive(self, words: str, log: str) -> subprocess.Popen[bytes]:
        """A driver, as a person starts it: on the head, or with a Redis on a worker."""
        where = f"--address {self.head.ip}:6379 --storage {self.storage}"
        command = f"cd {ROOT / 'tests'} && python -m {words} {where}"
        machine = self.head
        if self.redis:
            machine, command = self.workers[0], f"export {PATIENCE}; {command}"
        return self.laptop.start_on(machine, command, self.folder / log)

    def nodes(self) -> int:
        """How many nodes the head takes for alive."""
        listed = self.laptop.on_head("ray list nodes --filter state=ALIVE --format json --limit 99")
        return len(re.findall(r'"node_ip": "', listed))


def own_environment(machine: Machine) -> None:
    """A machine's virtual environment: everything that is installed here, but not this package."""
    bin_ = machine.home / "tune_app_venv" / "bin"
    machines.sh(sys.executable, "-m", "venv", "--without-pip", str(bin_.parent))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = bin_.parent / "lib" / version / "site-packages"
    # By its path alone: .pth files in that folder, as of an editable install, are not read.
    (site / "others.pth").write_text(SITE_PACKAGES + "\n")
    (bin_ / "ray").write_text(f'#!/bin/sh\nexec {bin_}/python -m ray.scripts.scripts "$@"\n')
    (bin_ / "ray").chmod(0o755)
