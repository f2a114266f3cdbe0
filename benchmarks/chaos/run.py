"""Disturbs studies and counts what is lost: `python benchmarks/chaos/run.py [--disturbances 100]`.

Most studies have toy trials of one to two seconds (`toy.py`), the last ones real ones: GPT-2 of
0.1M parameters, compared with an undisturbed study digit for digit. Everything else is the product:
command line, driver, journal, Ray, Tune. Three of four toy studies run on a Ray that outlives their
drivers, as on a cluster; one starts its own, as on a single machine.

A disk that runs full is a tmpfs, which needs root; without it these disturbances are left out.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.chaos import disturb, toy, verdict
from benchmarks.chaos.disturb import KINDS, NAME, REAL_KINDS, Study
from tune_app.core.journal import Event
from tune_app.engine import LOOPBACK_ONLY

TOY = """
method: random
metric: {name: final_eval_loss, goal: minimize}
parameters:
  x: {min: 0.0, max: 1.0}
  y: {min: 0.0, max: 1.0}
tune:
  budget: {steps: 72, trials: 20}
  scheduler: {name: asha, eta: 3, rungs: 3}
  resources: {concurrent: 2}
  trackers: [TRACKERS]
  baseline: false
"""

REAL = """
method: random
metric: {name: final_eval_loss, goal: minimize}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1.0e-4, max: 2.0e-2}
  gradient_accumulation_steps: {values: [1, 2, 3]}
  size: {value: nano}
  vocab_size: {value: 512}
  block_size: {value: 64}
  eval_tokens: {value: 8192}
tune:
  budget: {tokens: 150000, trials: 5}
  scheduler: {name: fifo}
  resources: {concurrent: 2}
  trackers: []
  baseline: false
"""

LOCAL_EACH = 4
"""Of so many toy studies one starts its own Ray for each driver; real ones do so, too."""

EACH = 5
"""Disturbances of one study."""

TMPFS_BYTES = 12_000_000
LEFT_BEHIND_S = 120.0


class Chaos:
    """All studies of one run of this benchmark."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        root = str(Path(__file__).parents[2])
        # A head takes a token that is there, and makes none.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        faults = {toy.FAULTS: str(home / "faults"), **token}
        # A driver whose Ray is gone would look for it for a minute.
        faults["RAY_gcs_rpc_server_reconnect_timeout_s"] = "10"
        self.environment = {**os.environ, **LOOPBACK_ONLY, "PYTHONPATH": root, **faults}
        self.head = disturb.Head(home, self.environment)
        self.rng = random.Random(seed)
        self.total = verdict.Verdict()
        self.done: Counter[str] = Counter()
        self.starts = self.stuck = self.studies = 0
        self.exits: Counter[int] = Counter()
        self.processes: set[psutil.Process] = set()
        self.right: dict[tuple[str, int], float] = {}
        """The objective of the undisturbed real study, by trial and step."""

    def study(self, kinds: list[str], text: str, **environment: str) -> list[str]:
        """Runs one study and disturbs it; gives the disturbances that it was too short for."""
        self.studies += 1
        home = self.home / f"{self.studies:03d}"
        home.mkdir()
        on_tmpfs = "disk full" in kinds
        if on_tmpfs:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(home)]
            subprocess.run(mount, check=True)
        try:
            return self._study(home, kinds, text, environment)
        finally:
            if on_tmpfs:
                shutil.copytree(home, f"{home}-kept", ignore_dangling_symlinks=True)
                subprocess.run(["umount", "-l", str(home)], check=True)

    def _study(
        self, home: Path, kinds: list[str], text: str, environment: dict[str, str]
    ) -> list[str]:
        (home / "study.yaml").write_text(text)
        is_real, is_local = "CHAOS_REAL" in environment, self.studies % LOCAL_EACH == 0
        head = None if is_real or is_local else self.head
        study = Study(home, {**self.environment, **environment}, head)
        (study.folder.parent).mkdir(parents=True)
        known: dict[str, Event] = {}
        study.start("run", "study.yaml", "--name", NAME)
        study.wait(study.journal.exists)
        if not is_real:
            (study.folder / toy.STEP_LOG).mkdir()
        left = list(kinds)
        while left and self._until(study):
            kind = left.pop(0)
            print(f"    {len(study.events()):>4} events: {kind}", flush=True)
            KINDS[kind][0](study, self.rng)
            known |= ends(study)
            self.done[kind] += 1
            study.go_on()
        while not study.has_ended() and study.starts < 40:
            study.wait(lambda: False)
            known |= ends(study)
            study.go_on()
        with suppress(subprocess.TimeoutExpired):
            study.driver.wait(60)
        self._close(study, known)
        return left

    def _until(self, study: Study) -> bool:
        """Lets the study go on by some events; False when it ends before."""
        while not study.has_ended():
            target = len(study.events()) + self.rng.randint(3, 60)
            if study.wait(partial(has_events, study, target)):
                return not study.has_ended()
            study.go_on()
        return False

    def _close(self, study: Study, known: dict[str, Event]) -> None:
        found = verdict.judge(
            study.folder, known, self.right if "CHAOS_REAL" in study.environment else {}
        )
        self.total.add(found)
        self.starts += study.starts
        self.stuck += study.stuck
        self.exits.update(study.exits)
        self.processes |= study.processes
        print(f"  {found.finished} trials ended, {study.starts} drivers, exits {study.exits}")
        print(*(f"    {note}" for note in found.notes), sep="\n", flush=True)

    def undisturbed(self) -> None:
        """Learns what real trials report when nobody disturbs them."""
        home = self.home / "undisturbed"
        home.mkdir()
        (home / "study.yaml").write_text(REAL)
        study = Study(home, {**self.environment, "CHAOS_REAL": "1"})
        study.start("run", "study.yaml", "--name", NAME)
        study.driver.wait()
        for event in study.events():
            if event["event"] == "report" and "eval_loss" in event["metrics"]:
                self.right[event["trial"], event["step"]] = event["metrics"]["eval_loss"]

    def left_behind(self) -> list[str]:
        """Processes of any study that are still there after a while."""
        deadline = time.monotonic() + LEFT_BEHIND_S
        while (left := [p for p in self.processes if alive(p)]) and time.monotonic() < deadline:
            time.sleep(1)
        return [" ".join(process.cmdline())[:120] for process in left]

    def table(self) -> str:
        """All that was found, a line each."""
        total, kills, left = self.total, self.total.stays_cut, self.left_behind()
        rows = [
            ("disturbances", f"{self.done.total()}"),
            *((f"  {kind}", f"{self.done[kind]}") for kind in KINDS if self.done[kind]),
            ("studies, drivers started", f"{self.studies}, {self.starts}"),
            ("trials that ended", f"{total.finished}"),
            ("finished trials lost", f"{total.lost}"),
            ("trials or reports counted twice", f"{total.doubled}"),
            ("unreadable journals", f"{total.unreadable}"),
            ("studies that did not end", f"{total.not_ended}"),
            ("values other than undisturbed", f"{total.wrong_values}"),
            ("drivers that got stuck", f"{self.stuck}"),
            ("processes left behind", f"{len(left)}"),
            ("decisions as a replay of the journal makes them", share(total)),
            ("stays cut short, steps done again", f"{kills}, {total.steps_again}"),
            ("checkpoint intervals done again, at most", f"{total.most_again}"),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"| {name:<{width}} | {figure:>14} |" for name, figure in rows]
        return "\n".join([*lines, *(f"left behind: {line}" for line in left)])


def share(total: verdict.Verdict) -> str:
    equal = total.decisions - total.other_decisions
    return f"{equal} of {total.decisions}"


def has_events(study: Study, count: int) -> bool:
    return len(study.events()) >= count


def ends(study: Study) -> dict[str, Event]:
    return {e["trial"]: e for e in study.events() if e["event"] == "trial_ended"}


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disturbances", type=int, default=100)
    parser.add_argument("--real", type=int, default=10, help="so many of them to real trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="disturbances whose name has this in it")
    args = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"studies in {home}; seed {args.seed}")
    chaos = Chaos(home, args.seed)
    wanted = [k for k in KINDS if (args.only or "") in k and (os.geteuid() == 0 or k != FULL)]
    if os.geteuid() != 0:
        print("not root: no disk runs full")
    waiting = list(disturb.drawn(args.disturbances - args.real, wanted, chaos.rng))
    while waiting:
        batch, waiting = waiting[:EACH], waiting[EACH:]
        print(f"{chaos.done.total():>3} of {args.disturbances}: toy study", flush=True)
        down = "W&B server down" in batch
        waiting = (
            chaos.study(
                batch, TOY.replace("TRACKERS", "wandb" * down), **(SERVER_DOWN if down else {})
            )
            + waiting
        )
    chaos.head.kill()
    if args.real:
        chaos.undisturbed()
    real = [chaos.rng.choice(REAL_KINDS) for _ in range(args.real)]
    while real:
        batch, real = real[:EACH], real[EACH:]
        print(f"{chaos.done.total():>3} of {args.disturbances}: real study", flush=True)
        real = chaos.study(batch, REAL, CHAOS_REAL="1") + real
    print(chaos.table())


FULL = "disk full"
SERVER_DOWN = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0123456789" * 4}

if __name__ == "__main__":
    main()
