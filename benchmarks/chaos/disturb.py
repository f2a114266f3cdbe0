"""The disturbances. Each is done to a study that runs; none asks first."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.chaos.toy import FAULTS
from tune_app.core.journal import FILE_NAME, Event, read

LAUNCH = Path(__file__).parent / "launch.py"
NAME = "study"
PATIENCE_S = 180.0
"""A driver that neither ends nor writes to its journal for so long is stuck."""


class Head:
    """A Ray that outlives drivers, as on a cluster."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._home = home
        self._environment = environment
        self._starts = 0
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it if it is not running; returns when it says that it is."""
        if self.process is not None and self.process.poll() is None:
            return
        self._starts += 1
        words = ["--head", f"--port={self.port}", "--num-cpus=2", "--include-dashboard=false"]
        words += ["--block", "--object-store-memory=100000000", f"--temp-dir={self._home / 'ray'}"]
        output = self._home / f"head-{self._starts}"
        with open(output, "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *words],
                env={**self._environment, "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while b"Ray runtime started" not in output.read_bytes():
            assert self.process.poll() is None, output.read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            for process in descendants(self.process.pid):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    """One that nothing listens on now, so that a second run of this may go on beside."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def descendants(number: int) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(number).children(recursive=True)
    return found


@dataclass
class Study:
    """A study that is being disturbed, and the processes it has had."""

    home: Path
    environment: dict[str, str]
    head: Head | None = None
    """The Ray it runs on; None: each driver starts its own."""
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    stuck: int = 0
    exits: list[int] = field(default_factory=list)
    processes: set[psutil.Process] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        return self.home / "studies" / NAME

    @property
    def journal(self) -> Path:
        return self.folder / FILE_NAME

    @property
    def faults(self) -> Path:
        return Path(self.environment[FAULTS])

    def start(self, *words: str) -> None:
        """Runs a verb as a person would, in a process group of its own."""
        self.starts += 1
        if self.head is not None:
            self.head.start()
            words += ("--address", f"127.0.0.1:{self.head.port}")
        with open(self.home / f"output-{self.starts}", "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(LAUNCH), *words],
                cwd=self.home,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def driver(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def is_running(self) -> bool:
        return self.driver.poll() is None

    def events(self) -> list[Event]:
        return read(self.journal)[0] if self.journal.exists() else []

    def has_ended(self) -> bool:
        events = self.events()
        return bool(events) and events[-1]["event"] == "study_ended"

    def kin(self, word: str) -> list[psutil.Process]:
        """The study's processes but the driver with a word in their command line."""
        found, everybody = [], descendants(self.driver.pid)
        if self.head is not None and self.head.process is not None:
            everybody += descendants(self.head.process.pid)
        for process in everybody:
            with suppress(psutil.NoSuchProcess):
                self.processes.add(process)
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def wait(self, wanted: Callable[[], bool]) -> bool:
        """Waits until it is so or the driver has ended; kills one that is stuck. Tells which."""
        size, since = 0, time.monotonic()
        while not wanted():
            if not self.is_running():
                return False
            now = self.journal.stat().st_size if self.journal.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
            if time.monotonic() - since > PATIENCE_S:
                self.stuck += 1
                self.kill_all()
                return False
            time.sleep(0.05)
        return True

    def go_on(self) -> None:
        """Resumes the study if its driver is gone."""
        if not self.is_running() and not self.has_ended():
            self.exits.append(self.driver.returncode)
            self.faults.unlink(missing_ok=True)
            self.start("resume", NAME)

    def kill_driver(self) -> None:
        self.kin("")
        self.driver.kill()
        self.driver.wait()

    def kill_all(self) -> None:
        everybody = self.kin("")
        self.driver.kill()
        if self.head is not None:
            self.head.kill()
        for process in everybody:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.driver.wait()


TRIAL, RAYLET = "ray::ImplicitFunc", "raylet/raylet"


def one(study: Study, word: str, rng: random.Random) -> psutil.Process | None:
    """One process of the study, as soon as there is one."""
    study.wait(lambda: bool(study.kin(word)))
    found = study.kin(word)
    return rng.choice(found) if found else None


def trial_killed(study: Study, rng: random.Random) -> None:
    victim = one(study, TRIAL, rng)
    if victim is not None:
        with suppress(psutil.NoSuchProcess):
            victim.kill()


def driver_killed(study: Study, rng: random.Random) -> None:
    study.kill_driver()


def raylet_killed(study: Study, rng: random.Random) -> None:
    victim = one(study, RAYLET, rng)
    if victim is not None:
        with suppress(psutil.NoSuchProcess):
            # A worker that it is just starting has its command line.
            parent = victim.parent()
            (parent if parent and RAYLET in " ".join(parent.cmdline()) else victim).kill()


def all_killed(study: Study, rng: random.Random) -> None:
    study.kill_all()


def trial_stopped(study: Study, rng: random.Random) -> None:
    """It never goes on. Sometimes the driver is killed as well, before it can see that."""
    victim = one(study, TRIAL, rng)
    if victim is not None:
        with suppress(psutil.NoSuchProcess):
            victim.suspend()
        if rng.random() < 0.25:
            study.kill_driver()


def driver_stopped(study: Study, rng: random.Random) -> None:
    """For a while: nobody may be blamed for it."""
    study.driver.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(1, 3))
    study.driver.send_signal(signal.SIGCONT)


def journal_torn(study: Study, rng: random.Random) -> None:
    """As by a crash of the machine: the driver is gone, and the last line is there in part.

    In half of the cases that line was there in whole: where it told of a checkpoint, this costs an
    interval more than a kill does.
    """
    study.kill_driver()
    raw = study.journal.read_bytes()
    last = raw[: raw.rindex(b"\n")].rindex(b"\n") + 1
    with open(study.journal, "r+b") as file:
        if rng.random() < 0.5:
            print(f"         torn off: {raw[last:].decode().strip()}", flush=True)
            file.truncate(rng.randrange(last + 1, len(raw)))
        else:
            file.seek(0, os.SEEK_END)
            file.write(raw[last : rng.randrange(last + 1, len(raw))])


def storage_failing(study: Study, rng: random.Random) -> None:
    """One write in ten, until the driver gives up or the next disturbance comes."""
    study.faults.touch()


def disk_full(study: Study, rng: random.Random) -> None:
    filler = study.home / "filler"
    with suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    study.wait(lambda: False)
    filler.unlink()


def server_down(study: Study, rng: random.Random) -> None:
    """Of W&B; it has been down since the study began."""


KINDS: dict[str, tuple[Callable[[Study, random.Random], None], int]] = {
    "trial process, SIGKILL": (trial_killed, 22),
    "trial process, SIGSTOP": (trial_stopped, 12),
    "driver, SIGKILL": (driver_killed, 18),
    "driver, SIGSTOP for 1-3 s": (driver_stopped, 6),
    "raylet, SIGKILL": (raylet_killed, 10),
    "all of them, SIGKILL": (all_killed, 10),
    "journal torn": (journal_torn, 10),
    "one write in ten fails": (storage_failing, 6),
    "disk full": (disk_full, 3),
    "W&B server down": (server_down, 3),
}
"""With how often each comes in a hundred."""

REAL_KINDS = list(KINDS)[:6]
"""What real trials can be disturbed by; their writes are not ours to fail."""


def drawn(count: int, wanted: list[str], rng: random.Random) -> Iterator[str]:
    """So many of the wanted kinds, in the proportions above and in a random order."""
    kinds = [kind for kind in wanted for _ in range(KINDS[kind][1])]
    whole, rest = divmod(count, len(kinds))
    chosen = kinds * whole + rng.sample(kinds, rest)
    rng.shuffle(chosen)
    return iter(chosen)
